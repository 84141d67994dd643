"""Reports of runs whose files were cut, changed or lost: nothing that is too small passes for a
number, and a line says which file it is and what to do."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.files import append_jsonl, read_json, rewrite_jsonl, write_json
from megatron_codemix.report.collect import collect
from megatron_codemix.report.render import write_report
from megatron_codemix.report.tables import build_report
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.evaluation import read_heldout, read_tasks
from megatron_codemix.study.job_records import read_records, records_path
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.record import read_record, record_path, write_record
from megatron_codemix.study.state import phase_progress
from megatron_codemix.study.tree import StudyTree, expand
from tests.helpers.study_files import BRANCHED, STUDY, small_tree, write_evaluated, write_trained
from tests.helpers.task_results import write_task_results
from tests.unit.study.test_damaged_ends import save

PHASES = ("text", "balanced", "balanced-then-text", "cooldown")
SOURCES = ("text", "code", "markup")
JOB: dict[str, Any] = {
    **dict.fromkeys(("id", "log", "script"), "1"),
    "run": None,
    "needs": {"small:text:train": "1"},
    "submitted_unix": 1.5,
}
TASKS = STUDY.replace("1KiB}", "1KiB}\n  tasks: {names: [copa]}")


@pytest.fixture
def tree(tmp_path: Path) -> StudyTree:
    return small_tree(tmp_path, TASKS)


@pytest.fixture
def out(tree: StudyTree, tmp_path: Path) -> Path:
    """The study's folder, all done: three documents of each source and 20 items of a task."""
    out = tmp_path / "out"
    for number, name in enumerate(PHASES):
        node = tree.nodes[f"single/{name}"]
        run = write_trained(tree, out, node)
        nats = [300.0 + number, 350.0, 351.0]
        write_evaluated(tree, run, dict.fromkeys(SOURCES, sum(nats)), num_bytes=999)
        for source in SOURCES:
            for document, one in enumerate(nats):
                place = {"source": source, "document": document, "id": f"{source}{document}"}
                line = place | {"bytes": 333, "tokens": 100, "nats": one}
                append_jsonl(run.evaluation / "heldout.jsonl", line)
        write_task_results(tree, out, node, {"copa": np.arange(20) % (2 + number) / 1.0})
    return out


def run_of(tree: StudyTree, out: Path, name: str) -> RunDirectory:
    return tree.run_directory(out, tree.nodes[f"single/{name}"])


def report_of(tree: StudyTree, out: Path) -> dict[str, Any]:
    return build_report(collect(tree, out))


def tokens_in(report: dict[str, Any]) -> list[Any]:
    """Every count of tokens that were trained on."""
    cost = report["cost"]
    rows = [*report["variants"], *report["phases"], *cost["phases"], *cost["variants"]]
    return [*(row["tokens"] for row in rows), cost["total"]["tokens"]]


def notes_of(report: dict[str, Any], name: str) -> list[str]:
    return [note for note in report["warnings"] if note.startswith(f"{name}: ")]


def test_nothing_is_said_of_whole_files(tree: StudyTree, out: Path) -> None:
    report = report_of(tree, out)
    assert [note for name in PHASES for note in notes_of(report, name)] == []
    assert report["variants"][0]["heldout"]["code"]["low"] is not None


@pytest.mark.parametrize("lines", [None, [], [5]], ids=["lost", "empty", "cut"])
@pytest.mark.parametrize("name", ["balanced", "cooldown"])
def test_tokens_do_not_shrink_with_a_ledger(
    name: str, lines: list[int] | None, tree: StudyTree, out: Path
) -> None:
    whole = report_of(tree, out)
    run = run_of(tree, out, name)
    last = json.loads(run.ledger.read_text())
    run.ledger.unlink()
    if lines is not None:
        rewrite_jsonl(run.ledger, [last | {"step": 1, "tokens": 64} for _ in lines])
    damaged = report_of(tree, out)
    assert tokens_in(damaged) == tokens_in(whole)
    [row] = [row for row in damaged["phases"] if row["name"] == name]
    assert row["sources"] == {}
    [note] = notes_of(damaged, name)
    place = run.ledger.relative_to(out)
    assert note.startswith(f"{name}: damaged: {place} ")
    assert f"the run is done at step {run.require_status().step}" in note
    assert json.loads(json.dumps(damaged, allow_nan=False))["warnings"][-1] == note


