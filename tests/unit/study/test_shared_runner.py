"""The local run of what is shared: one child for what is equal, in cells and in a store; what
another study works on is left to it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY
from megatron_codemix.files import read_json
from megatron_codemix.launch.local import POLL_SECONDS
from megatron_codemix.report.collect import collect
from megatron_codemix.report.tables import build_report
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study import phase_runner
from megatron_codemix.study.record import read_record
from megatron_codemix.study.runner import run_study
from megatron_codemix.study.state import study_progress
from megatron_codemix.study.store import read_trainers
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_commands import Scripts
from tests.helpers.study_files import (
    CELLS,
    OTHER_HELD_OUT,
    STUDY,
    small_tree,
    write_trained,
)

# argv: store, run directory, what to wait for: another study that trains, until that is there.
ANOTHER = """
import pathlib, sys, time
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.store import Member, working_on
store, run, end = map(pathlib.Path, sys.argv[1:])
with working_on(store, RunDirectory(run), "train", Member.of("other", pathlib.Path("/o"))) as held:
    print("held" if held is not None else "refused", flush=True)
    while not end.exists():
        time.sleep(0.01)
"""

# The same, of a SLURM job: it holds the lock in the run directory alone.
JOB = """
import pathlib, sys, time
from megatron_codemix.locks import try_lock
_, run, end = map(pathlib.Path, sys.argv[1:])
handle = try_lock(run / ".lock")
print("refused" if handle is None else "held", flush=True)
while not end.exists():
    time.sleep(0.01)
