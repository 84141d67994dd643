"""The study as it runs: started, watched, and started again by the same command."""

import contextlib
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from megatron_codemix.bench.chaos.study.disk import Disk
from megatron_codemix.bench.chaos.study.job import NUM_RANKS, StudyJob
from megatron_codemix.bench.chaos.study.patience import PATIENCE_SECONDS, Patience
from megatron_codemix.bench.chaos.study.processes import (
    Placed,
    all_processes,
    is_alive,
    placed_runs,
    wait_until_gone,
)
from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY, RunError

T = TypeVar("T")

_POLL_SECONDS = 0.05
"""To look at processes costs milliseconds, of cores that the study needs."""
_TOLD_SECONDS = 20.0
"""A study tells of a child's end within a quarter of a second."""
_TAIL_LINES = 30


@dataclass
class Scene:
    """One study in one folder, of which at most one `study run` is alive."""

    job: StudyJob
    output: Path
    """What all its starts say."""
    disk: Disk | None = None
    """Absent: nothing fills up."""
    process: "subprocess.Popen[bytes] | None" = None
    remnants: list[psutil.Process] = field(default_factory=list)
    """Processes of starts that have ended, which may still be about to save."""
    num_starts: int = 0
    is_done: bool = False
    """Whether a start has ended with nothing left to do."""
    problems: list[str] = field(default_factory=list)
    """What a fault led to and should not have, as far as nobody has noted it."""
    patience_seconds: float = PATIENCE_SECONDS
    """For a study of which nothing is heard or seen."""

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def running(self) -> "subprocess.Popen[bytes]":
        """The present start."""
        assert self.process is not None, "the study was not started"
        return self.process

    def start(self) -> None:
        """Gives the command, again."""
        assert not self.is_running, "the study runs"
        self.process = self.job.start(self.output)
        self.num_starts += 1

    def go_on(self) -> bool:
        """Sees to it that the study runs: where it has ended to be tried again, it is. False where
        it is done. Raises RunError where it has ended otherwise."""
        if self.is_running:
            return True
        code = None if self.process is None else self.process.returncode
        self.process = None
        self.is_done = self.is_done or code == EXIT_DONE
        if self.is_done:
            return False
        if code not in (None, EXIT_RETRY):
            raise RunError(f"the study ended with exit code {code} by itself:\n{self.tail()}")
        self.start()
        return True

    def run_to_end(self) -> None:
        """Gives the command until nothing is left to do. Raises RunError where it hangs, or ends
        otherwise than to be tried again, or twice so without a step between: a phase that fails at
        each of its starts would do so for ever."""
        reached = -1
        while self.go_on():
            self.wait_for_end()
            if self.running.returncode == EXIT_RETRY:
                made = self.job.steps_made()
                if made <= reached:
                    raise RunError(
                        f"the study ended twice with exit code {EXIT_RETRY} after {reached} "
                        f"steps:\n{self.tail()}"
                    )
                reached = made

    def wait_for_end(self) -> int:
        """Exit code of the present start, when it has one. Raises RunError where it hangs."""
        self.wait_for(lambda: None)
        code: int = self.running.returncode
        return code

    def end(self, wanted: set[int], after: str) -> int:
        """Waits for the end of the present start, which is due; its exit code. Anything but what is
        `wanted` is a problem."""
        processes = all_processes(self.running.pid)
        try:
            code = self.running.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self.problems.append(f"after {after}: the study went on as if nothing had happened")
            return EXIT_RETRY
        self.process = None
        self.is_done = code == EXIT_DONE
        self.remnants += processes
        if code not in wanted:
            self.problems.append(f"after {after}: exit code {code}\n{self.tail()}")
        return code

    def remember_processes(self) -> list[psutil.Process]:
        """All of the present start, which may outlive it for a moment."""
        found = all_processes(self.running.pid)
        self.remnants += found
        return found

    def take_over(self, processes: list[psutil.Process]) -> None:
        """Waits for what a study has left behind whose end was the end of an earlier call; nobody
        else wakes those that it had stopped."""
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.remnants += processes
        self.quieten()

    def quieten(self) -> None:
        """Waits until nothing of earlier starts is left. Raises RunError where something stays."""
        left = wait_until_gone(self.remnants, PATIENCE_SECONDS)
        self.remnants.clear()
        if left:
            raise RunError(f"processes of an ended study stay: {[one.pid for one in left]}")

    def kill(self) -> None:
        """Ends what runs, at once; where it has left, its processes have seconds to save."""
        if self.process is not None:
            self.remember_processes()
            self.process.kill()
            self.process.wait()
            self.process = None

    def placed(self) -> list[Placed]:
        """Trainings and evaluations that run with all their ranks."""
        return placed_runs(self.running.pid, NUM_RANKS) if self.is_running else []

    def wait_for(
        self, look: Callable[[], T | None], poll_seconds: float = _POLL_SECONDS
    ) -> T | None:
        """What `look` finds at last; None where the study ends first. Raises RunError where neither
        happens and the study neither makes a step nor says a word."""
        patience = Patience(self.patience_seconds)
        while self.is_running:
            found = look()
            if found is not None:
                return found
            now = time.monotonic()
            if patience.is_due(now):
                progress = (self.job.steps_made(), self.said_bytes)
                if patience.has_ended(progress, now):
                    raise RunError(f"the study does not get on:\n{self.tail()}")
            time.sleep(poll_seconds)
        return None

    def wait_for_steps(self, wanted: int) -> bool:
        """Whether all phases together have come so far before the study ended."""
        return bool(self.wait_for(lambda: self.job.steps_made() >= wanted or None))

    def wait_for_training(self, choose: Callable[[list[Placed]], Placed]) -> Placed | None:
        """One that has just made a step, and has more than that to make; `choose` among several."""
        before: dict[int, int] = {}

        def look() -> Placed | None:
            stepping = []
            for one in self.placed():
                steps = self.job.steps_of(one.run)
                # A start goes back to the last checkpoint before its first step.
                least = min(steps, before.get(one.launcher.pid, steps))
                before[one.launcher.pid] = least
                if one.is_training and steps > least:
                    status = one.run.read_status()
                    if status is not None and steps < status.num_steps - 2:
                        stepping.append(one)
            return choose(stepping) if stepping else None

        return self.wait_for(look)

    def end_of(self, placed: Placed, offset: int) -> str | None:
        """How the study says that this start of a phase ended, after what it had said before
        `offset`; None where it came to its own end."""
        words = re.compile(
            rf"^{re.escape(placed.phase)}: {placed.what}(?: \(\d+ times in a row\))? "
            r"ended with ((?:exit code|signal) \d+)",
            re.MULTILINE,
        )
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            has_study_ended, is_over = not self.is_running, not is_alive(placed.launcher)
            if told := words.search(self.said(offset)):
                return f"{placed.what} ended with {told[1]}"
            if has_study_ended:
                return None
            if is_over:
                give_up_at = min(give_up_at, time.monotonic() + _TOLD_SECONDS)
            time.sleep(_POLL_SECONDS)
        return None

    @property
    def said_bytes(self) -> int:
        """How much the study has said so far."""
        return self.output.stat().st_size if self.output.exists() else 0

    def said(self, offset: int = 0) -> str:
        """What it has said after that."""
        if not self.output.exists():
            return ""
        return self.output.read_bytes()[offset:].decode("utf-8", errors="replace")

    def tail(self) -> str:
        """Its last lines."""
        return "\n".join(self.said().splitlines()[-_TAIL_LINES:])
