"""Costs of a report against sums by hand, and what is said of what was not run."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.files import append_jsonl, read_json, write_json
from megatron_codemix.report.collect import collect
from megatron_codemix.report.tables import build_report
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.record import PhaseWall, StudyRecord, write_record
from megatron_codemix.study.store import Member, note_trainer
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers.study_files import (
    BRANCHED,
    CELLS,
    STUDY,
    small_tree,
    write_all,
    write_evaluated,
    write_study,
    write_trained,
)
from tests.helpers.task_results import write_task_results

PHASES = ("text", "balanced", "balanced-then-text", "cooldown")
NATS = {name: {"text": 2000.0, "code": 2100.0} for name in PHASES}
WALLS = {
    "single/text": PhaseWall(train=30.0, evaluate=3.0),
    "single/balanced": PhaseWall(train=40.0, evaluate=4.0),
    "single/balanced-then-text": PhaseWall(train=50.0, evaluate=5.0),
    "single/cooldown": PhaseWall(train=60.0, evaluate=6.0),
}
PROPORTION = "published: {paper_a/proportion: {rows: {text-only: 0%, mixed: 25%}}}\n"


def ran_on(tree: StudyTree, out: Path, key: str, backend: str, device: str) -> None:
    path = tree.run_directory(out, tree.nodes[key]).attempt(1) / "provenance.json"
    write_json(path, read_json(path) | {"backend": backend, "device": device})


def report_of(tree: StudyTree, out: Path) -> dict[str, Any]:
    report = build_report(collect(tree, out))
    return json.loads(json.dumps(report, allow_nan=False))


def finished(tmp_path: Path, text: str = STUDY) -> tuple[StudyTree, Path]:
    tree, out = small_tree(tmp_path, text), tmp_path / "out"
    write_all(tree, out, NATS)
    write_record(out, StudyRecord(name="small", phases=WALLS))
    return tree, out


def by_name(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


def test_hours_are_processes_times_seconds(tmp_path: Path) -> None:
    """Two processes train, one evaluates."""
    tree, out = finished(tmp_path)
    for key in tree.nodes:
        ran_on(tree, out, key, "cpu", "a processor")
    cost = report_of(tree, out)["cost"]
    phases = by_name(cost["phases"], "phase")
    cooldown = phases["cooldown"]
    assert cooldown["processor_hours"] == pytest.approx((2 * 60 + 1 * 6) / 3600)
    assert (cooldown["gpu_hours"], cooldown["device"], cooldown["processes"]) == (None, "cpu", 2)
    assert (cooldown["train_seconds"], cooldown["wall_seconds"]) == (2.0, 60.0)
    assert phases["balanced"]["variants"] == ["mixed", "cooled"]
    variants = by_name(cost["variants"], "variant")
    assert variants["text-only"]["seconds"] == 33
    assert variants["cooled"]["seconds"] == 44 + 55 + 66
    assert variants["cooled"]["tokens"] == 640 + 640 + 192
    total = cost["total"]
    assert (total["phases"], total["seconds"]) == (4, 33 + 44 + 55 + 66)
    hours = (2 * (30 + 40 + 50 + 60) + 3 + 4 + 5 + 6) / 3600
    assert total["processor_hours"] == pytest.approx(hours)
    assert total["gpu_hours"] is None


def test_gpus_and_processors_are_not_added(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    ran_on(tree, out, "single/text", "cpu", "a processor")
    ran_on(tree, out, "single/balanced", "cuda", "NVIDIA H100 80GB HBM3")
    cost = report_of(tree, out)["cost"]
    phases = by_name(cost["phases"], "phase")
    assert phases["balanced"]["device"] == "NVIDIA H100 80GB HBM3"
    assert phases["balanced"]["gpu_hours"] == pytest.approx(84 / 3600)
    assert phases["cooldown"]["device"] is None, "nobody has recorded it"
    assert phases["cooldown"]["gpu_hours"] is None
    assert cost["total"]["gpu_hours"] == pytest.approx(84 / 3600)
    assert cost["total"]["processor_hours"] == pytest.approx(63 / 3600)


def test_hours_are_known_where_the_last_attempt_has_died_at_its_start(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    ran_on(tree, out, "single/text", "cpu", "a processor")
    run = tree.run_directory(out, tree.nodes["single/text"])
    run.write_status(replace(run.require_status(), attempts=3))
    for attempt in (2, 3):
        write_json(run.attempt(attempt) / "plan.json", read_json(run.attempt(1) / "plan.json"))
    cost = report_of(tree, out)["cost"]
    text = by_name(cost["phases"], "phase")["text"]
    assert (text["device"], text["attempts"]) == ("cpu", 3)
    assert text["processor_hours"] == pytest.approx((2 * 30 + 3) / 3600)


def test_a_variant_of_which_a_phase_has_no_hours_has_none(tmp_path: Path) -> None:
    """Those of the others would pass for all of them."""
    tree, out = finished(tmp_path)
    for name in ("text", "balanced", "cooldown"):
        ran_on(tree, out, f"single/{name}", "cuda", "NVIDIA H100 80GB HBM3")
    cost = report_of(tree, out)["cost"]
    hours = {row["variant"]: row["gpu_hours"] for row in cost["variants"]}
    assert hours.pop("text-only") == pytest.approx((2 * 30 + 3) / 3600)
    assert hours == {"mixed": None, "cooled": None}


def test_seconds_of_the_loop_where_nobody_has_timed_the_processes(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    write_record(out, StudyRecord(name="small"))
    ran_on(tree, out, "single/text", "cpu", "a processor")
    phases = by_name(report_of(tree, out)["cost"]["phases"], "phase")
    assert phases["text"]["processor_hours"] == pytest.approx(2 * 2 / 3600)


def test_a_study_that_was_killed_has_the_seconds_of_its_loops(tmp_path: Path) -> None:
    """Its record has those of the processes of its later start alone."""
    tree, out = finished(tmp_path)
    run = tree.run_directory(out, tree.nodes["single/text"])
    run.write_status(replace(run.require_status(), train_seconds=300.0))
    ran_on(tree, out, "single/text", "cpu", "a processor")
    cost = report_of(tree, out)["cost"]
    text = by_name(cost["phases"], "phase")["text"]
    assert (text["wall_seconds"], text["train_seconds"]) == (30, 300)
    assert text["processor_hours"] == pytest.approx((2 * 300 + 3) / 3600)
    assert by_name(cost["variants"], "variant")["text-only"]["seconds"] == 303
    assert cost["total"]["seconds"] == 303 + 44 + 55 + 66


def test_a_phase_counts_for_a_variant_as_far_as_the_next_one_starts(tmp_path: Path) -> None:
    """Half of `balanced` is in the chains; the phase itself and the total have all of it."""
    tree, out = finished(tmp_path, BRANCHED)
    run = tree.run_directory(out, tree.nodes["single/balanced"])
    whole = json.loads(run.ledger.read_text())
    run.ledger.write_text("")
    for line in (whole | {"step": 5, "tokens": 320}, whole):
        append_jsonl(run.ledger, line)
    for key in tree.nodes:
        ran_on(tree, out, key, "cpu", "a processor")
    cost = report_of(tree, out)["cost"]
    mixed = by_name(cost["variants"], "variant")["mixed"]
    assert mixed["tokens"] == 320 + 640
    assert mixed["seconds"] == (40 / 2 + 4) + (50 + 5)
    assert mixed["processor_hours"] == pytest.approx((2 * (40 / 2 + 50) + 4 + 5) / 3600)
    assert by_name(cost["phases"], "phase")["balanced"]["tokens"] == 640
    assert cost["total"]["seconds"] == 33 + 44 + 55 + 66


def test_an_evaluation_in_place_of_a_validation_has_its_processes(tmp_path: Path) -> None:
    text = STUDY.replace(
        "  heldout: {world_size: 1, max_bytes_per_source: 1KiB}\n",
        "  heldout: {kind: validation}\n  tensor: 2\n  pipeline: 2\n",
    ).replace(
        "phases:\n", "  validation: {every_tokens: 320M, max_bytes_per_source: 1KiB}\nphases:\n"
    )
    tree, out = small_tree(tmp_path, text), tmp_path / "out"
    node = tree.nodes["single/text"]
    run = write_trained(tree, out, node)
    losses = {"text": {"nats": 2000.0, "tokens": 300, "bytes": 1000, "bits_per_byte": 2.885}}
    append_jsonl(run.validation, {"step": tree.plan(node).num_steps, "sources": losses})
    write_record(out, StudyRecord(name="small", phases={node.key: WALLS[node.key]}))
    ran_on(tree, out, node.key, "cpu", "a processor")
    [phase] = report_of(tree, out)["cost"]["phases"]
    assert phase["processor_hours"] == pytest.approx((2 * 30 + 4 * 3) / 3600)


def test_restarts_and_failures_are_told_of_variants(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    run = write_trained(tree, out, tree.nodes["single/balanced"], attempts=4)
    status = run.require_status()
    run.write_status(replace(status, failures=1))
    cost = report_of(tree, out)["cost"]
    variants = by_name(cost["variants"], "variant")
    for name in ("mixed", "cooled"):
        assert (variants[name]["restarts"], variants[name]["failures"]) == (3, 1)
    assert variants["text-only"]["restarts"] == 0
    assert (cost["total"]["restarts"], cost["total"]["failures"]) == (3, 1)


def test_a_training_that_two_cells_share_is_counted_once(tmp_path: Path) -> None:
    """As a study finds its runs where its data is gone: by its record."""
    matrix = "matrix: {evaluated: [once, twice]}\naxes: {evaluated: {once: {}, twice: {}}}\n"
    varied = matrix.replace("twice: {}", "twice: {checkpoint.save_every_tokens: 64M}")
    tree, out = small_tree(tmp_path, STUDY + varied), tmp_path / "out"
    runs = {}
    for key, node in tree.nodes.items():
        if node.cell == "once":
            run = write_trained(tree, out, node)
            write_evaluated(tree, run, NATS[node.name])
            ran_on(tree, out, key, "cpu", "a processor")
            for cell in ("once", "twice"):
                runs[f"{cell}/{node.name}"] = str(run.path.relative_to(out))
    # Which of the two has started the processes is chance.
    walls = {"once/text": WALLS["single/text"], "twice/balanced": WALLS["single/balanced"]}
    write_record(out, StudyRecord(name="small", runs=runs, phases=walls))
    spec = load_study(write_study(tmp_path, STUDY + varied), data_root=tmp_path / "gone")
    cost = report_of(identify(expand(spec)), out)["cost"]
    assert cost["total"]["phases"] == 4
    assert cost["total"]["tokens"] == 3 * 640 + 192
    # Two phases have nobody's wall seconds: their loops' two are taken.
    assert cost["total"]["seconds"] == 33 + 44 + 2 + 2
    shared = {(row["cell"], row["phase"]): row for row in cost["phases"]}
    for cell, other in (("once", "twice"), ("twice", "once")):
        assert shared[cell, "text"]["shared_with"] == [f"{other}/text"]
        assert shared[cell, "balanced"]["wall_seconds"] == 40
    variants = {(row["cell"], row["variant"]): row["seconds"] for row in cost["variants"]}
    assert variants["once", "mixed"] == variants["twice", "mixed"] == 44 + 2


def test_what_another_study_has_trained_is_a_variants_cost_and_not_this_studys(
    tmp_path: Path,
) -> None:
    """Three quarters of one training, all of another."""
    tree, out = finished(tmp_path)
    member, other = Member.of("small", out), Member.of("other", tmp_path / "elsewhere")
    for key in tree.nodes:
        ran_on(tree, out, key, "cpu", "a processor")
    for key, ours, theirs in (("single/text", 10.0, 30.0), ("single/balanced", 0.0, 80.0)):
        run = tree.run_directory(out, tree.nodes[key])
        run.write_status(replace(run.require_status(), failures=1))
        note_trainer(run, other, "single/base", theirs)
        if ours:
            note_trainer(run, member, key, ours)
    cost = report_of(tree, out)["cost"]
    phases = by_name(cost["phases"], "phase")
    text, balanced = phases["text"], phases["balanced"]
    assert (text["own_part"], text["trained_by"]) == (0.25, "study other")
    assert (balanced["own_part"], balanced["trained_by"]) == (0.0, "study other")
    assert (text["wall_seconds"], balanced["wall_seconds"]) == (40.0, 80.0)
    assert phases["cooldown"]["trained_by"] is None
    variants = by_name(cost["variants"], "variant")
    assert variants["text-only"]["seconds"] == 40 + 3
    assert variants["mixed"]["failures"] == 1
    assert cost["total"]["failures"] == 1, "of the training that is ours in part"
    assert cost["total"]["seconds"] == (10 + 3) + (0 + 4) + 55 + 66
    assert cost["total"]["tokens"] == 160 + 0 + 640 + 192


def test_layouts_name_their_phases(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    run = tree.run_directory(out, tree.nodes["single/cooldown"])
    run.config.write_text(run.config.read_text().replace("tensor: 2", "tensor: 1"))
    plan_path = run.attempt(1) / "plan.json"
    write_json(plan_path, read_json(plan_path) | {"data_parallel": 2})
    assert report_of(tree, out)["layouts"] == [
        {
            "layout": "TP2 x PP1 x DP1, microbatch 2",
            "world_size": 2,
            "phases": ["single/text", "single/balanced", "single/balanced-then-text"],
        },
        {
            "layout": "TP1 x PP1 x DP2, microbatch 2",
            "world_size": 2,
            "phases": ["single/cooldown"],
        },
    ]


def test_a_finished_study_has_run_everything(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    assert report_of(tree, out)["not_run"] == []


def test_what_failed_and_what_waits_for_it(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    for name in ("text", "balanced"):
        run = write_trained(tree, out, tree.nodes[f"single/{name}"])
        write_evaluated(tree, run, NATS[name])
        ran_on(tree, out, f"single/{name}", "cuda", "NVIDIA H100 80GB HBM3")
    run = write_trained(tree, out, tree.nodes["single/balanced-then-text"])
    failed = {"state": "failed", "step": 4, "last_error": "loss is nan"}
    run.write_status(replace(run.require_status(), **failed))
    rows = report_of(tree, out)["not_run"]
    assert [row["what"] for row in rows] == ["phase balanced-then-text", "phase cooldown"]
    mixed, cooled = rows
    assert (mixed["kind"], mixed["cell"]) == ("phase", "single")
    assert mixed["why"] == "failed at step 4 of 10: loss is nan"
    assert mixed["needed_by"] == ["mixed", "cooled"]
    assert mixed["tokens"] == 6 * 64
    # At the speed of the two that ran: 2 processes, 2 seconds for 640 tokens.
    assert mixed["gpu_hours"] == pytest.approx(2 * 2 / 640 * (6 * 64) / 3600)
    assert mixed["processor_hours"] is None
    why = "not started: phase balanced-then-text, which it begins from, has failed"
    assert cooled["why"] == why
    assert cooled["tokens"] == 192


def test_a_training_that_two_cells_lack_counts_for_the_first(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, CELLS), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["little/mixed"])
    write_evaluated(tree, run, {"text": 2000.0})
    ran_on(tree, out, "little/mixed", "cpu", "a processor")
    rows = [row for row in report_of(tree, out)["not_run"] if row["kind"] == "phase"]
    assert [(row["cell"], row["what"], row["tokens"]) for row in rows] == [
        ("little", "phase base", 640),
        ("little", "phase even", 640),
        ("much", "phase base", None),
        ("much", "phase mixed", 640),
        ("much", "phase even", None),
    ]
    hours = 2 * 2 / 640 * 640 / 3600
    assert sum(row["processor_hours"] or 0.0 for row in rows) == pytest.approx(3 * hours)
    shared = rows[2]
    assert shared["why"].startswith("is the training of little/base, where its tokens")
    assert (shared["processor_hours"], shared["needed_by"]) == (None, ["base", "mixed", "even"])


def test_what_was_interrupted_and_what_was_never_begun(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["single/balanced"])
    run.write_status(replace(run.require_status(), state="running", step=3))
    rows = by_name(report_of(tree, out)["not_run"], "what")
    assert rows["phase balanced"]["why"] == "not finished: at step 3 of 10; it runs, or was stopped"
    assert rows["phase balanced"]["tokens"] == 7 * 64
    assert rows["phase text"]["why"] == "not started"
    waits = "not started: phase balanced, which it begins from, is not finished"
    assert rows["phase balanced-then-text"]["why"] == waits
    assert rows["phase balanced"]["gpu_hours"] is None, "nobody has recorded on what it ran"


def test_evaluations_that_are_not_there(tmp_path: Path) -> None:
    tree, out = finished(tmp_path)
    other = tree.run_directory(out, tree.nodes["single/cooldown"])
    path = other.evaluation / "heldout.summary.json"
    write_json(path, read_json(path) | {"max_bytes_per_source": 3000})
    (run_of(tree, out, "text").evaluation / "heldout.summary.json").unlink()
    balanced = tree.nodes["single/balanced-then-text"]
    diverged = {"text": math.nan, "code": 2000.0}
    write_evaluated(tree, write_trained(tree, out, balanced), diverged)
    rows = by_name(report_of(tree, out)["not_run"], "what")
    assert {name: (row["why"], row["needed_by"]) for name, row in rows.items()} == {
        "held-out evaluation of text": ("not made", ["text-only"]),
        "held-out text of balanced-then-text": (
            "no finite loss: the training has diverged",
            ["mixed"],
        ),
        "held-out evaluation of cooldown": (
            "the one that is there is not the one that the study asks for",
            ["cooled"],
        ),
    }


def run_of(tree: StudyTree, out: Path, name: str) -> Any:
    node: PhaseNode = tree.nodes[f"single/{name}"]
    return tree.run_directory(out, node)


def test_tasks_that_are_left_out_or_wanted(tmp_path: Path) -> None:
    import numpy as np

    text = STUDY + "  tasks: {names: [copa, mbpp]}\n" + PROPORTION
    tree, out = finished(tmp_path, text)
    for node in tree.nodes.values():
        answers = {name: np.array([1.0, 0.0, 1.0]) for name in ("copa", "mbpp")}
        write_task_results(tree, out, node, answers, not_above_random=("copa",))
    rows = [row for row in report_of(tree, out)["not_run"] if row["kind"] == "task"]
    left_out, *wanted = rows
    assert left_out["what"] == "task copa"
    assert left_out["why"].startswith("not above random in text-only, mixed, cooled")
    assert left_out["needed_by"] == ["average/reasoning", "average/nl", "average/total"]
    reasoning, knowledge, code = wanted
    assert reasoning["what"].startswith("tasks boolq, piqa, sciq, ")
    assert len(reasoning["what"].split(", ")) == 11 - 1
    assert "copa" not in reasoning["what"]
    assert knowledge["what"] == "tasks triviaqa, nq_open"
    assert (code["what"], code["needed_by"]) == ("task humaneval", ["average/code"])


def test_what_the_figure_has_and_the_study_has_not(tmp_path: Path) -> None:
    tree, out = finished(tmp_path, STUDY + PROPORTION)
    rows = report_of(tree, out)["not_run"]
    assert [(row["kind"], row["what"]) for row in rows] == [
        ("task", "all benchmarks"),
        ("published", "50% code (paper_a/proportion)"),
        ("published", "75% code (paper_a/proportion)"),
        ("published", "90% code (paper_a/proportion)"),
        ("published", "code alone (paper_a/proportion)"),
    ]
    assert rows[0]["why"] == "the study asks for none"
    assert {row["why"] for row in rows[1:]} == {"no variant of this study is this row"}
    assert {tuple(row["needed_by"]) for row in rows} == {("paper_a/proportion",)}


def test_models_and_measures_that_a_study_has_not(tmp_path: Path) -> None:
    published = (
        "published:\n"
        "  paper_a/scale: {rows: {mixed: balanced->text}, cells: {single: 470M}}\n"
        "  paper_a/cooldown: {rows: {mixed: none}}\n"
    )
    tree, out = finished(tmp_path, STUDY + published)
    rows = by_name(report_of(tree, out)["not_run"], "what")
    model = rows["the model of 2.8B (paper_a/scale)"]
    assert model["why"] == "no point of this study's matrix is it; there are single"
    assert "has no judge" in rows["win rate, % (paper_a/cooldown)"]["why"]
