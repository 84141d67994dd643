"""Jobs of the tests' cluster: submitting, watching, and the processes that train in them."""

import contextlib
import datetime
import re
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import count_lines
from tests.helpers.process_signals import is_in_mask
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY"}

ASK_SECONDS = 0.5
"""How often SLURM is asked: each time is a process or two, and there are two cores."""


@dataclass(frozen=True)
class Job:
    """A submitted job; its output is in one file, whichever node it ran on."""

    cluster: Cluster
    number: int
    output: Path

    def field(self, name: str) -> str:
        """One of `scontrol show job`, such as JobState or Restarts."""
        shown = self.cluster.run("scontrol", "show", "job", "--oneliner", str(self.number))
        match = re.search(rf"(?:^| ){name}=(\S*)", shown)
        assert match is not None, shown
        return match.group(1)

    def time(self, name: str) -> float:
        """Such as StartTime, in seconds since 1970; whole ones."""
        return datetime.datetime.fromisoformat(self.field(name)).timestamp()

    def wait_for(
        self,
        what: str,
        condition: Callable[[], object],
        seconds: float,
        *,
        poll_seconds: float = ASK_SECONDS,
    ) -> None:
        """As the cluster's, with this job's output where it is in vain."""
        self.cluster.wait_for(
            what,
            condition,
            seconds,
            poll_seconds=poll_seconds,
            also_show=lambda: {f"output of job {self.number}": self.output},
        )

    def wait_for_state(self, *states: str, seconds: float) -> str:
        """Which of these states it is in, once it is in one."""
        what = f"job {self.number} in state {' or '.join(states)}"
        self.wait_for(what, lambda: self.field("JobState") in states, seconds)
        return self.field("JobState")

    def wait_for_end(self, seconds: float) -> str:
        """The state in which it stays."""
        return self.wait_for_state(*ENDED, seconds=seconds)

    def said(self) -> str:
        """Its output so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def submit(cluster: Cluster, script: str, folder: Path, *options: str) -> Job:
    """Hands a script to sbatch as a user does; `folder` takes the script and the output."""
    folder.mkdir(parents=True, exist_ok=True)
    path, output = folder / "job.sbatch", folder / "job.log"
    path.write_text(script)
    placed = [f"--output={output}", f"--chdir={folder}", *options]
    answer = cluster.run("sbatch", "--parsable", *placed, path)
    return Job(cluster, int(answer), output)


def wait_for_stops(jobs: Sequence[Job], runs: Sequence[RunDirectory]) -> list[int]:
    """Until each job was back in the queue for the first time and its run had stopped in order,
    which is no failure; the steps after which they have saved. The second start of one may be under
    way while another stops."""
    stopped: dict[int, Status] = {}

    def are_stopped() -> bool:
        for place, (job, run) in enumerate(zip(jobs, runs, strict=True)):
            if place not in stopped and job.field("Restarts") == "1":
                status = run.require_status()
                if status.state == "pending":
                    stopped[place] = status
        return len(stopped) == len(jobs)

    jobs[0].wait_for("the ends of the first starts", are_stopped, 120)
    assert all(status.failures == 0 for status in stopped.values()), stopped
    return [status.step for _, status in sorted(stopped.items())]


def hold_each_at(
    jobs: Sequence[Job], runs: Sequence[RunDirectory], steps: Sequence[int], seconds: float
) -> list[list[psutil.Process]]:
    """The processes that train each run, suspended as soon as it has logged so many steps."""
    held: dict[int, list[psutil.Process]] = {}

    def are_held() -> bool:
        for place, run in enumerate(runs):
            if place not in held and count_lines(run.metrics) >= steps[place]:
                held[place] = ranks_of(run)
                assert held[place], (
                    f"{run.path} has ended before it was held: more steps are needed"
                )
                for rank in held[place]:
                    rank.suspend()
        return len(held) == len(runs)

    jobs[0].wait_for(f"steps {steps}", are_held, seconds, poll_seconds=0.02)
    return [ranks for _, ranks in sorted(held.items())]


def let_go_on(ranks: Iterable[psutil.Process]) -> None:
    """Suspended processes, of which some may have been woken and ended."""
    for rank in ranks:
        with contextlib.suppress(psutil.NoSuchProcess):
            rank.resume()


def ranks_of(run: RunDirectory) -> list[psutil.Process]:
    """The processes that train it, or are about to: those that take SIGUSR1 for themselves, unlike
    their helpers."""
    named = [process for process in psutil.process_iter() if _names(process, str(run.path))]
    return [process for process in named if _is_in_mask(process, "SigCgt", signal.SIGUSR1)]


def is_told(process: psutil.Process) -> bool:
    """Whether a process that was suspended has been asked to stop. SLURM 22.05 also wakes it."""
    try:
        is_awake = process.status() != psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return True
    asked = (signal.SIGUSR1, signal.SIGTERM)
    return is_awake or any(_is_in_mask(process, "ShdPnd", number) for number in asked)


def _names(process: psutil.Process, text: str) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return bool(words) and Path(words[0]).name.startswith("python") and text in words


def _is_in_mask(process: psutil.Process, mask: str, number: signal.Signals) -> bool:
    """Of a process that has gone nothing is."""
    try:
        return is_in_mask(process.pid, mask, number)
    except (FileNotFoundError, ProcessLookupError):
        return False