"""

OTHER_STUDY = STUDY.replace("name: small", "name: other").replace(
    "text: 0.75, code: 0.25", "text: 0.5, code: 0.5"
)
"""Has `text` and `balanced` with STUDY in common."""


def stored(tree: StudyTree, folder: Path) -> StudyTree:
    return replace(tree, store=folder / "store")


def run(tree: StudyTree, out: Path, **deeds: str) -> list[str]:
    """What was started."""
    scripts = Scripts(tree, deeds)
    outcome = run_study(tree, out, commands=scripts, show=False)
    assert outcome.exit_code == EXIT_DONE, outcome.message
    assert {phase.state for phase in study_progress(tree, out)} == {"done"}
    return scripts.started


def trainings(started: list[str]) -> list[str]:
    return [step.split()[1] for step in started if step.startswith("train")]


def test_cells_that_have_a_phase_in_common_train_it_once(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, CELLS)
    started = run(tree, tmp_path / "out")
    assert trainings(started) == ["little/base", "little/mixed", "little/even", "much/mixed"]
    assert len(started) == 8, "one evaluation each"
    record = read_record(tmp_path / "out", "small")
    assert record.runs["much/base"] == record.runs["little/base"]
    assert set(record.phases) == {"little/base", "little/mixed", "little/even", "much/mixed"}


def test_two_places_do_not_train_one_run_at_once(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, CELLS), tmp_path / "out"
    scripts = Scripts(tree)
    assert run_study(tree, out, jobs=2, commands=scripts, show=False).exit_code == EXIT_DONE
    assert sorted(trainings(scripts.started)) == [
        "little/base",
        "little/even",
        "little/mixed",
        "much/mixed",
    ]


def test_cells_with_other_held_out_documents_evaluate_it_twice(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, OTHER_HELD_OUT)
    started = run(tree, tmp_path / "out")
    assert len(trainings(started)) == 4
    assert len(started) - len(trainings(started)) == 6
    shared = tree.run_directory(tmp_path / "out", tree.nodes["much/base"])
    asked = (shared.evaluation / "asked.yaml").read_text()
    assert "other_held" in asked


def test_a_report_counts_a_shared_phase_once(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, CELLS)
    run(tree, tmp_path / "out")
    report = build_report(collect(tree, tmp_path / "out"))
    shared = {
        f"{row['cell']}/{row['name']}": row["trained_with"]
        for row in report["phases"]
        if row["trained_with"]
    }
    assert shared == {"much/base": "little/base", "much/even": "little/even"}
    # Each training says that it took a second.
    assert report["timing"]["train_seconds"] == 4.0


def test_a_second_study_trains_only_what_the_first_has_not(tmp_path: Path) -> None:
    first = stored(small_tree(tmp_path), tmp_path)
    second = stored(small_tree(tmp_path, OTHER_STUDY), tmp_path)
    run(first, tmp_path / "one")
    assert trainings(run(second, tmp_path / "two")) == ["balanced-then-text", "cooldown"]
    assert run(first, tmp_path / "one") == []
    report = build_report(collect(second, tmp_path / "two"))
    parts = {key: one["own_part"] for key, one in report["timing"]["phases"].items()}
    assert parts == {
        "single/text": 0.0,
        "single/balanced": 0.0,
        "single/balanced-then-text": 1.0,
        "single/cooldown": 1.0,
    }
    assert report["timing"]["train_seconds"] == 2.0
    trained_by = report["timing"]["phases"]["single/text"]["trained_by"]
    assert [(one["study"], one["phase"]) for one in trained_by] == [("small", "single/text")]
    [note] = [text for text in report["warnings"] if "trained by study" in text]
    assert note.startswith(f"text, balanced: trained by study small ({tmp_path / 'one'})")
    own = build_report(collect(first, tmp_path / "one"))
    assert own["timing"]["train_seconds"] == 4.0
    assert not [text for text in own["warnings"] if "trained by study" in text]


def test_studies_that_ask_for_other_evaluations_keep_both(tmp_path: Path) -> None:
    first = stored(small_tree(tmp_path), tmp_path)
    second = stored(small_tree(tmp_path, STUDY.replace("1KiB", "2KiB")), tmp_path)
    run(first, tmp_path / "one")
    node = first.nodes["single/text"]
    theirs = first.run_directory(tmp_path / "one", node).evaluation / "heldout.summary.json"
    before = theirs.read_bytes()
    started = run(second, tmp_path / "two")
    assert [step.split()[0] for step in started] == ["evaluate"] * 4
    assert theirs.read_bytes() == before
    ours = second.run_directory(tmp_path / "two", node).evaluation / "heldout.summary.json"
    assert read_json(ours)["max_bytes_per_source"] == 2048
    assert run(first, tmp_path / "one") == []


@contextmanager
def another(script: str, tree: StudyTree, name: str, out: Path, until: Path) -> Iterator[None]:
    """One that trains a phase until a file is there."""
    shared = tree.run_directory(out, tree.nodes[f"single/{name}"])
    words = [sys.executable, "-c", script, str(tree.store), str(shared.path), str(until)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.kill()


def result_of(tree: StudyTree, out: Path, name: str) -> Path:
    """What is there once a phase is done."""
    run_directory = tree.run_directory(out, tree.nodes[f"single/{name}"])
    return run_directory.evaluation / "heldout.summary.json"


@pytest.mark.parametrize("script", [ANOTHER, JOB], ids=["study", "job"])
def test_what_another_trains_is_left_to_it(script: str, tmp_path: Path) -> None:
    """The other lets go once `cooldown`, which does not need its phase, is done."""
    tree, out = stored(small_tree(tmp_path), tmp_path), tmp_path / "out"
    with another(script, tree, "text", out, result_of(tree, out, "cooldown")):
        started = run(tree, out)
    assert trainings(started) == ["balanced", "balanced-then-text", "cooldown", "text"]


def test_what_another_study_has_finished_is_not_trained_again(tmp_path: Path) -> None:
    tree, out = stored(small_tree(tmp_path), tmp_path), tmp_path / "out"
    node = tree.nodes["single/text"]
    deed = f"finish {tree.run_directory(out, node).path} as {node.identity}"
    with another(ANOTHER, tree, "text", out, result_of(tree, out, "cooldown")):
        started = run(tree, out, cooldown=deed)
    assert trainings(started) == ["balanced", "balanced-then-text", "cooldown"]
    assert "evaluate text on 1 to 1024" in started


def test_what_another_study_finishes_at_the_last_moment_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was looked at, and before it was held."""
    tree, out = stored(small_tree(tmp_path), tmp_path), tmp_path / "out"
    hold, node, held = phase_runner.working_on, tree.nodes["single/text"], list[str]()

    def finished_before(
        store: Path, shared: RunDirectory, work: str, member: Any
    ) -> Any:  # Any: as it is
        if shared == tree.run_directory(out, node):
            held.append(work)
            if not shared.status.exists():
                write_trained(tree, out, node)
        return hold(store, shared, work, member)

    monkeypatch.setattr(phase_runner, "working_on", finished_before)
    started = run(tree, out)
    assert trainings(started) == ["balanced", "balanced-then-text", "cooldown"]
    assert started[0].startswith("evaluate text")
    assert held == ["train", "evaluate"], "each under its own lock"


def test_who_waits_for_another_study_can_be_stopped(tmp_path: Path) -> None:
    tree, out = stored(small_tree(tmp_path), tmp_path), tmp_path / "out"
    result = result_of(tree, out, "cooldown")

    def stop_at_the_end() -> None:
        while not result.exists():
            time.sleep(0.01)
        time.sleep(2 * POLL_SECONDS)  # there is nothing left to do but to wait
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop_at_the_end)
    with another(ANOTHER, tree, "text", out, tmp_path / "never"):
        thread.start()
        outcome = run_study(tree, out, commands=Scripts(tree), show=False)
    thread.join()
    assert outcome.exit_code == EXIT_RETRY
    assert outcome.message.startswith("stopped; what was reached is saved")


def test_a_killed_study_that_trained_is_named_too(tmp_path: Path) -> None:
    tree = stored(small_tree(tmp_path), tmp_path)
    run(tree, tmp_path / "out", text="killed once")
    shared = tree.run_directory(tmp_path / "out", tree.nodes["single/text"])
    assert [one.study for one in read_trainers(RunDirectory(shared.path))] == ["small"]
    assert shared.require_status().attempts == 2
