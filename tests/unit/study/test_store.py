"""A store of runs: who holds what, who has trained what, what is refused."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.cli.study_options import with_store
from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, ConfigError, RunError
from megatron_codemix.files import append_jsonl, read_json, write_json, write_text
from megatron_codemix.locks import try_lock
from megatron_codemix.report.collect import collect
from megatron_codemix.report.tables import build_report
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory
from megatron_codemix.study import changed_phase
from megatron_codemix.study.changed_phase import earlier_run, take_over
from megatron_codemix.study.record import StudyRecord, read_record, write_record
from megatron_codemix.study.run_checks import run_problems
from megatron_codemix.study.siblings import trained_beside
from megatron_codemix.study.state import phase_progress
from megatron_codemix.study.store import (
    Member,
    is_at_work,
    note_trainer,
    others_of,
    own_part,
    owner_words,
    read_trainers,
    require_store,
    working_on,
)
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_files import (
    BRANCHED,
    STUDY,
    SUMS,
    TOKENS_PER_STEP,
    small_tree,
    write_evaluated,
    write_study,
    write_trained,
)
from tests.unit.study.test_damaged_ends import remove_end, trained

ONE, TWO = Member.of("one", Path("/runs/one")), Member.of("two", Path("/runs/two"))

HOLD = """
import pathlib, sys, time
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.store import Member, working_on
store, run = map(pathlib.Path, sys.argv[1:])
with working_on(store, RunDirectory(run), "train", Member.of("other", pathlib.Path("/o"))) as held:
    print("held" if held is not None else "refused", flush=True)
    time.sleep(600)
