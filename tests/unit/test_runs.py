"""The run directory: names, status, and who owns it."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


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


FAILED = Status(identity="a" * 64, state="failed", num_steps=9, attempts=2, failures=2)


def test_a_run_that_failed_before_its_first_step_makes_way(run: RunDirectory) -> None:
    """With its logs, and its attempts counted on."""
    run.write_status(FAILED)
    run.attempt(2).mkdir(parents=True)
    for path in (run.config, run.ledger, run.metrics):
        path.touch()  # before the first line
    run.checkpoints.mkdir()
    assert run.claim("b" * 64) == Status(identity="b" * 64, attempts=2)
    assert run.claim("a" * 64).failures == 2
    assert run.require_status().identity == "a" * 64, "to claim writes nothing"


@pytest.mark.parametrize(
    "status",
    [
        replace(FAILED, state="running"),
        replace(FAILED, state="pending"),
        replace(FAILED, step=1),
        replace(FAILED, train_seconds=1.0),
    ],
)
def test_a_run_that_may_have_begun_does_not(run: RunDirectory, status: Status) -> None:
    run.write_status(status)
    with pytest.raises(RunError, match="holds a run of another identity"):
        run.claim("b" * 64)


@pytest.mark.parametrize(
    "left",
    [
        "checkpoints/iter_0000000/complete.json",
        "checkpoints/iter_0000002/common.pt",
        "metrics.jsonl",
        "validation.jsonl",
        "ledger.jsonl",
        "skipped.jsonl",
        "studies.jsonl",
        "evaluation/tasks.json",
    ],
)
def test_a_run_that_has_left_something_does_not(run: RunDirectory, left: str) -> None:
    run.write_status(FAILED)
    path = run.path / left
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    with pytest.raises(RunError, match="holds a run of another identity"):
        run.claim("b" * 64)


@pytest.mark.parametrize("name", ["text-aaaaaaaa", "a" * 16, "text-bbbbbbbb", "b" * 16])
def test_a_folder_that_is_named_by_an_identity_does_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Studies and stores find runs by it, however it is called here."""
    RunDirectory(tmp_path / name).write_status(FAILED)
    monkeypatch.chdir(tmp_path / name)
    for path in (tmp_path / name, Path()):
        with pytest.raises(RunError, match="holds a run of another identity"):
            RunDirectory(path).claim("b" * 64)


def test_a_run_without_its_configuration_is_told_from_no_run(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="no run here"):
        run.require_config()
    run.write_status(Status(identity="a"))
    with pytest.raises(RunError, match=r"config\.yaml: is missing, and this run had it: restore"):
        run.require_config()
