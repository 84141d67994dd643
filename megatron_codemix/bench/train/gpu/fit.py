"""What a row takes of a card's memory, by the planner, and how many sequences it takes at once."""

from dataclasses import dataclass

from megatron_codemix.bench.train.gpu.cases import Case
from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.planner.hardware import gpus
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import MemoryEstimate, StageMemory, estimate_memory
from megatron_codemix.units import format_bytes

STEP_TOKENS = 16_384
"""Of a step, which is one microbatch, where they fit."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a case lies in a card's memory."""

    microbatch_sequences: int
    planned_bytes: int
    """Of our side at its fullest moment; of the loop with the second model that is beside it, and
    with that model's recording where steps are recorded."""
    planned_state_bytes: int
    """Of one model, what is there between two steps: weights, gradients, optimizer."""
    memory_bytes: int
    """Of the card."""

    @property
    def fits(self) -> bool:
        return self.planned_bytes <= self.memory_bytes

    @property
    def fits_twice(self) -> bool:
        """Whether one more model of the same size can stay beside it, between its steps."""
        return self.planned_bytes + self.planned_state_bytes <= self.memory_bytes

    def why_not(self) -> str | None:
        """None where it fits."""
        if self.fits:
            return None
        return (
            f"does not fit: the planner's estimate is {format_bytes(self.planned_bytes)} with one "
            f"sequence at a time, and the card has {format_bytes(self.memory_bytes)}"
        )


def fit(case: Case, memory_bytes: int) -> Fit:
    """As many sequences as make STEP_TOKENS, or half of them again and again until they fit; one
    where none does. In FP8 no more than in bf16, beside which it is judged."""
    sequences = max(1, STEP_TOKENS // case.sequence)
    if case.precision != "bf16":
        sequences = fit(case.beside(precision="bf16"), memory_bytes).microbatch_sequences
    while not (found := _fit(case, sequences, memory_bytes)).fits and sequences > 1:
        sequences //= 2
    return found


def _fit(case: Case, sequences: int, memory_bytes: int) -> Fit:
    memory = _memory(case, sequences)
    [stage] = memory.stages
    is_loop = case.kind == "loop"
    return Fit(
        microbatch_sequences=sequences,
        planned_bytes=memory.peak_bytes + (_second_bytes(case, stage) if is_loop else 0),
        planned_state_bytes=stage.state,
        memory_bytes=memory_bytes,
    )


def _second_bytes(case: Case, stage: StageMemory) -> int:
    """Of a model beside ours, between its steps. Its activations are back with the allocator then,
    but for those of a recording: half of what the planner counts where steps are recorded."""
    if not case.is_recorded:
        return stage.state
    return stage.state + (stage.activations + stage.logits_and_loss + stage.fragmentation) // 2


def _memory(case: Case, sequences: int) -> MemoryEstimate:
    job = Job(
        model=case.shape,
        sequence_length=case.sequence,
        global_batch_sequences=sequences,
        layout=LayoutConfig(microbatch_sequences=sequences),
        precision=case.number_formats,
        world_size=1,
        cuda_graphs=case.is_recorded,
    )
    any_gpu = next(iter(gpus().values()))  # it sets the limit alone, which is the card's here
    return estimate_memory(job, any_gpu)
