"""Memory of one GPU of each pipeline stage, at the fullest moment of a step."""

from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.planner.hardware import Gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.activations import Activations
from megatron_codemix.planner.memory.exact import ExactCounts
from megatron_codemix.planner.memory.layer import GPU, Kernels
from megatron_codemix.planner.memory.overheads import (
    CONTEXT_BYTES,
    FRAGMENTATION,
    communication_bytes,
)
from megatron_codemix.planner.memory.parameters import rank_parameters
from megatron_codemix.planner.memory.state import State, fp8_copy_bytes, state_of


@dataclass(frozen=True, kw_only=True)
class StageMemory:
    """Bytes on each GPU of one pipeline stage; they add up to its peak."""

    weights: int
    gradients: int
    """fp32, in megatron-core's buffers."""
    optimizer: int
    """fp32: AdamW's two moments, and master weights where the weights are not fp32."""
    activations: int
    """Of all microbatches in flight, with what one backward pass works with."""
    logits_and_loss: int
    """On the last stage: what the loss takes beyond what a backward pass works with, which is not
    needed at the same time."""
    communication: int
    context: int
    fragmentation: int

    @property
    def state(self) -> int:
        """What is there between two steps."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> int:
        # Not through asdict, whose deep copies were a third of a search.
        fixed = self.communication + self.context
        return self.state + fixed + self.activations + self.logits_and_loss + self.fragmentation


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Of a job on one kind of GPU."""

    stages: tuple[StageMemory, ...]
    """By pipeline rank."""
    limit_bytes: int
    """Memory of the GPU."""
    is_exact: bool
    """Whether parameters, gradients and optimizer were counted on megatron-core's model."""

    @property
    def peak_bytes(self) -> int:
        """Of the stage that needs most."""
        return max(stage.total for stage in self.stages)

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= self.limit_bytes

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Bytes, by stage and part."""
        return {
            "fits": self.fits,
            "peak_bytes": self.peak_bytes,
            "limit_bytes": self.limit_bytes,
            "is_exact": self.is_exact,
            "stages": [asdict(stage) | {"total": stage.total} for stage in self.stages],
        }


def estimate_memory(
    job: Job, gpu: Gpu, *, counts: ExactCounts | None = None, kernels: Kernels = GPU
) -> MemoryEstimate:
    """What a step takes, by formula; with `counts` (`exact_counts`) parameters, gradients and
    optimizer as megatron-core has built them."""
    activations = Activations(job, kernels)
    return MemoryEstimate(
        stages=tuple(
            _stage_memory(job, stage, activations, counts) for stage in range(job.layout.pipeline)
        ),
        limit_bytes=gpu.memory_bytes,
        is_exact=counts is not None,
    )


def _stage_memory(
    job: Job, stage: int, activations: Activations, counts: ExactCounts | None
) -> StageMemory:
    parameters = rank_parameters(job, stage)
    state = state_of(job, parameters)
    if counts is not None:
        exact = counts.stages[stage]
        state = State(exact.weight_bytes, exact.gradient_bytes, exact.optimizer_bytes)
    of_stage = activations.of_stage(stage)
    loss = max(0, of_stage.loss - of_stage.working)
    held = of_stage.kept + of_stage.working
    if job.cuda_graphs:
        # A recording keeps its memory, beside which the steps that it is compared with have theirs.
        held, loss = 2 * held, 2 * loss
    return StageMemory(
        weights=state.weights + fp8_copy_bytes(job, parameters),
        gradients=state.gradients,
        optimizer=state.optimizer,
        activations=held,
        logits_and_loss=loss,
        communication=communication_bytes(job, activations.sizes),
        context=CONTEXT_BYTES,
        fragmentation=round(FRAGMENTATION * (held + loss)),
    )