"""


def stored_tree(folder: Path, text: str = STUDY) -> StudyTree:
    return replace(small_tree(folder, text), store=folder / "store")


def test_two_studies_have_one_run_of_what_is_equal(tmp_path: Path) -> None:
    one = stored_tree(tmp_path)
    two = stored_tree(tmp_path, STUDY.replace("text: 0.75, code: 0.25", "text: 0.5, code: 0.5"))
    for name, is_same in (("text", True), ("balanced", True), ("cooldown", False)):
        runs = [
            tree.run_directory(tmp_path / out, tree.nodes[f"single/{name}"])
            for tree, out in ((one, "a"), (two, "b"))
        ]
        assert (runs[0] == runs[1]) == is_same
        assert runs[0].path.parent == tmp_path / "store"
        assert runs[0].path.name == one.nodes[f"single/{name}"].identity[:16]  # type: ignore[index]  # there is data


def test_other_evaluations_lie_in_other_folders(tmp_path: Path) -> None:
    one = stored_tree(tmp_path)
    other = stored_tree(tmp_path, STUDY.replace("1KiB", "2KiB"))
    held = stored_tree(tmp_path, STUDY.replace("code_validation", "code_other"))
    runs = [
        tree.run_directory(tmp_path / "out", tree.nodes["single/text"])
        for tree in (one, other, held)
    ]
    assert len({run.path for run in runs}) == 1
    assert len({run.evaluation for run in runs}) == 3
    write_evaluated(
        one, write_trained(one, tmp_path / "out", one.nodes["single/text"]), {"text": 1.0}
    )
    states = [
        phase_progress(tree, tmp_path / "out", tree.nodes["single/text"]).state
        for tree in (one, other, held)
    ]
    assert states == ["done", "trained", "trained"]


VALIDATED = STUDY.replace(
    "heldout: {world_size: 1, max_bytes_per_source: 1KiB}", "heldout: {kind: validation}"
).replace(
    "precision: {kind: fp32}",
    "precision: {kind: fp32}\n  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}",
)


def test_a_validation_of_something_else_is_not_taken(tmp_path: Path) -> None:
    """The run's last validation counts for the study that asked for it; for others the checkpoint
    is evaluated."""
    one, out = stored_tree(tmp_path, VALIDATED), tmp_path / "out"
    other = stored_tree(tmp_path, VALIDATED.replace("source: 1KiB", "source: 2KiB"))
    node = one.nodes["single/text"]
    run = write_trained(one, out, node)
    line = {"step": one.plan(node).num_steps, "sources": {"text": SUMS}}
    append_jsonl(run.validation, line)
    assert phase_progress(one, out, node).state == "done"
    assert phase_progress(other, out, other.nodes["single/text"]).state == "trained"
    asked = other.spec.evaluation.by_processes(other.nodes["single/text"].config)
    words = asked.arguments()
    assert words[words.index("--max-bytes-per-source") + 1] == "2048"
    summary = {**line, "max_bytes_per_source": 2048}
    theirs = other.run_directory(out, other.nodes["single/text"])
    write_json(theirs.evaluation / "heldout.summary.json", summary)
    assert phase_progress(other, out, other.nodes["single/text"]).state == "done"
    assert phase_progress(one, out, node).state == "done"
    later = other.nodes["single/balanced"]
    append_jsonl(write_trained(other, out, later).validation, line)
    [note] = [text for text in build_report(collect(other, out))["warnings"] if "a little" in text]
    assert note.startswith("text: evaluated, because another study")
    assert not [text for text in build_report(collect(one, out))["warnings"] if "a little" in text]
    # Trained on by the other: what it validates now is the other's.
    write_text(run.config, dump_yaml(other.resolved_config(out, other.nodes["single/text"])))
    assert phase_progress(one, out, node).state == "trained"


def test_a_run_is_held_by_one_study_until_it_ends(tmp_path: Path) -> None:
    store, run = tmp_path / "store", RunDirectory(tmp_path / "store" / "0123")
    with working_on(store, run, "train", ONE) as held:
        assert held is not None
        with working_on(store, run, "train", TWO) as other:
            assert other is None
        assert owner_words(store, run, "train").startswith("study one (/runs/one), process ")
        with working_on(store, run, "evaluate", TWO) as evaluation:
            assert evaluation is not None, "another piece of work"
    with working_on(store, run, "train", TWO) as held:
        assert held is not None


def test_a_killed_study_lets_go(tmp_path: Path) -> None:
    store, run = tmp_path / "store", RunDirectory(tmp_path / "store" / "0123")
    words = [sys.executable, "-c", HOLD, str(store), str(run.path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with working_on(store, run, "train", ONE) as held:
            assert held is None
        assert "study other (/o)" in owner_words(store, run, "train")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with working_on(store, run, "train", ONE) as held:
        assert held is not None


def test_children_that_outlive_a_study_hold_on(tmp_path: Path) -> None:
    store, run = tmp_path / "store", RunDirectory(tmp_path / "store" / "0123")
    with working_on(store, run, "train", ONE) as held:
        assert held is not None
        child = subprocess.Popen(["sleep", "600"], pass_fds=[held])
    with working_on(store, run, "train", TWO) as other:
        assert other is None
    child.kill()
    child.wait()
    with working_on(store, run, "train", TWO) as other:
        assert other is not None


def test_a_training_that_no_study_has_started_counts(tmp_path: Path) -> None:
    """As of a SLURM job, which holds the lock in the run directory alone."""
    store, run = tmp_path / "store", RunDirectory(tmp_path / "store" / "0123")
    assert not is_at_work(run, "train")
    handle = try_lock(run.path / ".lock")
    assert handle is not None
    assert is_at_work(run, "train")
    with working_on(store, run, "train", ONE) as held:
        assert held is None
    assert owner_words(store, run, "train") == "a process that no 'study run' has started"
    handle.close()
    with working_on(store, run, "train", ONE) as held:
        assert held is not None


def test_seconds_belong_to_those_who_spent_them(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert (read_trainers(run), own_part([], ONE)) == ([], 1.0)
    note_trainer(run, ONE, "single/base", 0.0)
    assert (own_part(read_trainers(run), ONE), own_part(read_trainers(run), TWO)) == (1.0, 0.0)
    note_trainer(run, ONE, "single/base", 30.0)
    note_trainer(run, TWO, "single/first", 10.0)
    trainers = read_trainers(run)
    assert own_part(trainers, ONE) == 0.75
    assert own_part(trainers, TWO) == 0.25
    assert own_part(trainers, Member.of("one", Path("/elsewhere"))) == 0.0
    assert [one.phase for one in others_of(trainers, ONE)] == ["single/first"]
    run.studies.write_text('{"study": "one"}\n')
    words = r"studies\.jsonl:1: damaged \('out' is missing\); not a readable list of who trained it"
    with pytest.raises(RunError, match=words):
        read_trainers(run)


def test_a_study_is_itself_by_whichever_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = RunDirectory(tmp_path / "run"), tmp_path / "out"
    for folder in (run.path, out):
        folder.mkdir()
    (tmp_path / "link").symlink_to(out)
    monkeypatch.chdir(tmp_path)
    ways = [out, Path("out"), Path("run/../out"), tmp_path / "link"]
    for way in ways:
        note_trainer(run, Member.of("one", way), "single/base", 10.0)
    # As earlier versions wrote it.
    line = {"study": "one", "out": str(tmp_path / "link"), "phase": "single/base", "seconds": 10.0}
    append_jsonl(run.studies, line)
    for way in ways:
        assert own_part(read_trainers(run), Member.of("one", way)) == 1.0
        assert others_of(read_trainers(run), Member.of("one", way)) == []
    assert own_part(read_trainers(run), Member.of("one", tmp_path / "other")) == 0.0


# What is refused.


def command(folder: Path, name: str, *more: str) -> list[str]:
    words = [str(folder / "study.yaml"), "--out", str(folder / "out")]
    data = [] if name in ("cancel", "logs") else ["--data", str(folder / "data")]
    return ["study", name, *words, *data, *more]


def test_a_store_that_is_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_tree(tmp_path)
    (tmp_path / "file").touch()
    for name in ("run", "status", "report"):
        assert main(command(tmp_path, name, "--store", str(tmp_path / "file"))) == EXIT_INPUT
        assert "is a file, and runs need a folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="runs cannot be kept here"):
        require_store(tmp_path / "file" / "store")
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(RunError, match="Permission denied"):
        require_store(tmp_path / "closed")


@pytest.mark.parametrize("place", ["store", "out"])
def test_a_run_of_another_identity_is_refused(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained, and nothing of it is reported or shown."""
    store = ["--store", str(tmp_path / "store")] if place == "store" else []
    tree = stored_tree(tmp_path) if store else small_tree(tmp_path)
    run = write_trained(tree, tmp_path / "out", tree.nodes["single/text"])
    write_json(run.status, read_json(run.status) | {"identity": "f" * 64})
    [problem] = run_problems(tree, tmp_path / "out")
    assert "holds a run of another identity" in problem
    for action in (["run"], ["report"], ["status"], ["status", "--watch"], ["run", "--dry-run"]):
        assert main(command(tmp_path, *action, *store)) == EXIT_INPUT
        assert "holds a run of another identity" in capsys.readouterr().err


