"""Trained phases whose last checkpoint is damaged: made again where something needs it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY, ConfigError, RunError
from megatron_codemix.files import write_json
from megatron_codemix.runs import RunDirectory, final_checkpoint
from megatron_codemix.study.damaged_ends import phases_to_be_done
from megatron_codemix.study.job_graph import job_graph
from megatron_codemix.study.runner import run_study
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_commands import Scripts
from tests.helpers.study_files import small_tree, write_evaluated, write_trained

STEPS = 10
CHAIN = ("balanced", "balanced-then-text", "cooldown")


def save(run: RunDirectory, step: int) -> None:
    folder = run.checkpoint(step)
    folder.mkdir(parents=True)
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
    scripts = Scripts(tree, {"balanced": "save"})
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
    scripts = Scripts(tree, {"text": "save"})
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert scripts.started == ["train text on 2", "evaluate text on 1 to 1024"]


def test_a_chain_of_damaged_ends_is_made_again_from_its_root(tmp_path: Path) -> None:
    """A training looks for its parent's checkpoint also where it goes on from its own."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    runs = trained(tree, out, "text", *CHAIN[:2])
    for name in CHAIN[:2]:
        shorten(runs[name])
    phases = phases_to_be_done(tree, out)
    assert [phase.state for phase in phases] == ["done", "failed", "failed", "pending"]
    jobs = [job.name for job in job_graph(tree, phases) if job.kind == "train"]
    assert jobs == [f"small:{name}:train" for name in CHAIN]
    scripts = Scripts(tree, dict.fromkeys(CHAIN, "save"))
    assert run_study(tree, out, commands=scripts, show=False).exit_code == EXIT_DONE
    assert [one for one in scripts.started if one.startswith("train")] == [
        f"train {name} on 2" for name in CHAIN
    ]


def test_a_whole_phase_is_not_trained_again_unasked(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = trained(tree, out, "text", "balanced")["balanced"]
    shutil.rmtree(run.checkpoint(STEPS - 1))
    remove_marker(run)
    scripts = Scripts(tree, {"balanced-then-text": "wrong input"})
    run_study(tree, out, commands=scripts, show=False)
    assert scripts.started == ["train balanced-then-text on 2"]
    with pytest.raises(RunError, match=r"no checkpoint is complete: restore .*, or move the run"):
        final_checkpoint(run)


def test_an_end_that_stays_damaged_stops_the_study(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    shorten(trained(tree, out, "text", "balanced")["balanced"])
    scripts = Scripts(tree)
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
