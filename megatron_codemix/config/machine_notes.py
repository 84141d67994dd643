"""What a configuration asks of the machine that it runs on, for where that cannot be asked."""

from megatron_codemix.config.engine_checks import LEAST_LAYER_CAPABILITY
from megatron_codemix.config.engine_options import (
    ENGINE_LOSS,
    OVERLAP,
    overlap_needs,
    takes_engine_loss,
)
from megatron_codemix.config.precision_checks import ENGINES_TAKEN, needs_of
from megatron_codemix.config.schema import Fp8Config, RunConfig


def machine_notes(config: RunConfig) -> list[str]:
    """A line for FP8, one for all else that is Transformer Engine's and asked for by name, and one
    for where ranks must be; of a configuration that the checks find nothing wrong with."""
    notes = [needs_of(config.precision)] if isinstance(config.precision, Fp8Config) else []
    asked = {
        "backend.engine: transformer_engine": config.backend.engine == "transformer_engine",
        f"{OVERLAP}: true": config.layout.tensor_overlap,
        f"{ENGINE_LOSS}: te": takes_engine_loss(config.model),
    }
    if fields := [field for field, is_there in asked.items() if is_there]:
        least = ".".join(map(str, LEAST_LAYER_CAPABILITY))
        verb = "runs" if len(fields) == 1 else "run"
        notes.append(
            f"{', '.join(fields)} {verb} where {ENGINES_TAKEN}, and GPUs of compute capability "
            f"{least} or higher are"
        )
    return notes + overlap_needs(config.layout)
