"""The section `optimizer`."""

from typing import Annotated, Literal

from pydantic import Field

from megatron_codemix.config.schema.fields import Section


class AdamWConfig(Section):
    """AdamW (arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay; not applied to biases and normalisation weights."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the second moment."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the second moment."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest global gradient norm; absent: no clipping."""
