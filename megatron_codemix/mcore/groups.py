"""Layout -> process groups, made once and passed on. The only code that touches megatron-core's
parallel_state."""

import datetime
import math
from dataclasses import dataclass

import torch.distributed
from megatron.core import parallel_state
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

from megatron_codemix.backend.process_groups import DISTRIBUTED_TIMEOUT
from megatron_codemix.config.schema import LayoutConfig


@dataclass(frozen=True, kw_only=True)
class ModelParallel:
    """This process's place in the layout, and the groups it communicates in."""

    rank: int
    world_size: int
    tensor_rank: int
    tensor_size: int
    pipeline_rank: int
    pipeline_size: int
    num_chunks: int
    """Model chunks of each pipeline stage."""
    context_rank: int
    context_size: int
    expert_rank: int
    expert_size: int
    data_rank: int
    """Ranks that differ in context_rank alone have the same, and read the same samples."""
    data_size: int
    groups: ProcessGroupCollection
    """Groups by megatron-core's names: tp, pp, cp, dp, dp_cp, embd, ..."""
    last_pipeline_rank: int
    """Global rank of the last stage of this process's pipeline: the one that has the loss."""

    @property
    def is_last_stage(self) -> bool:
        """Whether this process has the model's last chunk, and so the loss."""
        return self.pipeline_rank == self.pipeline_size - 1

    def is_first_chunk(self, chunk: int) -> bool:
        """Whether the model begins with this process's chunk of that number."""
        return self.pipeline_rank == 0 and chunk == 0

    def is_last_chunk(self, chunk: int) -> bool:
        """Whether the model ends with this process's chunk of that number."""
        return self.is_last_stage and chunk == self.num_chunks - 1

    def stage_of(self, chunk: int) -> int | None:
        """The chunk's number as megatron-core takes it: None where stages are not cut."""
        return chunk if self.num_chunks > 1 else None


def initialize_model_parallel(
    layout: LayoutConfig,
    seed: int,
    timeout: datetime.timedelta = DISTRIBUTED_TIMEOUT,
    *,
    is_recorded: bool = False,
) -> ModelParallel:
    """Makes the groups of `layout` over all processes; torch.distributed is initialised and its
    world size divides.

    seed: of megatron-core's random states, which only dropout uses (the weights have their own
        seeds).
    timeout: of the groups' collectives, rounded up to minutes.
    is_recorded: whether the device's work will be (`backend.cuda_graphs`), when nobody may read its
        random states. megatron-core does around dropout, of which there is none here
        (config/overrides.py): so it is given a tracker of states that tracks none, and where it
        keeps the default one for a recomputation, it keeps a handle.
    """
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=virtual_pipeline_size(layout),
        context_parallel_size=layout.context,
        expert_model_parallel_size=layout.expert,
        expert_tensor_parallel_size=1,
        create_gloo_process_groups=False,
        distributed_timeout_minutes=math.ceil(timeout.total_seconds() / 60),
    )
    model_parallel_cuda_manual_seed(
        seed,
        inference_rng_tracker=is_recorded,
        use_cudagraphable_rng=is_recorded,
        force_reset_rng=True,
    )
    groups = ProcessGroupCollection.use_mpu_process_groups()
    return ModelParallel(
        rank=torch.distributed.get_rank(),
        world_size=torch.distributed.get_world_size(),
        tensor_rank=groups.tp.rank(),
        tensor_size=groups.tp.size(),
        pipeline_rank=groups.pp.rank(),
        pipeline_size=groups.pp.size(),
        num_chunks=layout.virtual_pipeline,
        context_rank=groups.cp.rank(),
        context_size=groups.cp.size(),
        expert_rank=groups.ep.rank(),
        expert_size=groups.ep.size(),
        data_rank=groups.dp.rank(),
        data_size=groups.dp.size(),
        groups=groups,
        last_pipeline_rank=parallel_state.get_pipeline_model_parallel_last_rank(),
    )


def virtual_pipeline_size(layout: LayoutConfig) -> int | None:
    """As megatron-core takes it: None where stages are not cut into chunks."""
    return layout.virtual_pipeline if layout.virtual_pipeline > 1 else None


def destroy_model_parallel() -> None:
    """Forgets the groups, so that one process can make another layout (tests, evaluation after
    training)."""
    parallel_state.destroy_model_parallel()