@pytest.mark.parametrize("has_data", [True, False])
def test_a_run_that_has_lost_its_status_is_not_left_out(
    has_data: bool, tree: StudyTree, out: Path
) -> None:
    write_record(out, read_record(out, "small").with_runs(tree, out))
    run = run_of(tree, out, "text")
    run.status.unlink()
    seen = tree if has_data else expand(tree.spec)
    with pytest.raises(RunError, match=r"text-.*status\.json: is missing, and this run had it"):
        collect(seen, out)


def test_tokens_do_not_shrink_with_a_line_where_another_phase_starts(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, BRANCHED), tmp_path / "out"
    for node in tree.nodes.values():
        run = write_trained(tree, out, node)
        write_evaluated(tree, run, dict.fromkeys(SOURCES, 100.0))
        end = json.loads(run.ledger.read_text())
        if end["step"] == 10:
            rewrite_jsonl(run.ledger, [end | {"step": 5, "tokens": 320}, end])
    whole = report_of(tree, out)
    ledger = run_of(tree, out, "balanced").ledger
    rewrite_jsonl(ledger, [json.loads(line) for line in ledger.read_text().splitlines()[1:]])
    damaged = report_of(tree, out)
    assert tokens_in(damaged) == tokens_in(whole)
    [note] = notes_of(damaged, "balanced")
    place = ledger.relative_to(out)
    assert note.startswith(f"balanced: damaged: {place} lacks the lines of step 5: they were")
    assert "no checkpoint has them any more: restore the file from a copy" in note


def damage_line(path: Path, text: str) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], text, *lines[2:]]) + "\n")


@pytest.mark.parametrize("text", ["{}", "[1]", '{"step": 1.5}'])
@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "ledger.jsonl", "evaluation/heldout.jsonl", "evaluation/copa.jsonl"]
)
def test_a_line_of_another_form_is_named(name: str, text: str, tree: StudyTree, out: Path) -> None:
    path = run_of(tree, out, "cooldown").path / name
    path.write_text(path.read_text() * 2)
    damage_line(path, text)
    with pytest.raises(RunError) as told:
        write_report(tree, out)
    assert str(told.value).startswith(f"{path}:2: damaged (")
    what_to_do = "restore the file" if "evaluation" not in name else ".summary.json, and 'codemix"
    assert what_to_do in str(told.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(""),
        lambda path: path.write_text("".join(path.read_text().splitlines(True)[:-1])),
    ],
)
@pytest.mark.parametrize(
    ("stem", "words"),
    [("heldout", "no intervals over documents of"), ("copa", "no intervals of copa")],
)
def test_lost_documents_and_items_are_told(
    stem: str, words: str, damage: Callable[[Path], None], tree: StudyTree, out: Path
) -> None:
    evaluation = run_of(tree, out, "cooldown").evaluation
    damage(evaluation / f"{stem}.jsonl")
    report = report_of(tree, out)
    [note] = notes_of(report, "cooldown")
    assert words in note
    summary = (evaluation / f"{stem}.summary.json").relative_to(out)
    assert f"delete {summary}, and 'codemix study run' evaluates it again" in note
    (out / summary).unlink()
    assert phase_progress(tree, out, tree.nodes["single/cooldown"]).state == "trained"


def test_a_layout_that_is_not_known_does_not_differ(tree: StudyTree, out: Path) -> None:
    run = run_of(tree, out, "text")
    (run.attempt(1) / "plan.json").unlink()
    report = report_of(tree, out)
    assert not any("differ in layout" in note for note in report["warnings"])
    [note] = notes_of(report, "text")
    assert "its layout over processes is not known" in note
    assert f"{run.path.relative_to(out)}/attempts/1/plan.json is missing" in note
    (run.attempt(1) / "provenance.json").unlink()
    report = report_of(tree, out)
    assert "attempts/1/provenance.json is missing" in notes_of(report, "text")[1]
    assert not any("ran with different" in note for note in report["warnings"])
    assert report["commit"] == "0123abc"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("evaluation/heldout.summary.json", {"sources": []}),
        ("evaluation/heldout.summary.json", {"sources": {"text": {"nats": 3}}}),
        ("evaluation/copa.summary.json", {"metrics": {"acc": 0.5}}),
        ("evaluation/copa.summary.json", {"items": "20"}),
        ("evaluation/tasks.json", {"tasks": 3}),
        ("attempts/1/plan.json", {"world_size": "two"}),
        ("attempts/1/provenance.json", {"versions": []}),
    ],
)
def test_an_object_of_another_form_is_named(
    name: str, change: dict[str, Any], tree: StudyTree, out: Path
) -> None:
    path = run_of(tree, out, "text").path / name
    for damaged in (read_json(path) | change, [1], "text"):
        write_json(path, damaged)
        with pytest.raises(RunError) as told:
            write_report(tree, out)
        assert str(told.value).startswith(f"{path}: damaged (")


