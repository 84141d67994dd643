"""Which checkpoints of a run count, and what is said where one is missing."""

import re
import shlex
from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.files import write_json
from megatron_codemix.run_checkpoints import (
    final_checkpoint,
    require_done,
    train_command,
)
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def complete(run: RunDirectory, *steps: int) -> None:
    for step in steps:
        run.checkpoint(step).mkdir(parents=True)
        (run.checkpoint(step) / COMPLETE_MARKER).write_text("{}")


def test_only_marked_checkpoints_count_in_numeric_order(run: RunDirectory) -> None:
    complete(run, 12000000, 5, 900)
    run.checkpoint(7).mkdir()
    assert run.complete_steps() == [5, 900, 12000000]


def test_an_empty_run_has_no_checkpoint(run: RunDirectory) -> None:
    assert run.complete_steps() == []


def test_a_parent_must_exist_and_be_done(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="no run here"):
        require_done(run)
    run.write_status(Status(identity="a", state="failed", step=3, num_steps=9))
    with pytest.raises(RunError, match="is failed at step 3 of 9; finish it first"):
        require_done(run)
    done = run.write_status(Status(identity="a", state="done", step=9, num_steps=9))
    assert require_done(run) == done


def test_the_final_checkpoint_of_a_done_run(run: RunDirectory) -> None:
    run.write_status(Status(identity="a", state="done", step=9, num_steps=9))
    complete(run, 5)
    write_json(run.attempt(0) / "plan.json", {"world_size": 4})
    command = f"`codemix train {run.config} --run-dir {run.path} --nproc 4`"
    with pytest.raises(RunError, match=f"its last checkpoint is gone; give {re.escape(command)}"):
        final_checkpoint(run)
    complete(run, 9)
    assert final_checkpoint(run) == run.checkpoint(9)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ([], "is gone; no other is left: restore it from a copy, or move"),
        ([5, 9], "has no complete.json; no checkpoint is complete: restore complete.json in one of "
        "iter_0000005, iter_0000009, or move"),
    ],
)  # fmt: skip
def test_folders_without_a_marker_are_told_from_lost_ones(
    run: RunDirectory, left: list[int], words: str
) -> None:
    run.write_status(Status(identity="a", state="done", step=9, num_steps=9))
    for step in left:
        run.checkpoint(step).mkdir(parents=True)
    with pytest.raises(RunError, match=f"its last checkpoint {words}"):
        final_checkpoint(run)


def test_the_command_of_a_run_can_be_given_to_a_shell(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a run")
    words = ["codemix", "train", str(run.config), "--run-dir", str(run.path)]
    assert shlex.split(train_command(run).strip("`")) == words
