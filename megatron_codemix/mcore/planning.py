"""Counts what a job's ranks would hold, on the objects that training would build:
`python -m megatron_codemix.mcore.planning` reads a job as JSON, from its argument or from standard
input, and writes `{"stages": ...}`, or `{"problems": [...]}` and ends with exit code 2.

The model, its gradient buffers and its optimizer are built on torch's `meta` device, so no size
needs memory, and in a group without peers, so any number of ranks is one process.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import ChainedOptimizer, MegatronOptimizer
from pydantic import TypeAdapter

from megatron_codemix.backend.planning import PlanningBackend, join_as, leave
from megatron_codemix.config.schema import (
    AdamWConfig,
    AnyPrecisionConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    PrecisionConfig,
)
from megatron_codemix.errors import EXIT_DONE, CodemixError
from megatron_codemix.mcore.build import build_trained
from megatron_codemix.mcore.groups import destroy_model_parallel, initialize_model_parallel

_MOMENTS = 2
"""AdamW's, each with the size and the format of what it updates; made at the first step."""


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """What decides the counts."""

    model: ModelConfig
    layout: LayoutConfig
    precision: AnyPrecisionConfig
    sequence_length: int
    world_size: int

    @classmethod
    def of_json(cls, text: str) -> "PlannedJob":
        """Raises ValueError (pydantic's ValidationError is one) if it is no such job."""
        given = json.loads(text)
        return cls(
            model=ModelConfig.model_validate(given["model"]),
            # What is Transformer Engine's changes no parameter, and it loads on a GPU alone.
            layout=LayoutConfig.model_validate({**given["layout"], "tensor_overlap": False}),
            precision=_countable(
                TypeAdapter(AnyPrecisionConfig).validate_python(given["precision"])
            ),
            sequence_length=given["sequence_length"],
            world_size=given["world_size"],
        )


def _countable(precision: AnyPrecisionConfig) -> AnyPrecisionConfig:
    """Transformer Engine does not load without a GPU, and its layers have the parameters of the
    bf16 ones."""
    is_engines = isinstance(precision, Fp8Config) and precision.is_engines
    return PrecisionConfig(kind="bf16") if is_engines else precision


def count(job: PlannedJob) -> list[dict[str, int]]:
    """Of the first rank of each pipeline stage. Raises ConfigError for what the model refuses."""
    backend = PlanningBackend()
    backend.prepare()
    counted = {stage: _count_stage(job, stage, backend) for stage in _different_stages(job)}
    return [counted.get(stage, counted[min(1, stage)]) for stage in range(job.layout.pipeline)]


def _different_stages(job: PlannedJob) -> Iterable[int]:
    """The first, the last, and one for all between them, which hold the same number of the same
    layers; all of them where other options may have spread the layers."""
    last = job.layout.pipeline - 1
    return range(last + 1) if job.model.transformer_overrides else {0, min(1, last), last}


def _count_stage(job: PlannedJob, stage: int, backend: PlanningBackend) -> dict[str, int]:
    # Pipeline stages are the slowest dimension of megatron-core's order of ranks.
    join_as(stage * (job.world_size // job.layout.pipeline), job.world_size)
    parallel = initialize_model_parallel(job.layout, seed=0)
    try:
        with backend.device:
            model, optimizer = build_trained(
                job.model,
                AdamWConfig(weight_decay=0.1),
                job.layout,
                job.precision,
                sequence_length=job.sequence_length,
                seed=None,
                parallel=parallel,
                backend=backend,
            )
        return _counts(model, optimizer)
    finally:
        destroy_model_parallel()
        leave()


def _counts(model: list[DistributedDataParallel], optimizer: MegatronOptimizer) -> dict[str, int]:
    """By the names of the planner's StageCounts."""
    parameters = [parameter for chunk in model for parameter in chunk.parameters()]
    buffers = [b for chunk in model for b in (*chunk.buffers, *chunk.expert_parallel_buffers)]
    weights = {_storage(parameter): _storage_bytes(parameter) for parameter in parameters}
    updated = list(_updated_tensors(optimizer))
    masters = [tensor for tensor in updated if _storage(tensor) not in weights]
    updated_bytes = sum(tensor.numel() * tensor.element_size() for tensor in updated)
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "weight_bytes": sum(weights.values()),
        "gradient_bytes": sum(_storage_bytes(buffer.grad_data) for buffer in buffers),
        "optimizer_elements": sum(tensor.numel() for tensor in updated),
        "master_weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in masters),
        "moment_bytes": _MOMENTS * updated_bytes,
        "buckets": sum(len(buffer.buckets) for buffer in buffers),
    }


def _updated_tensors(optimizer: MegatronOptimizer) -> Iterable[torch.Tensor]:
    """What the kernel updates on this rank: whole parameters or its part of them, the weights
    themselves or master weights."""
    chained = isinstance(optimizer, ChainedOptimizer)
    for one in optimizer.chained_optimizers if chained else [optimizer]:
        for group in one.optimizer.param_groups:
            yield from group["params"]


def _storage(tensor: torch.Tensor) -> int:
    """Which storage it lies in: several parameters may share a buffer."""
    return tensor.untyped_storage()._cdata


def _storage_bytes(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def main(arguments: list[str]) -> int:
    """Exit code."""
    text = arguments[0] if arguments else sys.stdin.read()
    try:
        answer: dict[str, Any] = {"stages": count(PlannedJob.of_json(text))}
        exit_code = EXIT_DONE
    except CodemixError as error:
        answer, exit_code = {"problems": str(error).splitlines()}, error.exit_code
    sys.stdout.write(json.dumps(answer) + "\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
