"""The section `optimizer`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from megatron_codemix.config.schema.fields import Section


class _Adam(Section):
    """What both have."""

    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay; not applied to biases and normalisation weights."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """AdamW's decay of the second moment."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added by AdamW to the root of the second moment."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest global gradient norm; absent: no clipping."""


class AdamWConfig(_Adam):
    """AdamW (arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"


class MuonConfig(_Adam):
    """Muon for the matrices of the layers, with the step size of AdamW (arXiv 2502.16982), AdamW
    for the rest. Needs layout.tensor=1 and layout.distributed_optimizer=false."""

    kind: Literal["muon"] = "muon"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the matrices' Nesterov momentum."""


def _adamw_by_default(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    is_open = isinstance(value, dict) and "kind" not in value
    return {"kind": "adamw", **value} if is_open else value


OptimizerConfig = Annotated[
    AdamWConfig | MuonConfig, Field(discriminator="kind"), BeforeValidator(_adamw_by_default)
]
"""Without a `kind` it is `adamw`."""
