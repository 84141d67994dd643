"""Learning rate as a function of tokens, not steps: changing the batch size or resuming leaves the
curve alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from megatron_codemix.config.plan import train_tokens
from megatron_codemix.config.schema import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    RunConfig,
    ScheduleConfig,
    StepSchedule,
    WsdSchedule,
)


@dataclass(frozen=True, kw_only=True)
class Link:
    """A phase of a chain, as far as the next one goes back to it."""

    config: RunConfig
    tokens: int
    """Tokens of this phase up to the checkpoint that the next one starts from."""


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """The curve of one phase."""

    schedule: ScheduleConfig
    before: int
    """Tokens that the schedule has counted before this phase."""
    horizon: int
    """Tokens at which the curve ends, counted as the schedule counts."""
    start: float | None = None
    """Rate at which a line starts that has none of its own."""

    def at(self, tokens: int) -> float:
        """Of the step that brings this phase's total to `tokens`."""
        counted = self.before + tokens
        schedule = self.schedule
        match schedule:
            case CosineSchedule():
                return _cosine(schedule, counted, self.horizon)
            case WsdSchedule():
                return _wsd(schedule, counted, self.horizon)
            case StepSchedule():
                return _steps(schedule, counted)
            case LinearSchedule():
                start = schedule.start_lr if schedule.start_lr is not None else self.start
                assert start is not None, "config.checks asks for a parent, which has a rate"
                return _line(start, schedule.final_lr, counted / self.horizon)
            case ConstantSchedule():
                return schedule.lr * _warmup(counted, schedule.warmup_tokens)


def learning_rate(chain: Sequence[Link]) -> LearningRate:
    """The curve of the last phase of `chain`, which begins with a phase without a parent."""
    *parents, last = chain
    schedule = last.config.schedule
    takes_over = isinstance(schedule, LinearSchedule) and schedule.start_lr is None and parents
    start = learning_rate(parents).at(parents[-1].tokens) if takes_over else None
    if schedule.span == "phase":
        return LearningRate(
            schedule=schedule, before=0, horizon=train_tokens(last.config), start=start
        )
    assert schedule.chain_tokens is not None, "config.checks asks for it"
    return LearningRate(
        schedule=schedule,
        before=sum(link.tokens for link in parents),
        horizon=schedule.chain_tokens,
        start=start,
    )


def _cosine(schedule: CosineSchedule, tokens: int, horizon: int) -> float:
    """Linear warmup, then half a cosine down to `min_lr` (SGDR, arXiv 1608.03983, one cycle)."""
    if tokens < schedule.warmup_tokens:
        return schedule.peak_lr * _warmup(tokens, schedule.warmup_tokens)
    # config.checks has ensured that the warmup is shorter
    done = (tokens - schedule.warmup_tokens) / (horizon - schedule.warmup_tokens)
    height = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return schedule.min_lr + (schedule.peak_lr - schedule.min_lr) * height


def _wsd(schedule: WsdSchedule, tokens: int, horizon: int) -> float:
    into = tokens - (horizon - schedule.decay_tokens)
    if into <= 0:
        return schedule.peak_lr * _warmup(tokens, schedule.warmup_tokens)
    done = into / schedule.decay_tokens
    shaped = done if schedule.decay == "linear" else math.sqrt(done)
    return _line(schedule.peak_lr, schedule.final_lr, shaped)


def _line(start: float, final: float, done: float) -> float:
    return final + (start - final) * (1 - min(1.0, done))


def _steps(schedule: StepSchedule, tokens: int) -> float:
    """A step that ends at `from_tokens` is the last with the old rate: it was taken before that."""
    reached = [step.lr for step in schedule.steps if step.from_tokens < tokens]
    if reached:
        return reached[-1]
    return schedule.peak_lr * _warmup(tokens, schedule.warmup_tokens)


def _warmup(tokens: int, warmup_tokens: int) -> float:
    return min(1.0, tokens / warmup_tokens) if warmup_tokens else 1.0
