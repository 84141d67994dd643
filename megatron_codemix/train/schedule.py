"""Learning rate as a function of tokens, not steps: changing the batch size or resuming leaves the
curve alone."""

import math

from megatron_codemix.config.schema import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    ScheduleConfig,
)


def learning_rate(schedule: ScheduleConfig, tokens: int, train_tokens: int) -> float:
    """Learning rate of the step that brings this phase's total to `tokens` out of
    `train_tokens`."""
    match schedule:
        case CosineSchedule():
            return _cosine(schedule, tokens, train_tokens)
        case LinearSchedule():
            done = min(1.0, tokens / train_tokens)
            return schedule.start_lr + (schedule.final_lr - schedule.start_lr) * done
        case ConstantSchedule():
            return schedule.lr * _warmup(tokens, schedule.warmup_tokens)


def _cosine(schedule: CosineSchedule, tokens: int, train_tokens: int) -> float:
    """Linear warmup, then half a cosine down to `min_lr` (SGDR, arXiv 1608.03983, one cycle)."""
    if tokens < schedule.warmup_tokens:
        return schedule.peak_lr * _warmup(tokens, schedule.warmup_tokens)
    # config.checks has ensured warmup_tokens < train_tokens
    done = (tokens - schedule.warmup_tokens) / (train_tokens - schedule.warmup_tokens)
    height = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return schedule.min_lr + (schedule.peak_lr - schedule.min_lr) * height


def _warmup(tokens: int, warmup_tokens: int) -> float:
    return min(1.0, tokens / warmup_tokens) if warmup_tokens else 1.0
