"""Layout -> process groups, made once and passed on. The only code that touches megatron-core's
parallel_state."""

from dataclasses import dataclass

import torch.distributed
from megatron.core import parallel_state
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

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
    data_rank: int
    data_size: int
    groups: ProcessGroupCollection
    """Groups by megatron-core's names: tp, pp, dp, dp_cp, embd, ..."""
    last_pipeline_rank: int
    """Global rank of the last stage of this process's pipeline: the one that has the loss."""

    @property
    def is_first_stage(self) -> bool:
        return self.pipeline_rank == 0

    @property
    def is_last_stage(self) -> bool:
        return self.pipeline_rank == self.pipeline_size - 1


def initialize_model_parallel(layout: LayoutConfig, seed: int) -> ModelParallel:
    """Makes the groups of `layout` over all processes; torch.distributed is initialised and its
    world size divides.

    seed: of megatron-core's random states, which only dropout uses (the weights have their own
        seeds).
    """
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        create_gloo_process_groups=False,
    )
    model_parallel_cuda_manual_seed(seed)
    groups = ProcessGroupCollection.use_mpu_process_groups()
    return ModelParallel(
        rank=torch.distributed.get_rank(),
        world_size=torch.distributed.get_world_size(),
        tensor_rank=groups.tp.rank(),
        tensor_size=groups.tp.size(),
        pipeline_rank=groups.pp.rank(),
        pipeline_size=groups.pp.size(),
        data_rank=groups.dp.rank(),
        data_size=groups.dp.size(),
        groups=groups,
        last_pipeline_rank=parallel_state.get_pipeline_model_parallel_last_rank(),
    )


def destroy_model_parallel() -> None:
    """Forgets the groups, so that one process can make another layout (tests, evaluation after
    training)."""
    parallel_state.destroy_model_parallel()
