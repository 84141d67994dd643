"""The file of a ledger: damaged lines are named, lost ones put back from checkpoints."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.checkpoints import FileRecord, write_marker
from megatron_codemix.errors import RunError
from megatron_codemix.files import rewrite_jsonl
from megatron_codemix.ledgers import mend_ledger, read_ledger, require_ledger
from megatron_codemix.locks import exclusive
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from tests.helpers.tiny import SEQUENCE, write_run

SAVED_AT = (5, 10, 15)


def line(step: int) -> dict[str, Any]:
    source = {
        **dict.fromkeys(("planned_samples", "planned_tokens", "epochs"), 1.5 * step),
        **dict.fromkeys(("consumed_samples", "consumed_tokens", "skipped_samples"), step),
        **dict.fromkeys(("cursor", "chain_tokens"), step),
        "loss_nats": float("nan"),
    }
    numbers = {"step": step, "samples": step, "tokens": 16 * step}
    return numbers | {"sources": {"text": source}, "max_error_samples": 0.5}


def save(run: RunDirectory, step: int, *, is_scheduled: bool = True) -> None:
    folder = run.checkpoint(step)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * step)
    record = {"step": step, "is_scheduled": is_scheduled, "ledger": line(step)}
    write_marker(folder, record, {"weights": FileRecord.of(folder / "weights")})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Done after 15 steps; it has kept its two last checkpoints and one of a stop."""
    run = RunDirectory(tmp_path / "run")
    run.write_status(Status(identity="a", state="done", step=15, num_steps=15))
    for step in SAVED_AT[1:]:
        save(run, step)
    save(run, 12, is_scheduled=False)
    rewrite_jsonl(run.ledger, [line(step) for step in SAVED_AT])
    return run


def cut_to(num_lines: int) -> Callable[[RunDirectory], None]:
    def cut(run: RunDirectory) -> None:
        kept = b"".join(run.ledger.read_bytes().splitlines(keepends=True)[:num_lines])
        run.ledger.write_bytes(kept + b'{"step": 15, "sam')

    return cut


@pytest.mark.parametrize(
    ("damage", "steps", "words"),
    [
        (cut_to(1), [5, 10, 15], "ledger.jsonl ends at step 5, and the run is done at step 15"),
        (cut_to(2), [5, 10, 15], "ledger.jsonl ends at step 10, and"),
        (cut_to(0), [10, 15], "ledger.jsonl has no line, and"),
        (lambda run: run.ledger.unlink(), [10, 15], "ledger.jsonl is missing, and"),
    ],
)
def test_lines_of_checkpoints_are_put_back(
    run: RunDirectory, damage: Callable[[RunDirectory], None], steps: list[int], words: str
) -> None:
    whole = run.ledger.read_bytes().splitlines()
    damage(run)
    with pytest.raises(RunError, match=words):
        require_ledger(run)
    told = mend_ledger(run)
    assert told is not None
    assert words in told
    assert run.ledger.read_bytes().splitlines() == whole[-len(steps) :]
    assert [one["step"] for one in require_ledger(run)] == steps
    assert mend_ledger(run) is None


def test_a_run_that_finishes_while_it_is_read_is_not_cut(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, done = read_ledger(run), run.require_status()

    def read_and_finish(run: RunDirectory) -> list[dict[str, Any]]:
        before = read_ledger(run)
        rewrite_jsonl(run.ledger, lines)
        run.write_status(done)
        return before

    run.write_status(replace(done, state="running", step=8))
    rewrite_jsonl(run.ledger, lines[:1])
    monkeypatch.setattr("megatron_codemix.ledgers.read_ledger", read_and_finish)
    assert require_ledger(run) == lines[:1]
    assert require_ledger(run) == lines


def test_what_no_checkpoint_has_is_told_and_left(run: RunDirectory) -> None:
    cut_to(1)(run)
    (run.checkpoint(15) / "complete.json").unlink()
    before = run.ledger.read_bytes()
    assert "restore the file from a copy" in (mend_ledger(run) or "")
    assert run.ledger.read_bytes() == before


@pytest.mark.parametrize(
    ("damaged", "steps"),
    [("weights", [10, 15]), ("complete.json", [15])],
)
def test_what_else_of_a_checkpoint_is_damaged_keeps_no_line_back(
    run: RunDirectory, damaged: str, steps: list[int]
) -> None:
    whole = run.ledger.read_bytes().splitlines()
    run.ledger.unlink()
    (run.checkpoint(10) / damaged).write_bytes(b"{")
    (run.checkpoint(15) / "weights").unlink()
    assert "put back" in (mend_ledger(run) or "")
    assert run.ledger.read_bytes().splitlines() == whole[-len(steps) :]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ((10, 12), "from a copy, or give `codemix train {run}/config.yaml --run-dir {run}`, which"),
        ((), "from a copy, or move the run directory away"),
    ],
)
def test_a_line_of_a_marker_that_is_none_is_lost(
    run: RunDirectory, others: tuple[int, ...], words: str
) -> None:
    cut_to(1)(run)
    (run.checkpoint(15) / "complete.json").write_text("{")
    for step in {10, 12} - set(others):
        shutil.rmtree(run.checkpoint(step))
    assert words.format(run=run.path) in (mend_ledger(run) or "")


