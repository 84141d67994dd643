"""`codemix study status`: once, for programs, and live."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from megatron_codemix.cli import study_watch, task_choice
from megatron_codemix.cli.main import main
from megatron_codemix.cli.study_options import with_store
from megatron_codemix.cli.study_watch import watch_progress
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, EXIT_RETRY, ConfigError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.locks import try_lock
from megatron_codemix.study import run_checks
from megatron_codemix.study.job_records import JobRecord, write_records
from megatron_codemix.study.locks import children_lock, study_lock
from megatron_codemix.study.record import StudyRecord, write_record
from megatron_codemix.study.run_checks import record_problems
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained
from tests.helpers.task_results import write_task_results
from tests.unit.study.test_damaged_ends import shorten, trained


def write_done(tree: StudyTree, out: Path) -> None:
    for node in tree.nodes.values():
        write_evaluated(tree, write_trained(tree, out, node), {"text": 1000.0})


@pytest.mark.parametrize("is_terminal", [True, False])
def test_watching_ends_when_all_is_done(is_terminal: bool, tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    write_done(tree, out)
    screen = io.StringIO()
    watch_progress(tree, out, Console(file=screen, force_terminal=is_terminal, width=120))
    shown = screen.getvalue()
    assert ("balanced-then-text" in shown) == is_terminal
    assert ("4 of 4 phases done" in shown) == (not is_terminal)


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("lock", [None, study_lock, children_lock])
def test_watching_ends_where_nothing_can_come(
    lock: Callable[[Path], Path] | None,
    is_terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While somebody works in the folder it goes on: here for three looks, and then all is done."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    looks = [0]

    def look(seconds: float) -> None:
        looks[0] += 1
        assert lock is not None or looks[0] < 3
        if looks[0] == 3:
            write_done(tree, out)

    monkeypatch.setattr(study_watch, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(study_watch.time, "sleep", look)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=120)
    held = None if lock is None else try_lock(lock(out))
    assert watch_progress(tree, out, console) == (held is not None)
    assert ("nothing has run or was queued" in screen.getvalue()) == (held is None)
    if held is not None:
        assert looks == [3]
        held.close()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_watch_sees_a_store_that_is_named_after_it_began(
    is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"

    def run(seconds: float) -> None:
        placed = with_store(tree, out, tmp_path / "store")
        write_done(placed, out)
        write_record(out, StudyRecord(name="small").with_runs(placed, out))

    monkeypatch.setattr(study_watch, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(study_watch.time, "sleep", run)
    screen = io.StringIO()
    assert watch_progress(tree, out, Console(file=screen, force_terminal=is_terminal, width=120))
    assert (f"runs: in {tmp_path / 'store'}" in screen.getvalue()) == is_terminal


def test_a_watch_in_vain_ends_with_75(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tree(tmp_path)
    monkeypatch.setattr(study_watch, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(study_watch, "_LOOK_EVERY_SECONDS", 0.0)
    words = ["study", "status", str(tmp_path / "study.yaml"), "--data", str(tmp_path / "data")]
    assert main([*words, "--out", str(tmp_path / "out"), "--watch"]) == EXIT_RETRY
    assert "not waiting any longer" in capsys.readouterr().out


def test_what_programs_read_and_what_people_watch_are_two_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_tree(tmp_path)
    assert (
        main(["study", "status", str(tmp_path / "study.yaml"), "--watch", "--json"]) == EXIT_INPUT
    )
    assert "--json prints once" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "run"), [(80, "{digits}"), (100, "{name}-{digits}")])
def test_names_are_whole_on_a_narrow_terminal(
    width: int,
    run: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of run directories the digits are enough there: the phase's name stands beside them."""
    tree = small_tree(tmp_path)
    monkeypatch.setenv("COLUMNS", str(width))
    words = ["study", "status", str(tmp_path / "study.yaml"), "--data", str(tmp_path / "data")]
    assert main([*words, "--out", "out"]) == EXIT_DONE
    shown = capsys.readouterr().out.split()
    for node in tree.nodes.values():
        assert node.name in shown
        assert run.format(name=node.name, digits=str(node.identity)[:8]) in shown


