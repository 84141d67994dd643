"""Flags of a run's length and of its learning rate."""

from typing import Literal, NamedTuple

from megatron_codemix.config.megatron_flags.flags import Flags
from megatron_codemix.config.plan import RunPlan
from megatron_codemix.config.schema import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    RampUpConfig,
    RunConfig,
    ScheduleConfig,
    StepSchedule,
    WsdSchedule,
)
from megatron_codemix.errors import ConfigError


class _Unit(NamedTuple):
    """What Megatron-LM counts a run in."""

    name: Literal["iters", "samples"]
    tokens: int


def horizon_flags(config: RunConfig, plan: RunPlan) -> Flags:
    """Of how long a run is, how its batches grow, and its learning rate."""
    schedule = config.schedule
    if schedule.span == "chain":
        raise ConfigError(["schedule.span: Megatron-LM's curve begins and ends with its run"])
    warmup = 0 if isinstance(schedule, LinearSchedule) else schedule.warmup_tokens
    ramp_up, length = config.train.ramp_up, config.data.sequence_length
    # Megatron-LM ramps up only where it counts samples.
    unit = _Unit("iters", plan.tokens_per_step) if ramp_up is None else _Unit("samples", length)
    horizon = str(plan.train_tokens // unit.tokens)
    flags: Flags = [(f"--train-{unit.name}", horizon), (f"--lr-decay-{unit.name}", horizon)]
    if ramp_up is not None:
        flags.append(_ramp_up_flag(ramp_up, length))
    if warmup % unit.tokens == 0:
        flags.append((f"--lr-warmup-{unit.name}", str(warmup // unit.tokens)))
    else:
        flags.append(("--lr-warmup-fraction", repr(warmup / plan.train_tokens)))
    return flags + _curve_flags(schedule, unit)


def _ramp_up_flag(ramp_up: RampUpConfig, length: int) -> tuple[str, ...]:
    if ramp_up.over_tokens % length:
        raise ConfigError(
            [
                f"train.ramp_up.over_tokens: --rampup-batch-size is over whole samples of {length} "
                f"tokens, {ramp_up.over_tokens} is none"
            ]
        )
    samples = ramp_up.over_tokens // length
    numbers = (ramp_up.start_sequences, ramp_up.increment_sequences, samples)
    return ("--rampup-batch-size", *map(str, numbers))


def _curve_flags(schedule: ScheduleConfig, unit: _Unit) -> Flags:
    match schedule:
        case CosineSchedule():
            return _rate_flags("cosine", schedule.peak_lr, schedule.min_lr)
        case WsdSchedule():
            return _wsd_flags(schedule, unit)
        case LinearSchedule(start_lr=float(start)):
            return _rate_flags("linear", start, schedule.final_lr)
        case ConstantSchedule():
            return [("--lr-decay-style", "constant"), ("--lr", repr(schedule.lr))]
        case LinearSchedule():
            raise ConfigError(["schedule.start_lr: name it; Megatron-LM knows no parent"])
        case StepSchedule():
            raise ConfigError(["schedule.kind: Megatron-LM has no schedule of steps"])


def _rate_flags(style: str, highest: float, lowest: float) -> Flags:
    return [("--lr-decay-style", style), ("--lr", repr(highest)), ("--min-lr", repr(lowest))]


def _wsd_flags(schedule: WsdSchedule, unit: _Unit) -> Flags:
    if schedule.decay_tokens % unit.tokens:
        raise ConfigError(
            [
                f"schedule.decay_tokens: --lr-wsd-decay-{unit.name} is in whole {unit.name} of "
                f"{unit.tokens} tokens, {schedule.decay_tokens} is none"
            ]
        )
    shape = {"linear": "linear", "one_minus_sqrt": "minus_sqrt"}[schedule.decay]
    return [
        *_rate_flags("WSD", schedule.peak_lr, schedule.final_lr),
        ("--lr-wsd-decay-style", shape),
        (f"--lr-wsd-decay-{unit.name}", str(schedule.decay_tokens // unit.tokens)),
    ]