def test_a_summary_that_is_lost_is_to_be_made_again(tree: StudyTree, out: Path) -> None:
    run, asked = run_of(tree, out, "text"), tree.spec.evaluation
    (run.evaluation / "copa.summary.json").unlink()
    assert read_tasks(asked, run, run.require_status()) is None
    assert read_heldout(asked, run, run.require_status()) is not None


@pytest.mark.parametrize("left", [[], ["code"]])
def test_a_summary_without_a_source_is_named(left: list[str], tree: StudyTree, out: Path) -> None:
    path = run_of(tree, out, "text").evaluation / "heldout.summary.json"
    summary = read_json(path)
    summary["sources"] = {name: summary["sources"][name] for name in left}
    write_json(path, summary)
    [note] = notes_of(report_of(tree, out), "text")
    lost = ", ".join(sorted(set(SOURCES) - set(left)))
    assert note.startswith(
        f"text: damaged: {path.relative_to(out)} has no scores of {lost}; delete"
    )


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (None, "is missing"),
        ("", "has no line"),
        ('{"step": 1, "tok', "has no line"),
        ('{"step": 1, "tokens": 64}\n', "ends at step 1 of "),
        ('{"step": 1, "tokens": 64}\n{"step": 2, "tok', "ends at step 1 of "),
    ],
    ids=["lost", "empty", "cut in its first line", "cut", "cut within a line"],
)
def test_metrics_that_end_early_are_named(
    content: str | None, where: str, tree: StudyTree, out: Path
) -> None:
    run = run_of(tree, out, "cooldown")
    run.metrics.unlink()
    if content is not None:
        run.metrics.write_text(content)
    [note] = notes_of(report_of(tree, out), "cooldown")
    assert note.startswith(f"cooldown: damaged: {run.metrics.relative_to(out)} {where}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "a list, and an object is wanted"),
        ("text", "a text, and an object is wanted"),
        (None, "null, and an object is wanted"),
        (3, "a number, and an object is wanted"),
        ({}, "'name' is missing"),
        ({"name": "small", "colour": 1}, "'colour' is unknown"),
        ({"name": "small", "starts": "2"}, "'starts' is \"2\""),
        ({"name": "small", "runs": ["a"]}, "'runs' is [\"a\"]"),
        ({"name": "small", "runs": {"single/text": 3}}, "'single/text' is 3"),
        ({"name": "small", "started": {"single/text": 3}}, "'single/text' is 3"),
        ({"name": "small", "started": {"a": {"b": 3}}}, "'b' is 3"),
        ({"name": "small", "phases": []}, "'phases' is []"),
        ({"name": "small", "phases": {"a": 3}}, "a number, and an object is wanted"),
        ({"name": "small", "phases": {"a": {"b": 3.0}}}, "'b' is unknown"),
        ({"name": "small", "phases": {"a": {"train": None}}}, "'train' is null"),
    ],
)
def test_a_record_of_another_form_is_named(content: Any, words: str, tmp_path: Path) -> None:
    write_json(record_path(tmp_path), content)
    with pytest.raises(RunError) as told:
        read_record(tmp_path, "small")
    assert f"study.json: not a readable study record ({words});" in str(told.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "'jobs' is missing"),
        ({"jobs": []}, "'jobs' is []"),
        ({"jobs": {"a": None}}, "null, and an object is wanted"),
        ({"jobs": {"a": {}}}, "'id' is missing"),
        ({"jobs": {"a": JOB | {"id": 5}}}, "'id' is 5"),
        ({"jobs": {"a": JOB | {"log": None}}}, "'log' is null"),
        ({"jobs": {"a": JOB | {"needs": None}}}, "'needs' is null"),
        ({"jobs": {"a": JOB | {"needs": {"b": 3}}}}, "'b' is 3"),
        ({"jobs": {"a": JOB | {"submitted_unix": "1"}}}, "'submitted_unix' is \"1\""),
        ({"jobs": {"a": JOB | {"colour": 1}}}, "'colour' is unknown"),
    ],
)
def test_a_list_of_jobs_of_another_form_is_named(content: Any, words: str, tmp_path: Path) -> None:
    write_json(records_path(tmp_path), content)
    with pytest.raises(RunError) as told:
        read_records(tmp_path)
    assert f"slurm.json: not a readable list of jobs ({words}); move it away" in str(told.value)


