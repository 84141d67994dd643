"""SLURM's queue as far as submitting goes, in memory: numbers, states, dependencies."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from megatron_codemix.errors import UnavailableError
from megatron_codemix.launch.slurm.client import NEVER_SATISFIED, QueuedJob


def options_of(script: str) -> dict[str, str]:
    """What sbatch reads in a script: option -> value, as a shell splits the lines."""
    lines = [line.removeprefix("#SBATCH ") for line in script.splitlines() if "#SBATCH" in line]
    words = [word for line in lines for word in shlex.split(line)]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


@dataclass
class QueueInMemory:
    """A `Scheduler`. Nothing begins or ends by itself. Jobs whose number is in `of_others` are
    another user's."""

    refuses: str | None = None
    """Part of a job's name whose script is refused."""
    live: dict[str, QueuedJob] = field(default_factory=dict)
    """By number."""
    dependencies: dict[str, str] = field(default_factory=dict)
    """Name -> of its last submission."""
    submitted: list[str] = field(default_factory=list)
    """Names, in order."""
    cancelled: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    comes_back: str | None = None
    """Name of a job whose script puts it back behind the first `scancel`."""
    takes_its_time: bool = False
    """Whether cancelled jobs are there until `finish_ending`."""
    next_number: int = 100
    of_others: set[str] = field(default_factory=set)

    def check(self, script: Path) -> None:
        name = options_of(script.read_text())["--job-name"]
        self.checked.append(name)
        if self.refuses is not None and self.refuses in name:
            raise UnavailableError("sbatch: SLURM refuses: Invalid account")

    def submit(self, script: Path, dependency: str) -> str:
        options = options_of(script.read_text())
        number, name = str(self.next_number), options["--job-name"]
        self.next_number += 1
        self.live[number] = queued(number, name, options["--chdir"])
        self.dependencies[name] = dependency
        self.submitted.append(name)
        return number

    def jobs(self) -> list[QueuedJob]:
        return [job for job in self.live.values() if job.id not in self.of_others]

    def jobs_numbered(self, ids: Sequence[str]) -> list[QueuedJob]:
        return [self.live[number] for number in ids if number in self.live]

    def cancel(self, ids: Sequence[str]) -> None:
        for number in ids:
            job = self.live.pop(number)
            self.cancelled.append(job.name)
            if job.name == self.comes_back and self.cancelled.count(job.name) == 1:
                self.live[number] = queued(number, job.name, job.folder)
            elif self.takes_its_time:
                self.live[number] = queued(number, job.name, job.folder, "COMPLETING")

    def finish_ending(self) -> None:
        """What was cancelled is gone."""
        self.live = {number: job for number, job in self.live.items() if not job.is_ending}

    def number(self, name: str) -> str:
        """Of the job of that name; fails where there is not one."""
        (number,) = [job.id for job in self.live.values() if job.name == name]
        return number

    def end(self, name: str) -> None:
        """The job leaves the queue."""
        del self.live[self.number(name)]

    def set_state(self, name: str, state: str, reason: str = "None") -> None:
        number = self.number(name)
        old = self.live[number]
        self.live[number] = queued(number, name, old.folder, state, reason)

    def let_wait_in_vain(self, name: str) -> None:
        self.set_state(name, "PENDING", NEVER_SATISFIED)


def queued(
    number: str, name: str, folder: str, state: str = "PENDING", reason: str = "Priority"
) -> QueuedJob:
    return QueuedJob(id=number, name=name, state=state, reason=reason, nodes="", folder=folder)
