"""The run directory: names, status, and who owns it."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.files import write_json
from megatron_codemix.runs import (
    COMPLETE_MARKER,
    RunDirectory,
    Status,
    final_checkpoint,
    newest_checkpoint,
    require_done,
    train_command,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def complete(run: RunDirectory, *steps: int) -> None:
    for step in steps:
        run.checkpoint(step).mkdir(parents=True)
        (run.checkpoint(step) / COMPLETE_MARKER).write_text("{}")


def test_paths_are_those_of_the_contract(run: RunDirectory) -> None:
    names = [run.config, run.status, run.metrics, run.ledger, run.checkpoint(4000), run.attempt(3)]
    assert [str(path.relative_to(run.path)) for path in [*names, run.evaluation]] == [
        "config.yaml",
        "status.json",
        "metrics.jsonl",
        "ledger.jsonl",
        "checkpoints/iter_0004000",
        "attempts/3",
        "evaluation",
    ]
    assert not run.path.exists()


def test_status_survives_writing(run: RunDirectory) -> None:
    status = Status(identity="abc", state="running", step=3, train_seconds=0.1 + 0.2)
    written = run.write_status(status)
    assert written.updated_unix > 0
    assert run.read_status() == written
    assert replace(written, updated_unix=0.0) == status


def test_a_run_that_never_started_has_no_status(run: RunDirectory) -> None:
    assert run.read_status() is None
    assert run.claim("abc") == Status(identity="abc")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *((text, "") for text in ("", "{")),
        ("[]", "a list, and an object is wanted"),
        ('"a"', "a text, and an object is wanted"),
        ("null", "null, and an object is wanted"),
        ("NaN", "a number, and an object is wanted"),
        ("{}", "'identity' is missing"),
        ('{"identity": "a", "colour": 1}', "'colour' is unknown"),
        ('{"identity": "a", "state": "x"}', "'state' is 'x', and one of pending, running"),
        ('{"identity": 3}', "'identity' is 3"),
        ('{"identity": "a", "step": "4"}', "'step' is \"4\""),
        ('{"identity": "a", "step": true}', "'step' is true"),
        ('{"identity": "a", "train_seconds": NaN}', "'train_seconds' is NaN"),
        (
            '{"identity": "a", "state": "done", "step": 3, "num_steps": 6}',
            "'state' is 'done' at step 3 of 6",
        ),
    ],
)
def test_a_damaged_status_is_an_error_with_its_path(
    run: RunDirectory, content: str, words: str
) -> None:
    run.path.mkdir()
    run.status.write_text(content)
    with pytest.raises(RunError) as told:
        run.read_status()
    assert f"{run.status}: not a readable status file ({words}" in str(told.value)
    assert "restore it or move the run directory away" in str(told.value)


def test_a_run_of_another_identity_is_refused(run: RunDirectory) -> None:
    written = run.write_status(Status(identity="a" * 64))
    assert run.claim("a" * 64) == written
    with pytest.raises(RunError, match=r"another identity \(aaaaaaaa.*bbbbbbbb.*config diff"):
        run.claim("b" * 64)


def test_only_marked_checkpoints_count_in_numeric_order(run: RunDirectory) -> None:
    complete(run, 12000000, 5, 900)
    run.checkpoint(7).mkdir()
    assert run.complete_steps() == [5, 900, 12000000]
    assert newest_checkpoint(run) == run.checkpoint(12000000)


def test_an_empty_run_has_no_checkpoint(run: RunDirectory) -> None:
    assert run.complete_steps() == []
    assert newest_checkpoint(run) is None


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


def test_a_run_without_its_configuration_is_told_from_no_run(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="no run here"):
        run.require_config()
    run.write_status(Status(identity="a"))
    with pytest.raises(RunError, match=r"config\.yaml: is missing, and this run had it: restore"):
        run.require_config()


def test_the_command_of_a_run_can_be_given_to_a_shell(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a run")
    words = ["codemix", "train", str(run.config), "--run-dir", str(run.path)]
    assert shlex.split(train_command(run).strip("`")) == words
