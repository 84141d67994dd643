"""What the planner says of the memory of a training that is about to start on GPUs."""

from functools import partial

from megatron_codemix.config.schema import AdamWConfig
from megatron_codemix.planner.answer import FITTED_GPU
from megatron_codemix.planner.hardware import find_gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.layout_file import settings_text
from megatron_codemix.planner.memory import estimate_memory
from megatron_codemix.planner.memory.overheads import CONTEXT_BYTES
from megatron_codemix.planner.remedy import smallest_change
from megatron_codemix.train.memory_plan import MemoryPlan
from megatron_codemix.train.phase import Phase


def memory_plan(phase: Phase) -> MemoryPlan:
    """Of the phase's ranks. What a step takes does not depend on the kind of GPU."""
    job = Job.of_config(phase.config, phase.plan.world_size)
    stages = estimate_memory(job, find_gpu(FITTED_GPU)).stages
    return MemoryPlan(
        bytes_of_stage=tuple(stage.total - stage.context for stage in stages),
        # Of experts a router decides what they hold; Muon's state is counted as AdamW's.
        is_exact=isinstance(phase.config.optimizer, AdamWConfig) and phase.config.model.moe is None,
        change_for=partial(_change_text, phase),
    )


def _change_text(phase: Phase, memory_bytes: int, device_name: str) -> str:
    world_size = phase.plan.world_size
    change = smallest_change(phase.config, world_size, memory_bytes + CONTEXT_BYTES, device_name)
    if change is None:
        return (
            f"no layout of {world_size} such GPUs takes less, by the planner: take more of them, "
            "ones with more memory, or a shorter data.sequence_length"
        )
    return (
        f"the smallest change that fits, by the planner: {settings_text(change)}; codemix plan "
        "--search ranks all layouts"
    )