def test_each_phase_has_its_job_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a study that was submitted; squeue's answer is a recorded one."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = str(tree.run_directory(out, tree.nodes["single/balanced"]).path)
    record = JobRecord(id="22", run=run, log="", script="", needs={}, submitted_unix=1.0)
    write_records(out, "small", {"small:balanced:train": record})
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "scontrol", "scancel", "squeue"):
        lines = f"22|RUNNING|None|node2|{out}|small:balanced:train"
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho '{lines}'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("COLUMNS", "160")
    words = ["study", "status", str(tmp_path / "study.yaml"), "--data", str(tmp_path / "data")]
    assert main([*words, "--out", str(out)]) == EXIT_DONE
    assert "22 RUNNING on node2" in capsys.readouterr().out
    assert main([*words, "--out", str(out), "--json"]) == EXIT_DONE
    phases = {phase["phase"]: phase for phase in json.loads(capsys.readouterr().out)["phases"]}
    assert phases["balanced"]["job"] == {"id": "22", "state": "RUNNING", "reason": "None"}
    assert phases["text"]["job"] is None


@pytest.fixture
def with_damaged_end(tmp_path: Path) -> StudyTree:
    """A phase that is done, and whose last checkpoint the next one cannot start from."""
    tree = small_tree(tmp_path)
    shorten(trained(tree, tmp_path / "out", "text", "balanced")["balanced"])
    return tree


def told(folder: Path, *words: str) -> int:
    """Exit code of a command on the study in `folder`."""
    places = ["--data", str(folder / "data"), "--out", str(folder / "out")]
    return main(["study", words[0], str(folder / "study.yaml"), *places, *words[1:]])


