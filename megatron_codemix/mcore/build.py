"""Model and optimizer as they are trained."""

from typing import TypeAlias

from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.mup import width_ratio
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    BackendConfig,
    LayoutConfig,
    ModelConfig,
    OptimizerConfig,
)
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import OUR_LAYERS, build_model, wrap_data_parallel
from megatron_codemix.mcore.optimizer import build_optimizer

Trained: TypeAlias = tuple[list[DistributedDataParallel], MegatronOptimizer]
"""This rank's model chunks with their gradients, and what updates them."""


def build_trained(
    model: ModelConfig,
    optimizer: OptimizerConfig,
    layout: LayoutConfig,
    precision: AnyPrecisionConfig,
    *,
    sequence_length: int,
    seed: int | None,
    parallel: ModelParallel,
    backend: Backend,
    asked: BackendConfig = OUR_LAYERS,
    document_mask: bool = False,
) -> Trained:
    """With the weights of the seed (None: without values, on a device that keeps none). Every rank
    calls it.

    asked, document_mask: as of `build_model`.
    """
    chunks = build_model(
        model,
        layout,
        precision,
        sequence_length=sequence_length,
        seed=seed,
        parallel=parallel,
        backend=backend,
        asked=asked,
        document_mask=document_mask,
    )
    wrapped = wrap_data_parallel(chunks, layout, parallel)
    built = build_optimizer(
        optimizer, layout, precision, wrapped, parallel, width_ratio=width_ratio(model)
    )
    return wrapped, built
