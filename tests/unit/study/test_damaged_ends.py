"""Trained phases whose last checkpoint is damaged: made again where something needs it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY, ConfigError
from megatron_codemix.files import write_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.damaged_ends import phases_to_be_done
from megatron_codemix.study.job_graph import job_graph
from megatron_codemix.study.run_checks import start_problems
from megatron_codemix.study.runner import run_study
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_commands import Scripts
from tests.helpers.study_files import BRANCHED, small_tree, write_evaluated, write_trained

STEPS = 10
CHAIN = ("balanced", "balanced-then-text", "cooldown")


def save(run: RunDirectory, step: int) -> None:
    folder = run.checkpoint(step)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_bytes(b"weights")
    write_json(folder / "complete.json", {"files": {"weights": {"bytes": 7, "sha256": ""}}})


def remove_end(run: RunDirectory) -> None:
    shutil.rmtree(run.checkpoint(STEPS))


def remove_marker(run: RunDirectory) -> None:
    (run.checkpoint(STEPS) / "complete.json").unlink()


def shorten(run: RunDirectory) -> None:
    (run.checkpoint(STEPS) / "weights").write_bytes(b"")


def trained(tree: StudyTree, out: Path, *names: str) -> dict[str, RunDirectory]:
    """These phases, evaluated, with the checkpoints of their last steps."""
    runs = {}
    for name in names:
        node = tree.nodes[f"single/{name}"]
        runs[name] = write_trained(tree, out, node)
        write_evaluated(tree, runs[name], {"text": 1.0})
        for step in (tree.plan(node).num_steps - 1, tree.plan(node).num_steps):
            save(runs[name], step)
    return runs


@pytest.mark.parametrize("damage", [remove_end, remove_marker, shorten])
def test_a_phase_that_others_start_from_is_trained_on(
    damage: Callable[[RunDirectory], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where its ledger is gone, which that training puts back."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = trained(tree, out, "text", "balanced")["balanced"]
    damage(run)
    run.ledger.unlink()
    scripts = Scripts(tree)
    assert run_study(tree, out, commands=scripts).exit_code == EXIT_DONE
    told = capsys.readouterr().err.replace("\n", "")
    assert told.count("is made again from the one before") == 1
    assert "restore" not in told
    assert scripts.started[:2] == ["train balanced on 2", "train balanced-then-text on 2"]
    assert "train text on 2" not in scripts.started


def test_what_nothing_needs_is_left(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    for run in trained(tree, out, "text", *CHAIN[:2]).values():
        shorten(run)
    cooldown = trained(tree, out, "cooldown")["cooldown"]
    scripts = Scripts(tree)
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert scripts.started == []
    assert cooldown.require_status().attempts == 1


def test_an_evaluation_needs_it_too(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = trained(tree, out, "text", *CHAIN)["text"]
    shorten(run)
    (run.evaluation / "heldout.summary.json").unlink()
    scripts = Scripts(tree)
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert scripts.started == ["train text on 2", "evaluate text on 1 to 1024"]


def test_a_phase_that_has_a_checkpoint_of_its_own_needs_none_of_its_parent(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    runs = trained(tree, out, "text", *CHAIN[:2])
    for name in CHAIN[:2]:
        shorten(runs[name])
    phases = phases_to_be_done(tree, out)
    assert [phase.state for phase in phases] == ["done", "done", "failed", "pending"]
    jobs = [job.name for job in job_graph(tree, phases) if job.kind == "train"]
    assert jobs == [f"small:{name}:train" for name in CHAIN[1:]]
    scripts = Scripts(tree)
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert [one for one in scripts.started if one.startswith("train")] == [
        f"train {name} on 2" for name in CHAIN[1:]
    ]


@pytest.mark.parametrize("kept", [[], [STEPS - 1]])
def test_a_phase_in_its_middle_goes_on_without_its_parent(kept: list[int], tmp_path: Path) -> None:
    """kept: of the parent's checkpoints."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    runs = trained(tree, out, "text", *CHAIN[:2])
    for step in {STEPS - 1, STEPS} - set(kept):
        shutil.rmtree(runs["balanced"].checkpoint(step))
    child = runs["balanced-then-text"]
    remove_end(child)
    child.write_status(replace(child.require_status(), state="running", step=STEPS - 1))
    assert start_problems(tree, out) == []
    scripts = Scripts(tree)
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert [one for one in scripts.started if one.startswith("train")] == [
        f"train {name} on 2" for name in CHAIN[1:]
    ]


