"""The section `schedule`: the learning rate as a function of tokens."""

from typing import Annotated, Literal

from pydantic import Field

from megatron_codemix.config.schema.fields import PositiveTokens, Section, Tokens

Rate = Annotated[float, Field(gt=0)]
FinalRate = Annotated[float, Field(ge=0)]


class _Spanning(Section):
    """What every schedule can say of the tokens that it counts."""

    span: Literal["phase", "chain"] = "phase"
    """`phase`: tokens count from the start of this phase. `chain`: from the start of the first
    phase that it goes back to through `init_from`, so that one curve runs over all of them; each
    has the same `schedule`."""
    chain_tokens: PositiveTokens | None = None
    """With `span: chain`: tokens of the whole chain, where the curve ends."""


class CosineSchedule(_Spanning):
    """Linear warmup from 0, then half a cosine from `peak_lr` down to `min_lr` at the last
    token."""

    kind: Literal["cosine"] = "cosine"
    peak_lr: Rate
    """Learning rate at the end of the warmup."""
    min_lr: FinalRate
    """Learning rate at the last token."""
    warmup_tokens: Tokens
    """Length of the warmup."""


class WsdSchedule(_Spanning):
    """Warmup, stable, decay (MiniCPM, arXiv 2404.06395): linear warmup from 0, `peak_lr`, and at
    the end a decay to `final_lr`. With a decay as long as the phase it is a cooldown, which can
    start from any checkpoint of a stable phase (`init_from.at_tokens`)."""

    kind: Literal["wsd"] = "wsd"
    peak_lr: Rate
    """Learning rate between warmup and decay."""
    final_lr: FinalRate
    """Learning rate at the last token."""
    warmup_tokens: Tokens
    """Length of the warmup."""
    decay_tokens: PositiveTokens
    """Length of the decay, the last of the curve's tokens."""
    decay: Literal["linear", "one_minus_sqrt"]
    """Shape of the decay: the part of the way from `peak_lr` to `final_lr` that is left is 1 - x,
    or 1 - sqrt(x) (arXiv 2405.18392, section 4), at the part x of its tokens."""


class RateStepConfig(Section):
    """A learning rate from one point on."""

    from_tokens: PositiveTokens
    """Where it begins, in tokens that the schedule counts."""
    lr: FinalRate
    """Learning rate from there on."""


class StepSchedule(_Spanning):
    """Linear warmup from 0 to `peak_lr`, then other rates from given points on."""

    kind: Literal["step"] = "step"
    peak_lr: Rate
    """Learning rate from the end of the warmup to the first step."""
    warmup_tokens: Tokens
    """Length of the warmup."""
    steps: Annotated[list[RateStepConfig], Field(min_length=1)]
    """The rates that follow, in order."""


class LinearSchedule(_Spanning):
    """A straight line from `start_lr` to `final_lr`: a cooldown."""

    kind: Literal["linear"] = "linear"
    start_lr: Rate | None = None
    """Learning rate before the first step; absent: the one that the parent had at the checkpoint
    that this phase starts from."""
    final_lr: FinalRate
    """Learning rate at the last token."""


class ConstantSchedule(_Spanning):
    """Linear warmup from 0, then `lr` to the end."""

    kind: Literal["constant"] = "constant"
    lr: Rate
    """Learning rate after the warmup."""
    warmup_tokens: Tokens
    """Length of the warmup."""


ScheduleConfig = Annotated[
    CosineSchedule | WsdSchedule | StepSchedule | LinearSchedule | ConstantSchedule,
    Field(discriminator="kind"),
]