def test_a_run_that_kept_too_little_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another study has trained it, and no phase of that one started from its middle."""
    tree, out = stored_tree(tmp_path, BRANCHED), tmp_path / "out"
    assert run_problems(tree, out) == []
    run = write_trained(tree, out, tree.nodes["single/balanced"])
    [problem] = run_problems(tree, out)
    assert problem.startswith("balanced-then-text: starts from step 5 of balanced")
    assert main(command(tmp_path, "status", "--store", str(tmp_path / "store"))) == EXIT_DONE
    shown = capsys.readouterr().out
    assert f"note: {problem}\n" in shown
    assert shown.count("pending") == 3
    child = write_trained(tree, out, tree.nodes["single/balanced-then-text"])
    assert run_problems(tree, out) == [], "nothing is to start from it any more"
    child.status.unlink()
    write_json(run.checkpoint(5) / COMPLETE_MARKER, {})
    assert run_problems(tree, out) == []


def test_a_phase_that_starts_at_the_end_by_its_tokens_waits_until_that_is_made_again(
    tmp_path: Path,
) -> None:
    text = STUDY.replace(
        "{phase: balanced, load: weights}", "{phase: balanced, load: weights, at_tokens: 640M}"
    )
    tree, out = stored_tree(tmp_path, text), tmp_path / "out"
    remove_end(trained(tree, out, "balanced")["balanced"])
    assert run_problems(tree, out) == []


def test_a_study_remembers_its_store(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    store = tmp_path / "store"
    assert with_store(tree, out, None).store is None
    placed = with_store(tree, out, store)
    assert placed.store == store
    require_store(store)
    write_record(out, read_record(out, "small").with_runs(placed, out))
    assert with_store(tree, out, None).store == store
    assert with_store(tree, out, tmp_path / "x" / ".." / "store").store == store
    with pytest.raises(ConfigError, match=f"keeps its runs in {store}; leave --store out"):
        with_store(tree, out, tmp_path / "another")
    record = read_record(out, "small")
    node = placed.nodes["single/text"]
    assert record.run_directory(out, node.key, placed.store) == placed.run_directory(out, node)


def test_runs_that_lie_in_the_studys_own_folder_stay_there(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    write_record(out, read_record(out, "small").with_runs(tree, out))
    with pytest.raises(ConfigError, match="keeps its runs in its own folder"):
        with_store(tree, out, tmp_path / "store")


def test_status_and_logs_find_the_store_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = stored_tree(tmp_path), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["single/text"])
    note_trainer(run, Member.of("first", Path("/runs/first")), "single/base", 5.0)
    write_record(out, StudyRecord(name="small").with_runs(tree, out))
    (run.path / "train.log").write_text("line\n")
    assert main(command(tmp_path, "status")) == EXIT_DONE
    shown = " ".join(capsys.readouterr().out.split())
    assert "text: was trained by study first (/runs/first)" in shown
    assert main(["study", "logs", str(tmp_path / "study.yaml"), "text", "--out", str(out)]) == 0
    assert capsys.readouterr().out == "line\n"


# A study beside it.


def test_a_study_beside_it_that_has_trained_the_same_is_named(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    beside, out = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    assert trained_beside(tree, out) == []
    for name in ("text", "balanced"):
        write_trained(tree, beside, tree.nodes[f"single/{name}"])
    write_record(beside, StudyRecord(name="first").with_runs(tree, beside))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "study.json").write_text("[")
    [line] = trained_beside(tree, out)
    assert f"text has been trained in {beside}/single/text-" in line
    assert "and 1 more phases" in line
    assert "--store" in line
    assert trained_beside(tree, beside) == [], "its own are no news"
    assert trained_beside(replace(tree, store=tmp_path / "store"), out) == []


def test_a_study_beside_it_with_a_store_is_named_with_that(tmp_path: Path) -> None:
    tree, shared = small_tree(tmp_path), stored_tree(tmp_path)
    beside, out = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    run = write_trained(shared, beside, shared.nodes["single/text"])
    write_record(beside, StudyRecord(name="first").with_runs(shared, beside))
    [line] = trained_beside(tree, out)
    assert f"text has been trained in {run.path} already" in line
    assert f"--store {tmp_path / 'store'} " in line


# A phase whose mixture is changed.


def changed_tree(folder: Path, after_steps: int) -> StudyTree:
    tokens = after_steps * TOKENS_PER_STEP * 10**6  # the study's scale is 1e-6
    mixture = "{weights: {text: 0.75, code: 0.25}}"
    change = f"data.changes: [{{at_tokens: {tokens}, mixture: {mixture}}}]"
    return stored_tree(folder, STUDY.replace("  text: {}\n", f"  text: {{set: {{{change}}}}}\n"))


def write_running(tree: StudyTree, out: Path, step: int) -> RunDirectory:
    """The run of `text` in its middle, noted as the study's."""
    node = tree.nodes["single/text"]
    assert node.identity is not None
    assert node.mixture is not None
    run = tree.run_directory(out, node)
    write_text(run.config, dump_yaml(tree.resolved_config(out, node)))
    write_json(run.attempt(1) / "plan.json", {"mixture": node.mixture.as_dict()})
    write_json(run.checkpoint(step) / COMPLETE_MARKER, {})
    (run.checkpoint(step) / "weights").write_bytes(b"weights")
    append_jsonl(run.metrics, {"step": step})
    run.write_status(Status(identity=node.identity, state="running", step=step, attempts=1))
    write_record(out, read_record(out, "small").with_runs(tree, out))
    return run