@pytest.mark.usefixtures("with_damaged_end")
@pytest.mark.parametrize("command", [["status"], ["run", "--dry-run"]])
def test_what_is_trained_again_is_not_shown_as_done(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(tmp_path, *command) == EXIT_DONE
    assert capsys.readouterr().out.count("note: balanced: is trained, but its last checkp") == 1
    assert told(tmp_path, *command, "--json") == EXIT_DONE
    shown = json.loads(capsys.readouterr().out)
    states = {phase["phase"]: phase["state"] for phase in shown["phases"]}
    assert (states["text"], states["balanced"]) == ("done", "failed")
    [problem] = shown["problems"]
    assert problem.endswith("weights: 0 bytes, not the 7 written")


def test_a_status_is_shown_whatever_is_wrong_in_ledgers(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    write_done(tree, out)
    tree.run_directory(out, tree.nodes["single/text"]).ledger.write_text("{}\n")
    assert told(tmp_path, "status") == EXIT_DONE


@pytest.fixture
def with_damaged_summary(tmp_path: Path) -> Path:
    """Of a phase whose parent's last checkpoint is not whole: whether that is needed cannot be
    told."""
    tree = small_tree(tmp_path)
    runs = trained(tree, tmp_path / "out", *(node.name for node in tree.nodes.values()))
    shorten(runs["balanced"])
    path = runs["balanced-then-text"].evaluation / "heldout.summary.json"
    path.write_text("{}")
    return path


def test_a_status_that_was_lost_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["single/text"])
    study = [str(tmp_path / "study.yaml"), "--data", str(tmp_path / "data"), "--out", str(out)]
    run.status.unlink()
    for command in (["status"], ["run", "--dry-run"]):
        assert main(["study", *command, *study]) == EXIT_DONE
        told = capsys.readouterr().out
        assert f"note: text: {run.status}: is missing, and this run had it" in told
        assert "'codemix study run' makes it again" in told
    for path in (run.metrics, run.ledger):
        path.unlink()
    shutil.rmtree(run.checkpoint(1).parent)
    assert main(["study", "status", *study]) == EXIT_DONE
    assert "note: " not in capsys.readouterr().out, "what stopped before its first step"


@pytest.mark.parametrize(
    ("command", "code"), [(["status"], EXIT_DONE), (["run", "--dry-run"], EXIT_INPUT)]
)
def test_phases_are_shown_beside_one_whose_results_are_damaged(
    command: list[str],
    code: int,
    with_damaged_summary: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage = f"{with_damaged_summary}: damaged ('sources' is missing); remove it"
    assert told(tmp_path, *command) == code
    said = capsys.readouterr()
    assert said.out.count(f"note: balanced-then-text: {damage}\n") == 1
    assert said.err.count(damage) == (code == EXIT_INPUT)
    assert told(tmp_path, *command, "--json") == code
    shown = json.loads(capsys.readouterr().out)
    states = {phase["phase"]: phase["state"] for phase in shown["phases"]}
    assert states == dict.fromkeys(states, "done") | {"balanced-then-text": "trained"}
    assert shown["problems"] == [f"balanced-then-text: {damage}"]


@pytest.mark.usefixtures("with_damaged_summary")
def test_a_watch_goes_on_beside_damaged_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_watch, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(study_watch, "_LOOK_EVERY_SECONDS", 0.0)
    assert told(tmp_path, "status", "--watch") == EXIT_RETRY
    assert "3 of 4 phases done; balanced-then-text: trained" in capsys.readouterr().out


def test_a_dry_run_shows_the_phases_and_then_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ledger, a run of another identity, a shard: each once."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    runs = trained(tree, out, "text", "balanced")
    runs["text"].ledger.write_text("{}\n")
    other = runs["balanced"].status
    write_json(other, read_json(other) | {"identity": "f" * 64})
    (tmp_path / "data" / "markup_validation.manifest.json").unlink()
    assert told(tmp_path, "run", "--dry-run") == EXIT_INPUT
    said = capsys.readouterr()
    assert "balanced-then-text" in said.out
    words = ["markup_validation.manifest.json", "holds a run of another ident", "ledger.jsonl:1"]
    lines = said.err.splitlines()
    assert [word in line for word, line in zip(words, lines, strict=True)] == [True] * 3


def test_a_dry_run_tells_a_damaged_status_with_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    trained(tree, out, "text")["text"].status.write_text("{")
    (tmp_path / "data" / "markup_validation.manifest.json").unlink()
    assert told(tmp_path, "run", "--dry-run") == EXIT_INPUT
    said = capsys.readouterr().err.splitlines()
    assert [("not a readable status" in line, "markup_val" in line) for line in said] == [
        (True, False),
        (False, True),
    ]


def test_a_run_looks_at_everything_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what is wrong with data and tasks together."""
    small_tree(tmp_path, STUDY + "  tasks: {names: [nothing]}\n")
    (tmp_path / "data" / "markup_validation.manifest.json").unlink()
    looks = list[Path]()

    def look(tree: StudyTree, out: Path) -> list[str]:
        looks.append(out)
        return record_problems(tree, out)

    def refuse(choice: object, *, with_data: bool) -> None:
        raise ConfigError(["--tasks: there is no such task"])

    monkeypatch.setattr(run_checks, "record_problems", look)
    monkeypatch.setattr(task_choice, "require_tasks", refuse)
    assert told(tmp_path, "run") == EXIT_INPUT
    assert looks == [tmp_path / "out"]
    data, task = capsys.readouterr().err.splitlines()
    assert "markup_validation" in data
    assert "there is no such task" in task


def test_benchmarks_of_a_study_that_is_done_need_not_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = STUDY + "  tasks: {names: [hellaswag], data_dir: nowhere}\n"
    tree, out = small_tree(tmp_path, text), tmp_path / "out"
    monkeypatch.setattr(task_choice, "_require_harness", lambda names: pytest.fail("asked for"))
    write_done(tree, out)
    for node in tree.nodes.values():
        write_task_results(tree, out, node, {})
        done = tree.run_directory(out, node).evaluation / "tasks.json"
        write_json(done, read_json(done) | {"data_dir": str(tmp_path / "nowhere")})
    assert told(tmp_path, "run", "--dry-run") == EXIT_DONE