@pytest.mark.parametrize(("inside", "given"), [("", "out"), ("out", "."), ("out/single", "..")])
def test_files_have_one_name_however_the_folder_is_given(
    inside: str, given: str, tree: StudyTree, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tree, out, "cooldown")
    save(run, 1)
    lost = [run.ledger, run.evaluation / "heldout.jsonl", run.attempt(1) / "plan.json"]
    for path in lost:
        path.unlink()
    wanted = notes_of(report_of(tree, out), "cooldown")
    assert all(f" {path.relative_to(out)} " in "\n".join(wanted) for path in lost)
    monkeypatch.chdir(out.parent / inside)
    assert notes_of(report_of(tree, Path(given)), "cooldown") == wanted
    record = read_record(Path(given), "small")
    write_record(Path(given), record.with_runs(tree, Path(given)))
    without_data = expand(load_study(out.parent / "study.yaml", data_root=out.parent / "gone"))
    assert notes_of(report_of(without_data, Path(given)), "cooldown") == wanted


@pytest.mark.parametrize("name", ["out", "an out"])
def test_what_makes_a_lost_ledger_again_is_a_command_for_the_studys_folder(
    name: str, tree: StudyTree, tmp_path: Path
) -> None:
    run = write_trained(tree, tmp_path / name, tree.nodes["single/text"])
    save(run, 1)
    run.ledger.unlink()
    [note] = notes_of(report_of(tree, tmp_path / name), "text")
    short = run.path.relative_to(tmp_path / name)
    command = f"codemix train {short}/config.yaml --run-dir {short} --nproc 2"
    assert f"give `{command}` in the study's folder, which makes both again" in note
    assert str(tmp_path) not in note


@pytest.mark.parametrize("place", ["x/out/store", "out/store"])
def test_files_in_a_store_are_named_where_they_are(
    place: str, tree: StudyTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = replace(tree, store=tmp_path / place)
    run = write_trained(tree, Path("out"), tree.nodes["single/text"])
    run.ledger.unlink()
    [note] = notes_of(report_of(tree, Path("out")), "text")
    path = run.ledger.relative_to(tmp_path / "out") if place == "out/store" else run.ledger
    assert note.startswith(f"text: damaged: {path} is missing")


SAFETY_LINES = {
    "safety_weaknesses": {"prompt": "cwe_089.0", "seed": 0, "fate": "runs", "insecure": True},
    "safety_memorisation": {"source": "text", "split": "train", "document": 3, "exact": True},
    "safety_secrets": {"prompt": "", "seed": 0, "tokens": 9, "found": [], "generation": "a"},
}


@pytest.mark.parametrize("name", SAFETY_LINES)
def test_safety_tasks_are_compared_without_their_items(name: str, tmp_path: Path) -> None:
    """Nothing numbers them, and a low value is a good one."""
    metric = {"safety_weaknesses": "insecure", "safety_memorisation": "exact"}.get(name, "found")
    tree, out = small_tree(tmp_path, TASKS.replace("copa", name)), tmp_path / "out"
    for phase in PHASES:
        node = tree.nodes[f"single/{phase}"]
        run = write_trained(tree, out, node)
        write_evaluated(tree, run, {"text": 30.0})
        write_task_results(tree, out, node, {name: np.ones(5)}, metrics={name: metric})
        rewrite_jsonl(run.evaluation / f"{name}.jsonl", [SAFETY_LINES[name]] * 5)
    report = report_of(tree, out)
    assert [note for phase in PHASES for note in notes_of(report, phase) if name in note] == []
    rows = [row for row in report["comparisons"] if row["metric"] == f"task/{name}"]
    assert [row["variant"] for row in rows] == ["mixed", "cooled"]
    assert all((row["method"], row["lower_is_better"]) == ("none", True) for row in rows)
    rewrite_jsonl(run.evaluation / f"{name}.jsonl", [SAFETY_LINES[name]] * 4)
    assert "does not have all its items" in notes_of(report_of(tree, out), "cooldown")[-1]
