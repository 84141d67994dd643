"""Steps whose passes are recorded once, beside the same steps without a recording.

The device is a CPU that records as CUDA's graphs do (tests/helpers/recordings.py); tests/gpu has
the same on a GPU.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.recordings import RecordingBackend
from tests.helpers.training import MODEL, SEQUENCE, Job, build_with_optimizer, markov_batch

LAYOUT = LayoutConfig(microbatch_sequences=2)
MICROBATCHES = (2, 2, 2, 2, 3, 1, 3, 2)
"""Of each step: three without, two that are compared, three from the recording alone."""
FP8 = Fp8Config(recipe="emulated", rule="tensorwise")
CASES = {
    "bf16": Job(layout=LAYOUT, precision="bf16"),
    "parallel block, z-loss": Job(
        layout=LAYOUT, model=MODEL.model_copy(update={"block": "parallel", "z_loss": 1e-3})
    ),
    "fp8": Job(layout=LAYOUT, precision=FP8),
}


@dataclass
class Found:
    """Losses and gradient norms of the steps, in all their digits; lines of the log."""

    numbers: list[tuple[float, float]]
    recordings: int = 0
    replays: int = 0
    said: list[str] = field(default_factory=list)


class StaleBackend(RecordingBackend):
    """What it records has kept a weight of before, as a cast that was made once."""

    def __init__(self, weight: Any) -> None:
        super().__init__()
        self.weight = weight

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        replay, kept = super().record(work), self.weight.detach().clone()

        def stale() -> None:
            now = self.weight.detach().clone()
            self.weight.data.copy_(kept)
            replay()
            self.weight.data.copy_(now)

        return stale


def batches_of(step: int, rank: int) -> list[Any]:
    """Microbatches of two samples, with documents and labels that do not count."""
    first = 1000 * rank + 10 * step
    batches = [markov_batch([first + 2 * n, first + 2 * n + 1]) for n in range(MICROBATCHES[step])]
    for batch in batches:
        batch.loss_mask[:, :5] = 0
    documents = np.tile(np.arange(SEQUENCE) // 16, (2, 1))
    return [replace(batch, document_ids=documents) for batch in batches]


def train(context: RankContext, job: Job, way: str) -> Found:
    from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
    from megatron_codemix.mcore.optimizer import set_step_sizes
    from megatron_codemix.mcore.step import train_step

    model, optimizer, parallel, backend = build_with_optimizer(job)
    passes, said = None, []
    if way != "without":
        weight = next(model[0].parameters())
        backend = StaleBackend(weight) if way == "stale" else RecordingBackend()
        passes = MicrobatchGraph(model, num_sources=2, parallel=parallel, backend=backend)
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("megatron_codemix.mcore.microbatch_graph")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    numbers = []
    for step in range(len(MICROBATCHES)):
        set_step_sizes(optimizer, lr=1e-3, weight_decay=0.1)
        result = train_step(
            model,
            optimizer,
            batches_of(step, parallel.data_rank),
            num_sources=2,
            parallel=parallel,
            backend=backend,
            passes=passes,
        )
        numbers.append((result.loss_nats, result.grad_norm))
    if not isinstance(backend, RecordingBackend):
        return Found(numbers)
    return Found(numbers, backend.recordings, backend.replays, said)


@pytest.mark.parametrize("name", CASES)
def test_recorded_steps_are_those_without_a_recording_to_the_bit(name: str) -> None:
    """Whatever the number of microbatches, which changes."""
    [without] = run_distributed(train, 1, CASES[name], "without")
    [found] = run_distributed(train, 1, CASES[name], "recorded")
    assert found.numbers == without.numbers
    assert (found.recordings, found.replays) == (1, sum(MICROBATCHES[3:]))
    assert found.said == [
        "backend.cuda_graphs: recorded; it differs in losses by 0, gradients by 0, relative"
    ]


def test_ranks_that_share_a_batch_record_each_for_itself() -> None:
    job = CASES["bf16"]
    without = run_distributed(train, 2, job, "without")
    found = run_distributed(train, 2, job, "recorded")
    assert [one.numbers for one in found] == [one.numbers for one in without]
    assert [one.replays for one in found] == [sum(MICROBATCHES[3:])] * 2


def test_a_recording_that_goes_wrong_is_told_of_and_left() -> None:
    """One that is right until the weights change: the run learns what it would have without."""
    job = CASES["bf16"]
    [without] = run_distributed(train, 1, job, "without")
    [found] = run_distributed(train, 1, job, "stale")
    assert found.numbers == without.numbers
    assert found.replays == sum(MICROBATCHES[3:5])
    [line] = found.said
    assert "a recorded step differs from the same one without" in line
    assert line.endswith("going on without")


def test_what_is_no_number_on_both_sides_is_no_difference() -> None:
    from megatron_codemix.mcore.microbatch_graph import differences

    expected = np.array([2.0, np.nan, 3.0, 0.0])
    assert differences(expected.copy(), expected, num_sums=2) == (0.0, 0.0)
    assert differences(expected + np.array([1e-4, 0, 0, 0]), expected, num_sums=2)[0] > 1
    spoilt = expected.copy()
    spoilt[2] = np.nan
    assert not differences(spoilt, expected, num_sums=2)[1] <= 1
