"""Rules of the section `schedule`, alone and along a chain of phases."""

from collections.abc import Iterator, Sequence

from megatron_codemix.config.plan import tokens_per_step, train_tokens
from megatron_codemix.config.schema import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    RunConfig,
    StepSchedule,
    WsdSchedule,
)
from megatron_codemix.units import format_count

_Warming = CosineSchedule | WsdSchedule | StepSchedule | ConstantSchedule


def check_schedule(config: RunConfig) -> list[str]:
    """What is wrong with the schedule of this phase; empty if all is well."""
    schedule = config.schedule
    if (schedule.span == "chain") != (schedule.chain_tokens is not None):
        return [
            "schedule.chain_tokens: goes with schedule.span=chain, and only with it: the tokens of "
            "the whole chain of phases, at which the curve ends"
        ]
    horizon = schedule.chain_tokens or train_tokens(config)
    curve = (
        "schedule.chain_tokens"
        if schedule.chain_tokens
        else f"train.train_tokens in whole steps of {format_count(tokens_per_step(config))}"
    )
    return [
        *_check_warmup(config, horizon, curve),
        *_check_rates(config),
        *_check_points(config, horizon, curve),
        *check_chain_length(config, [train_tokens(config)]),
    ]


def _check_warmup(config: RunConfig, horizon: int, curve: str) -> Iterator[str]:
    schedule = config.schedule
    if isinstance(schedule, _Warming) and schedule.warmup_tokens >= horizon:
        yield (
            f"schedule.warmup_tokens: {format_count(schedule.warmup_tokens)} is not less than "
            f"the {format_count(horizon)} tokens of {curve}; the run would end in its warmup"
        )


def _check_rates(config: RunConfig) -> Iterator[str]:
    schedule = config.schedule
    match schedule:
        case CosineSchedule() if schedule.min_lr > schedule.peak_lr:
            yield (
                f"schedule.min_lr: {schedule.min_lr:g} is above schedule.peak_lr "
                f"{schedule.peak_lr:g}; the cosine leads down from the peak"
            )
        case WsdSchedule() if schedule.final_lr > schedule.peak_lr:
            yield (
                f"schedule.final_lr: {schedule.final_lr:g} is above schedule.peak_lr "
                f"{schedule.peak_lr:g}; the decay leads down from the peak"
            )
        case LinearSchedule(start_lr=None) if config.init_from is None:
            yield (
                "schedule.start_lr: needed, as there is no parent (init_from) whose learning rate "
                "could be taken over"
            )
        case LinearSchedule(start_lr=float(start)) if schedule.final_lr > start:
            yield (
                f"schedule.final_lr: {schedule.final_lr:g} is above schedule.start_lr "
                f"{start:g}; this schedule is a cooldown"
            )


def _check_points(config: RunConfig, horizon: int, curve: str) -> Iterator[str]:
    """Where decays and steps lie on the curve."""
    schedule = config.schedule
    if isinstance(schedule, WsdSchedule):
        length = schedule.warmup_tokens + schedule.decay_tokens
        # Budgets that a study scales are asked for unrounded, and the curve ends at whole steps.
        slack = 0 if schedule.chain_tokens else abs(horizon - config.train.train_tokens)
        if length > horizon + slack:
            yield (
                f"schedule.decay_tokens: warmup and decay take {format_count(length)} tokens, more "
                f"than the {format_count(horizon)} of {curve}; make one of them shorter"
            )
    if isinstance(schedule, StepSchedule):
        points = [step.from_tokens for step in schedule.steps]
        if points != sorted(set(points)) or points[0] < schedule.warmup_tokens:
            yield "schedule.steps: from_tokens must rise from one to the next, after the warmup"
        if points[-1] >= horizon:
            yield (
                f"schedule.steps: the last begins at {format_count(points[-1])} tokens, not before "
                f"the {format_count(horizon)} of {curve}; it would never be taken"
            )


def check_parent_schedule(config: RunConfig, parent: RunConfig) -> list[str]:
    """What keeps the schedule from being one curve over the chain that `parent` ends."""
    if config.schedule.span == "chain" and parent.schedule != config.schedule:
        return [
            "schedule: span is chain and the parent has another schedule; one curve over several "
            "phases needs the same section in each; or set schedule.span=phase"
        ]
    return []


def check_chain_length(config: RunConfig, chain_tokens: Sequence[int]) -> list[str]:
    """What is wrong with the length of the chain.

    chain_tokens: tokens of each phase up to this one, in whole steps.
    """
    asked, total = config.schedule.chain_tokens, sum(chain_tokens)
    if asked is None or total - asked <= len(chain_tokens) * tokens_per_step(config):
        return []
    return [
        f"schedule.chain_tokens: {format_count(asked)}, but the chain has {format_count(total)} "
        "tokens with this phase; the curve would end before it does"
    ]