def test_a_phase_that_begins_needs_its_parent(tmp_path: Path) -> None:
    """Where that is gone nothing is started, and no whole phase is trained again unasked."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    runs = trained(tree, out, "text", *CHAIN[:2])
    shutil.rmtree(runs["balanced"].checkpoints)
    assert start_problems(tree, out) == []
    child = runs["balanced-then-text"]
    shutil.rmtree(child.checkpoints)
    child.write_status(replace(child.require_status(), state="failed", step=3))
    [problem] = start_problems(tree, out)
    assert problem.startswith("balanced: its last checkpoint is needed: ")
    assert problem.endswith(
        "restore it from a copy, or move the run directory away to train it again"
    )
    scripts = Scripts(tree)
    with pytest.raises(ConfigError, match="its last checkpoint is gone; no other is left"):
        run_study(tree, out, commands=scripts, show=False)
    assert scripts.started == []


@pytest.mark.parametrize("damage", [remove_end, remove_marker, shorten])
def test_an_evaluation_of_what_is_lost_is_refused(
    damage: Callable[[RunDirectory], None], tmp_path: Path
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = trained(tree, out, "text", *CHAIN)["text"]
    shutil.rmtree(run.checkpoint(STEPS - 1))
    damage(run)
    assert start_problems(tree, out) == []
    (run.evaluation / "heldout.summary.json").unlink()
    [problem] = start_problems(tree, out)
    assert problem.startswith(f"text: its last checkpoint is needed: {run.checkpoint(STEPS)}")
    assert "or move the run directory away to train it again" in problem


def test_a_branch_needs_the_checkpoint_that_it_starts_from(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, BRANCHED), tmp_path / "out"
    parent = trained(tree, out, "balanced")["balanced"]
    [problem] = start_problems(tree, out)
    assert problem.startswith("balanced-then-text: starts from step 5 of balanced")
    save(tree.run_directory(out, tree.nodes["single/balanced-then-text"]), 2)
    assert start_problems(tree, out) == [], "it goes on from its own"
    shutil.rmtree(tree.run_directory(out, tree.nodes["single/balanced-then-text"]).path)
    parent.write_status(replace(parent.require_status(), state="running", step=7))
    shutil.rmtree(parent.checkpoints)
    assert start_problems(tree, out) == [], "the parent comes to it again"


def test_an_end_that_stays_damaged_stops_the_study(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    shorten(trained(tree, out, "text", "balanced")["balanced"])
    scripts = Scripts(tree, {"balanced": "save nothing"})
    outcome = run_study(tree, out, commands=scripts, show=False)
    assert outcome.exit_code == EXIT_RETRY
    assert "balanced: training (3 times in a row)" in outcome.message


def test_a_ledger_that_was_cut_is_mended_and_one_that_is_damaged_refused(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = trained(tree, out, "text", *CHAIN)["text"]
    whole = run.ledger.read_text()
    record = {"files": {}, "is_scheduled": True, "ledger": json.loads(whole)}
    write_json(run.checkpoint(STEPS) / "complete.json", record)
    write_json(run.checkpoint(STEPS - 1) / "complete.json", record | {"is_scheduled": False})
    run.ledger.unlink()
    assert run_study(tree, out, commands=Scripts(tree), show=False).exit_code == EXIT_DONE
    assert run.ledger.read_text() == whole
    run.ledger.write_text("{}\n")
    with pytest.raises(ConfigError, match=r"ledger\.jsonl:1: damaged \('step' is missing\)"):
        run_study(tree, out, commands=Scripts(tree), show=False)