def test_another_users_ledger_is_told_of(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("megatron_codemix.ledgers.try_lock", refuse)
    cut_to(1)(run)
    told = mend_ledger(run) or ""
    assert told.startswith(f"{run.ledger} ends at step 5, and")
    assert told.endswith(f"; it cannot be put back: {run.path}/.lock: Permission denied")


def test_a_run_that_is_trained_is_left_alone(run: RunDirectory) -> None:
    cut_to(1)(run)
    before = run.ledger.read_bytes()
    with exclusive(run.path / ".lock", "a training"):
        assert mend_ledger(run) is None
    run.write_status(replace(run.require_status(), state="running"))
    assert mend_ledger(run) is None
    assert [one["step"] for one in require_ledger(run)] == [5]
    assert run.ledger.read_bytes() == before


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        ("[]", "a list, and an object is wanted"),
        ('"text"', "a text, and an object is wanted"),
        ("NaN", "a number, and an object is wanted"),
        ("{}", "'step' is missing"),
        ('{"step": NaN}', "'step' is NaN"),
        ('{"step": true}', "'step' is true"),
        ('{"step": 1, "samples": 1, "tokens": "9"}', "'tokens' is \"9\""),
        (
            '{"step": 1, "samples": 1, "tokens": 9, "max_error_samples": 0, "sources": {"a": {}}}',
            "source 'a': 'consumed_samples' is missing",
        ),
    ],
)
def test_a_line_of_another_form_is_named(run: RunDirectory, damaged: str, words: str) -> None:
    lines = run.ledger.read_text().splitlines()
    run.ledger.write_text("\n".join([lines[0], damaged, lines[2]]) + "\n")
    with pytest.raises(RunError) as told:
        read_ledger(run)
    assert f"{run.ledger}:2: damaged ({words}" in str(told.value)


def test_steps_that_do_not_rise_are_named(run: RunDirectory) -> None:
    run.ledger.write_text(2 * run.ledger.read_text())
    with pytest.raises(RunError) as told:
        read_ledger(run)
    assert f"{run.ledger}:4: damaged (step 5 behind step 15); restore" in str(told.value)


def test_a_ledger_behind_the_end_of_its_run_is_not_cut(run: RunDirectory) -> None:
    run.write_status(replace(run.require_status(), step=10, num_steps=10))
    before = run.ledger.read_bytes()
    for reader in (mend_ledger, require_ledger):
        with pytest.raises(RunError, match=r"ends at step 15, .* done at step 10: status\.json"):
            reader(run)
    assert run.ledger.read_bytes() == before


@pytest.fixture
def whole(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """With its configuration, which says that it saves after every fifth step."""
    tokens = 8 * SEQUENCE
    config = write_run(
        tmp_path / "data",
        train={"train_tokens": 15 * tokens},
        checkpoint={"save_every_tokens": 5 * tokens},
    )
    run.config.write_bytes(config.read_bytes())
    return run


def test_lines_that_no_checkpoint_has_are_named(whole: RunDirectory) -> None:
    whole.ledger.unlink()
    told = mend_ledger(whole)
    assert told is not None
    assert told.endswith("the lines of step 10, 15; those of step 5 stay lost")


def test_a_line_before_the_end_is_put_back(whole: RunDirectory) -> None:
    before = whole.ledger.read_bytes()
    rewrite_jsonl(whole.ledger, [line(5), line(15)])
    with pytest.raises(RunError, match=r"lacks the lines of step 10: .* puts back what its"):
        require_ledger(whole)
    told = mend_ledger(whole) or ""
    assert told.endswith("put back from its checkpoints: the lines of step 10")
    assert whole.ledger.read_bytes() == before


def test_a_line_before_the_end_that_no_checkpoint_has_is_told(whole: RunDirectory) -> None:
    assert mend_ledger(whole) is None
    rewrite_jsonl(whole.ledger, [line(10), line(15)])
    before = whole.ledger.read_bytes()
    told = mend_ledger(whole) or ""
    assert "lacks the lines of step 5: they were cut out or lost; no checkpoint has them" in told
    assert whole.ledger.read_bytes() == before
