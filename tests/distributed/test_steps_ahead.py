"""A run whose results are read a step late, as on a GPU, is the run that reads each at once."""

import os
import signal
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.errors import PreemptedError
from megatron_codemix.files import read_jsonl
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.runs import RunDirectory
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import SEQUENCE, write_run
from tests.helpers.training import train_run

BAD_STEP = 10
"""A checkpoint is due after it, and the next step is launched before it is judged."""
SAVE_EVERY = "checkpoint.save_every_tokens={}"
SAVE = SAVE_EVERY.format(5 * 8 * SEQUENCE)
TIMES = ("time/", "throughput/")


def train(context: RankContext, config: Path, run: Path, steps_ahead: int) -> list[str]:
    """As `codemix train`, on a device that reads a step's batch until its result is read; the loss
    of BAD_STEP is no number. What was done, in order."""
    from megatron_codemix.backend.devices import CpuBackend
    from megatron_codemix.train import trainer

    CpuBackend.steps_ahead = steps_ahead
    done: list[str] = []
    launch, judge = trainer.launch_step, trainer.LossGuard.judge

    class Launched:
        def __init__(self, batches: Any, launched: Any) -> None:
            self.batches, self.launched = batches, launched
            self.sum = checksum(batches)

        def result(self) -> Any:
            done.append("read")
            assert checksum(self.batches) == self.sum, "a batch was overwritten in its step"
            return self.launched.result()

    def launch_step(model: Any, optimizer: Any, batches: Any, **options: Any) -> Any:
        done.append("launch")
        return Launched(batches, launch(model, optimizer, batches, **options))

    def spoiled(self: Any, number: int, result: Any) -> None:
        if number == BAD_STEP:
            result.source_nats[:] = float("nan")
        judge(self, number, result)

    trainer.launch_step, trainer.LossGuard.judge = launch_step, spoiled
    train_run(context, config, [SAVE], run)
    return done


def checksum(batches: Any) -> int:
    return crc32(b"".join(batch.tokens.tobytes() for batch in batches))


def test_reading_late_changes_nothing(tmp_path: Path) -> None:
    config = write_run(tmp_path / "data")
    runs = [RunDirectory(tmp_path / name) for name in ("at_once", "late")]
    at_once, late = (
        run_distributed(train, 1, config, run.path, ahead)[0] for ahead, run in enumerate(runs)
    )
    assert at_once == ["launch", "read"] * (BAD_STEP + 14)  # back to 5, and 10 is passed over
    # Before a checkpoint, and where a step is passed over, all is read.
    to_save = ["launch", *["launch", "read"] * 4, "read"]
    to_pass_over = ["launch", *["launch", "read"] * 3, "read"]
    assert late == to_save * 2 + to_pass_over + to_save * 2
    assert runs[0].skipped_steps() == runs[1].skipped_steps() == {BAD_STEP}
    assert differing_tensors(*(run.checkpoint(20) for run in runs)) == []
    assert runs[0].ledger.read_bytes() == runs[1].ledger.read_bytes()
    assert metrics(runs[0]) == metrics(runs[1])


def metrics(run: RunDirectory) -> list[dict[str, Any]]:
    """Without what depends on the clock and the machine."""
    return [
        {name: value for name, value in line.items() if not name.startswith(TIMES)}
        for line in read_jsonl(run.metrics)
    ]


def train_until_asked(
    context: RankContext, config: Path, run: Path, save_every: int, asked_in: int
) -> tuple[list[int], list[int], str]:
    """As above; one rank is asked to stop in this step. Before step 10, steps of complete
    checkpoints, where the first has been written by step 8, and the status's; how it has ended."""
    from megatron_codemix.backend.devices import CpuBackend
    from megatron_codemix.train import trainer

    CpuBackend.steps_ahead, trainer.STATUS_INTERVAL_SECONDS = 1, 0.0
    complete: list[int] = []
    stated: list[int] = []
    one_step = trainer.Trainer._one_step

    def watched_step(self: Any, loader: Any) -> None:
        number = self.step + 1
        while number == 8 and self.checkpoints.is_writing():
            time.sleep(0.001)
        if number == 10:
            complete.extend(self.phase.run.complete_steps())
            stated.append(self.status.step)
        if number == asked_in and context.rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        one_step(self, loader)

    trainer.Trainer._one_step = watched_step  # type: ignore[method-assign]
    overrides = [SAVE_EVERY.format(save_every * 8 * SEQUENCE)]
    with pytest.raises(PreemptedError) as stopped:
        train_run(context, config, overrides, run)
    return complete, stated, str(stopped.value)


@pytest.mark.parametrize(
    ("save_every", "asked_in", "saved"),
    [(5, 11, 12), (1, 3, 3)],
    ids=["between checkpoints", "a checkpoint after every step"],
)
def test_late_answers_complete_saves_and_are_heard(
    save_every: int, asked_in: int, saved: int, tmp_path: Path
) -> None:
    """The question after a step is answered after the next one, or before a checkpoint. A step has
    ended when its result was read."""
    config, run = write_run(tmp_path / "data"), RunDirectory(tmp_path / "run")
    ranks = run_distributed(train_until_asked, 2, config, run.path, save_every, asked_in)
    for complete, stated, said in ranks:
        assert (complete, stated) == (([5], [8]) if asked_in > 10 else ([], []))
        assert f"asked to stop; saved after step {saved} of 20" in said
    assert run.complete_steps()[-1] == saved