def test_a_changed_phase_goes_on_as_a_copy_and_leaves_the_run_to_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = write_running(stored_tree(tmp_path), out, step=4)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    tree = changed_tree(tmp_path, after_steps=6)
    node = tree.nodes["single/text"]
    found = earlier_run(tree, out, node)
    assert found is not None
    assert (found.run.path, found.step) == (run.path, 4)
    write_record(out, read_record(out, "small").with_runs(tree, out))
    taken = take_over(tree, out, node)
    assert taken is not None
    own = tree.run_directory(out, node)
    assert own.complete_steps() == [4]
    assert (own.checkpoint(4) / "weights").read_bytes() == b"weights"
    assert own.require_status().step == 4
    assert own.metrics.exists()
    assert take_over(tree, out, node) is None, "it has its run now"
    assert {path: path.read_bytes() for path in before} == before
    assert run_problems(tree, out) == [], "it goes on under its new identity"


def test_what_was_consumed_in_a_store_is_not_changed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_running(stored_tree(tmp_path), out, step=4)
    tree = changed_tree(tmp_path, after_steps=3)
    assert earlier_run(tree, out, tree.nodes["single/text"]) is None
    assert take_over(tree, out, tree.nodes["single/text"]) is None


def test_a_run_that_went_beyond_the_change_meanwhile_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another study trains it: it was at step 4 when it was found, and is at step 8 now."""
    out = tmp_path / "out"
    run = write_running(stored_tree(tmp_path), out, step=4)
    tree = changed_tree(tmp_path, after_steps=6)
    node = tree.nodes["single/text"]
    found = earlier_run(tree, out, node)
    write_json(run.checkpoint(8) / COMPLETE_MARKER, {})
    monkeypatch.setattr(changed_phase, "earlier_run", lambda *_: found)
    assert take_over(tree, out, node) is None
    assert list((tmp_path / "store").iterdir()) == [run.path]


def test_runs_of_the_store_that_the_study_never_had_are_others(tmp_path: Path) -> None:
    write_running(stored_tree(tmp_path), tmp_path / "theirs", step=4)
    tree = changed_tree(tmp_path, after_steps=6)
    assert earlier_run(tree, tmp_path / "out", tree.nodes["single/text"]) is None


def test_a_run_that_was_moved_into_the_store_is_taken(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    node = tree.nodes["single/text"]
    assert node.identity is not None
    run = write_trained(tree, tmp_path / "before", node)
    (tmp_path / "store").mkdir()
    run.path.rename(tmp_path / "store" / node.identity[:16])
    placed = with_store(tree, tmp_path / "out", tmp_path / "store")
    assert phase_progress(placed, tmp_path / "out", node).state == "trained"
    write_study(tmp_path)
