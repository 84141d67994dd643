"""What `codemix bench chaos --study` makes of a study that crashes or hangs by itself, and of its
own end in the middle: nothing of it is forgotten. The study is a line of shell."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.lines import LineCounts, count_lines
from megatron_codemix.bench.chaos.study.asked import StudyChaos
from megatron_codemix.bench.chaos.study.disturb import disturb
from megatron_codemix.bench.chaos.study.job import StudyJob, write_study_job
from megatron_codemix.bench.chaos.study.notes import Notes
from megatron_codemix.bench.chaos.study.patience import Patience
from megatron_codemix.bench.chaos.study.place import prepare_place, remove_place
from megatron_codemix.bench.chaos.study.plan import KILL_RANK, StudyFault
from megatron_codemix.bench.chaos.study.scene import Scene
from megatron_codemix.bench.chaos.study.suite import run_study_chaos
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json

ASKED = StudyChaos(num_faults=1, seed=1, kinds=(KILL_RANK,), num_steps=20)


@dataclass(frozen=True, kw_only=True)
class Shell(StudyJob):
    """Does in its folder what a study might."""

    script: str

    def start(self, output: Path) -> "subprocess.Popen[bytes]":
        self.out.mkdir(exist_ok=True)
        with open(output, "ab") as handle:
            return subprocess.Popen(
                ["sh", "-c", self.script], cwd=self.out, stdout=handle, stderr=handle
            )


def scene(folder: Path, script: str, patience_seconds: float = 60.0) -> Scene:
    job = Shell(folder / "study.yaml", folder / "study", [], 20, script=script)
    return Scene(job, folder / "disturbed.log", patience_seconds=patience_seconds)


def notes(folder: Path) -> Notes:
    return Notes.read(folder / "faults.jsonl")


def fault(number: int) -> StudyFault:
    return StudyFault(number=number, kind=KILL_RANK, phase="one", step=7, evidence="it ended")


@pytest.mark.parametrize(
    ("script", "patience_seconds", "problem"),
    [
        ("echo out of luck; exit 1", 60.0, "exit code 1 by itself:\nout of luck"),
        ("exec sleep 60", 0.05, "the study does not get on"),
    ],
)
def test_a_crash_is_a_problem_of_all_later_calls(
    script: str, patience_seconds: float, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=problem):
        disturb(scene(tmp_path, script, patience_seconds), ASKED, notes(tmp_path), print)

    again = notes(tmp_path)
    disturb(scene(tmp_path, "exit 0"), ASKED, again, print)

    assert again.faults == []
    assert problem in "".join(again.problems)
    assert notes(tmp_path).problems == again.problems


def test_starts_and_seconds_are_those_of_all_calls(tmp_path: Path) -> None:
    first = notes(tmp_path)
    first.add(fault(0), ["exit code 3"], num_starts=4)
    first.add(None, [], num_starts=5)
    seconds = first.seconds
    assert seconds > 0

    again = notes(tmp_path)
    disturb(scene(tmp_path, "exit 0"), ASKED, again, print)

    assert (again.faults, again.problems) == ([fault(0)], ["exit code 3"])
    assert again.num_starts == 6
    assert again.seconds > seconds
    assert again.seconds - seconds < first.seconds + 60, "counted from the last line"


def test_a_study_that_makes_no_step_before_its_next_end_is_not_started_for_ever(
    tmp_path: Path,
) -> None:
    failing = scene(tmp_path, "echo the same again; exit 75")
    with pytest.raises(RunError, match=r"twice with exit code 75 after 0 steps:\nthe same again"):
        failing.run_to_end()
    assert failing.num_starts == 2


def test_a_study_that_gets_on_is_started_as_often_as_it_takes(tmp_path: Path) -> None:
    one_step = "mkdir -p cell/one-0123abcd && cd cell/one-0123abcd && touch status.json"
    one_step += " && echo >> metrics.jsonl && [ $(wc -l < metrics.jsonl) = 4 ] || exit 75"
    slow = scene(tmp_path, one_step)
    slow.run_to_end()
    assert (slow.num_starts, slow.is_done) == (4, True)


def test_patience_begins_anew_with_every_change() -> None:
    patience = Patience(300.0)
    for seen, now, has_ended in [
        ((0, 0), 1000.0, False),
        ((0, 0), 1299.0, False),
        ((1, 0), 1300.5, False),
        ((1, 0), 1600.0, False),
        ((1, 5), 1600.4, False),
        ((1, 5), 1900.0, False),
        ((1, 5), 1901.0, True),
    ]:
        assert patience.has_ended(seen, now) == has_ended, now
    assert not patience.is_due(1901.5)
    assert patience.is_due(1902.5)


def test_lines_are_counted_as_the_file_grows_and_where_another_takes_its_place(
    tmp_path: Path,
) -> None:
    path, counts = tmp_path / "metrics.jsonl", LineCounts()
    assert (counts.of(path), count_lines(path)) == (0, 0)
    for written, whole in ((b"1\n2\n3", 2), (b"\n4\n", 4), (b"5", 4)):
        with open(path, "ab") as handle:
            handle.write(written)
        assert (counts.of(path), count_lines(path)) == (whole, whole)
    (tmp_path / "other").write_bytes(b"a longer file, with fewer lines\n")
    (tmp_path / "other").replace(path)
    assert counts.of(path) == 1
    path.write_bytes(b"\n\n")
    assert counts.of(path) == 2, "made shorter in place"


def test_a_folder_behind_a_link_is_known_by_its_own_name(tmp_path: Path) -> None:
    """As /proc has it, where a study's processes are looked for by their files."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "thesis.tex").touch()
    (tmp_path / "work").symlink_to(tmp_path / "disk")
    with pytest.raises(RunError, match=f"^{tmp_path.resolve()}/disk: holds something else"):
        run_study_chaos(tmp_path / "work", ASKED, print)


def killed_at_the_first(event: str, action: Callable[[], None]) -> int:
    """Exit code of a process that does it and is killed there; events are Python's audit events."""

    def hook(found: str, given: object) -> None:
        if found == event:
            os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which are not needed
        child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_removal_that_was_cut_is_ended_by_the_next_call(tmp_path: Path) -> None:
    """Half of a folder is not taken for an interrupted call's."""
    work = tmp_path / "work"
    prepare_place(work, ASKED, print)
    (work / "alone").mkdir()
    (work / "alone" / "report.json").write_text("{}")

    assert killed_at_the_first("os.rmdir", lambda: remove_place(work)) == -signal.SIGKILL
    assert not work.exists()
    assert list(tmp_path.iterdir()), "something is left"
    prepare_place(work, ASKED, print)

    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert [path.name for path in work.iterdir()] == ["chaos.json"]


def test_data_that_were_half_written_are_written_anew(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").write_text('{"te')
    (tmp_path / "data").mkdir()
    job = write_study_job(tmp_path, tmp_path / "study", steps_of_a_phase=20)
    assert all(shard.stat().st_size > 100_000 for shard in job.shards)


def test_a_call_that_was_killed_as_it_began_can_be_given_again(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / ".chaos.json.host.77.tmp").write_text("{")
    prepare_place(work, ASKED, print)
    assert read_json(work / "chaos.json")["num_faults"] == 1
