"""A run's checkpoint in the layout that evaluates it, whatever layout has trained it."""

from dataclasses import asdict
from pathlib import Path

from megatron_codemix.backend.devices import Backend
from megatron_codemix.checkpoints import refusing_damage
from megatron_codemix.config.schema import LayoutConfig, PrecisionConfig, RunConfig
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.mcore.checkpoint import load_weights
from megatron_codemix.mcore.groups import ModelParallel, initialize_model_parallel
from megatron_codemix.mcore.model import Model, build_model


def load_model(
    config: RunConfig, folder: Path, layout: EvaluationLayout, backend: Backend
) -> tuple[Model, ModelParallel]:
    """This rank's part of the model with the weights of a checkpoint. Every rank calls it. Raises
    RunError where the checkpoint is incomplete or damaged."""
    cut = LayoutConfig(**asdict(layout))
    parallel = initialize_model_parallel(cut, config.train.seed)
    [model] = build_model(
        config.model,
        cut,
        # Also of a run in FP8: scores are those of its weights, and any machine can take them.
        PrecisionConfig(kind=config.precision.model_format),
        sequence_length=config.data.sequence_length,
        seed=config.train.seed,
        parallel=parallel,
        backend=backend,
    )
    with refusing_damage(folder):
        load_weights(folder, [model])
    model.eval()
    return model, parallel
