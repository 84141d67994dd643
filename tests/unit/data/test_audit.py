"""A ledger is worked out again from the recorded plan; what was changed in it is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from megatron_codemix.cli.data import app
from megatron_codemix.data.audit import audit_ledger
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_jsonl, rewrite_jsonl, write_json
from megatron_codemix.ledgers import read_ledger
from megatron_codemix.runs import RunDirectory
from tests.helpers.reading import BATCH, SAVED_AT, read_run
from tests.helpers.tiny import SEQUENCE, write_run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, RunDirectory]:
    folder = tmp_path_factory.mktemp("runs")
    config = write_run(folder)
    parent = read_run(folder / "parent", config)
    init_from = {"run": str(parent.path), "load": "weights"}
    return parent, read_run(folder / "child", config, init_from=init_from)


@pytest.fixture
def runs(original):
    """The two runs; their ledgers are put back afterwards."""
    kept = [run.ledger.read_bytes() for run in original]
    yield original
    for run, content in zip(original, kept, strict=True):
        run.ledger.write_bytes(content)


def test_ledgers_of_a_chain_agree_with_their_plans(runs):
    parent, child = audit_ledger(runs[1].path)
    assert parent.problems == child.problems == []
    assert [line["step"] for line in child.lines] == list(SAVED_AT)
    code = child.lines[-1]["sources"]["code"]
    samples = SAVED_AT[-1] * BATCH
    # 0.6 of two runs, in units of 2^-20; the child goes on with the parent's counts.
    planned = 2 * samples * SEQUENCE * round(0.6 * 2**20) / 2**20
    assert code["chain_planned_tokens"] == pytest.approx(planned, rel=1e-12)
    assert abs(code["chain_tokens"] - planned) < 2 * SEQUENCE


@pytest.mark.parametrize(
    ("which", "key", "change", "message"),
    [
        (1, "consumed_samples", 1, "step 7, code: consumed_samples is"),
        (1, "planned_tokens", 0.01, "step 7, code: planned_tokens is"),
        (1, "cursor", -1, "step 7, code: cursor is"),
        (0, "chain_tokens", SEQUENCE, "step 7, code: chain_tokens is"),
    ],
)
def test_a_changed_number_is_named(runs, which: int, key: str, change: float, message: str):
    lines = read_jsonl(runs[which].ledger)
    lines[0]["sources"]["code"][key] += change
    rewrite_jsonl(runs[which].ledger, lines)
    problems = [problem for run in audit_ledger(runs[1].path) for problem in run.problems]
    assert len(problems) == 1
    assert message in problems[0]


def test_a_parent_whose_end_was_changed_is_named(runs):
    lines = read_jsonl(runs[0].ledger)
    lines[-1]["sources"]["text"]["cursor"] += 3
    rewrite_jsonl(runs[0].ledger, lines)
    child = audit_ledger(runs[1].path)[1]
    assert any("its parent ended at" in problem for problem in child.problems)


@pytest.mark.parametrize("change", [{"samples": 9}, {"sources": {}}, {"sources": 5}])
def test_lines_of_another_form_are_named(runs, change: dict[str, Any]):
    lines = read_jsonl(runs[0].ledger)
    rewrite_jsonl(runs[0].ledger, [lines[0] | change, *lines[1:]])
    assert audit_ledger(runs[0].path)[0].problems


@pytest.mark.parametrize("left", [None, 0, 1], ids=["lost", "empty", "cut"])
def test_a_finished_run_must_have_the_line_of_its_end(runs, left: int | None):
    parent, child = runs
    lines = read_jsonl(parent.ledger)
    parent.ledger.unlink() if left is None else rewrite_jsonl(parent.ledger, lines[:left])
    of_parent, of_child = audit_ledger(child.path)
    assert [str(parent.ledger) in problem for problem in of_parent.problems] == [True]
    assert f"the run is done at step {SAVED_AT[-1]}" in of_parent.problems[0]
    assert of_child.problems == [f"{child.path}: not compared, as its parent's ledger is damaged"]
    result = CliRunner().invoke(app, ["ledger", str(parent.path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (2, False)


def test_a_run_that_is_not_done_may_be_ahead_of_its_ledger(runs):
    """It was killed between its last checkpoint and now."""
    parent = runs[0]
    status = parent.require_status()
    rewrite_jsonl(parent.ledger, read_jsonl(parent.ledger)[:1])
    parent.write_status(replace(status, state="running"))
    try:
        assert audit_ledger(parent.path)[0].problems == []
    finally:
        parent.write_status(status)


def test_a_run_that_finishes_while_it_is_read_is_not_cut(runs, monkeypatch: pytest.MonkeyPatch):
    parent = runs[0]
    lines, done = read_jsonl(parent.ledger), parent.require_status()

    def read_and_finish(run: RunDirectory) -> list[dict[str, Any]]:
        before = read_ledger(run)
        rewrite_jsonl(run.ledger, lines)
        run.write_status(done)
        return before

    rewrite_jsonl(parent.ledger, lines[:1])
    parent.write_status(replace(done, state="running"))
    monkeypatch.setattr("megatron_codemix.data.audit.read_ledger", read_and_finish)
    assert audit_ledger(parent.path)[0].problems == []


@pytest.mark.parametrize(
    ("of_attempt", "lost"), [(None, "14"), (2 * SAVED_AT[0], "14"), (SAVED_AT[-1], None)]
)
def test_lines_that_every_attempt_has_written_are_wanted(
    runs, of_attempt: int | None, lost: str | None
):
    """By the configuration there is a save after 7, 14 and 20 steps."""
    parent = runs[0]
    config, plan = parent.config.read_text(), parent.attempt(1) / "plan.json"
    every = f"save_every_tokens: {SAVED_AT[0] * BATCH * SEQUENCE}"
    parent.config.write_text(config.replace("save_every_tokens: null", every))
    if of_attempt is not None:
        write_json(plan, {"save_every_steps": of_attempt})
    try:
        problems = audit_ledger(parent.path)[0].problems
    finally:
        parent.config.write_text(config)
        plan.unlink(missing_ok=True)
    told = f"{parent.ledger} lacks the lines of step {lost}: they were cut out or lost"
    assert [problem[: len(told)] for problem in problems] == ([] if lost is None else [told])


def test_command(runs):
    shown = CliRunner().invoke(app, ["ledger", str(runs[1].path)])
    assert shown.exit_code == 0
    assert "4 lines of 2 runs agree with the recorded plans" in shown.stdout
    lines = read_jsonl(runs[1].ledger)
    lines[1]["sources"]["text"]["consumed_tokens"] += 1
    rewrite_jsonl(runs[1].ledger, lines)
    result = CliRunner().invoke(app, ["ledger", str(runs[1].path), "--json"])
    assert result.exit_code == 2
    record = json.loads(result.stdout)
    assert record["ok"] is False
    assert "step 20, text: consumed_tokens" in record["runs"][1]["problems"][0]


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="no run here"):
        audit_ledger(tmp_path)
