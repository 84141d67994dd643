"""The section `schedule`: the learning rate as a function of tokens."""

from typing import Annotated, Literal

from pydantic import Field

from megatron_codemix.config.schema.fields import Section, Tokens


class CosineSchedule(Section):
    """Linear warmup from 0, then half a cosine from `peak_lr` down to `min_lr` at the last
    token."""

    kind: Literal["cosine"] = "cosine"
    peak_lr: Annotated[float, Field(gt=0)]
    """Learning rate at the end of the warmup."""
    min_lr: Annotated[float, Field(ge=0)]
    """Learning rate at the last token."""
    warmup_tokens: Tokens
    """Length of the warmup."""


class LinearSchedule(Section):
    """A straight line from `start_lr` to `final_lr` over the phase: a cooldown."""

    kind: Literal["linear"] = "linear"
    start_lr: Annotated[float, Field(gt=0)]
    """Learning rate before the first step."""
    final_lr: Annotated[float, Field(ge=0)]
    """Learning rate at the last token."""


class ConstantSchedule(Section):
    """Linear warmup from 0, then `lr` to the end."""

    kind: Literal["constant"] = "constant"
    lr: Annotated[float, Field(gt=0)]
    """Learning rate after the warmup."""
    warmup_tokens: Tokens
    """Length of the warmup."""


ScheduleConfig = Annotated[
    CosineSchedule | LinearSchedule | ConstantSchedule, Field(discriminator="kind")
]
