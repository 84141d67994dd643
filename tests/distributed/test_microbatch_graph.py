"""Steps whose passes are recorded once, beside the same steps without a recording.

The device is a CPU that records as CUDA's graphs do (tests/helpers/recordings.py); tests/gpu has
the same on a GPU.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig
from megatron_codemix.files import read_jsonl
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.runs import RunDirectory
from tests.helpers.ranks import run_distributed
from tests.helpers.recordings import RecordingBackend, scatter_by_operations
from tests.helpers.tiny import SEQUENCE as TINY
from tests.helpers.tiny import write_run
from tests.helpers.training import (
    MODEL,
    SEED,
    SEQUENCE,
    Job,
    build_with_optimizer,
    markov_batch,
    train_run,
)

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
    "recomputed": Job(layout=LAYOUT.model_copy(update={"recompute": "full"})),
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
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
    from megatron_codemix.mcore.optimizer import set_step_sizes
    from megatron_codemix.mcore.step import train_step

    scatter_by_operations()
    model, optimizer, parallel, backend = build_with_optimizer(job)
    passes, said = None, []
    if way != "without":
        # Of what groups.py asks for, all but what needs PyTorch's build with CUDA.
        model_parallel_cuda_manual_seed(SEED, inference_rng_tracker=True, force_reset_rng=True)
        weight = next(model[0].parameters())
        backend = StaleBackend(weight) if way == "stale" else RecordingBackend()
        backend.is_recordable = True
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


@pytest.mark.parametrize(
    "layout",
    [{}, {"tensor": 2, "sequence_parallel": True}, {"context": 2}],
    ids=["data parallel", "tensor parallel", "context parallel"],
)
def test_ranks_record_each_for_itself(layout: dict[str, Any]) -> None:
    """With the collectives of a microbatch, where it has some."""
    job = Job(layout=LAYOUT.model_copy(update=layout))
    without = run_distributed(train, 2, job, "without")
    found = run_distributed(train, 2, job, "recorded")
    assert [one.numbers for one in found] == [one.numbers for one in without]
    assert [one.replays for one in found] == [sum(MICROBATCHES[3:])] * 2, found[0].said


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


RUN = [
    "layout.microbatch_sequences=1",
    f"train.ramp_up={{start_sequences: 2, increment_sequences: 3, over_tokens: {28 * TINY}}}",
    f"checkpoint.save_every_tokens={40 * TINY}",
    f"validation={{every_tokens: {40 * TINY}, max_bytes_per_source: 400}}",
]


def train_whole(context: RankContext, config: Path, run: Path, is_recorded: bool) -> list[int]:
    """A run with a batch that grows, validation, and a step whose loss is off: from there it goes
    back. Recordings and replays."""
    from megatron_codemix.train import trainer
    from megatron_codemix.train.health import LossGuard, SkipStepError

    class OneBadStep(LossGuard):
        def judge(self, step: int, result: Any) -> None:
            if step == 17 and not run.joinpath("skipped.jsonl").exists():
                raise SkipStepError(step, "a test", result)
            super().judge(step, result)

    trainer.LossGuard = OneBadStep  # type: ignore[misc]
    backend = RecordingBackend() if is_recorded else None
    options = [*RUN, "backend.cuda_graphs=microbatch"] if is_recorded else RUN
    train_run(context, config, options, run, backend)
    return [backend.recordings, backend.replays] if backend else []


def test_a_run_is_the_one_without_a_recording(tmp_path: Path) -> None:
    config = write_run(tmp_path / "data")
    runs = [RunDirectory(tmp_path / name) for name in ("without", "recorded")]
    for run in runs:
        is_recorded = run.path.name == "recorded"
        [counts] = run_distributed(train_whole, 1, config, run.path, is_recorded)
    without, recorded = (
        [
            (
                line["step"],
                line["batch/sequences"],
                line["loss/train_nats"],
                line["optimizer/grad_norm"],
            )
            for line in read_jsonl(run.metrics)
        ]
        for run in runs
    )
    assert len({batch for _, batch, _, _ in without}) == 3
    assert [step for step, *_ in without] == [s for s in range(1, without[-1][0] + 1) if s != 17]
    assert recorded == without
    assert [run.skipped_steps() for run in runs] == [{17}, {17}]
    assert counts[0] == 2  # once more after it went back


def test_what_is_no_number_on_both_sides_is_no_difference() -> None:
    from megatron_codemix.mcore.microbatch_graph import differences

    expected = np.array([2.0, np.nan, 3.0, 0.0])
    assert differences(expected.copy(), expected, num_sums=2) == (0.0, 0.0)
    assert differences(expected + np.array([1e-4, 0, 0, 0]), expected, num_sums=2)[0] > 1
    spoilt = expected.copy()
    spoilt[2] = np.nan
    assert not differences(spoilt, expected, num_sums=2)[1] <= 1
