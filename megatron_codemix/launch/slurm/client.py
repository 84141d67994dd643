"""SLURM's own programs: submit, ask, cancel. Their words are the interface that all versions and
sites have in common."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from megatron_codemix.errors import RetryableError, UnavailableError

PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel")
NEVER_SATISFIED = "DependencyNeverSatisfied"
"""Reason of a job that waits for the success of one that has failed."""

_TIMEOUT_SECONDS = 120.0
# What a controller says that is busy, restarting or on its way to another machine.
_BUSY = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Connection timed out",
    "Zero Bytes were transmitted",
    "temporarily unable to accept job",
    "Transport endpoint is not connected",
)
_UNKNOWN_JOB = "Invalid job id specified"
_QUEUE_FORMAT = "%i|%T|%r|%N|%Z|%j"
"""Number, state, reason, nodes, folder, name: what may hold anything comes last."""


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A job that SLURM has not forgotten and that has not ended."""

    id: str
    name: str
    state: str
    """Such as PENDING, RUNNING, COMPLETING."""
    reason: str
    """Why it waits; None in SLURM's words where it does not."""
    nodes: str
    folder: str
    """Where it works."""

    @property
    def is_waiting(self) -> bool:
        return self.state == "PENDING"

    @property
    def is_ending(self) -> bool:
        """Whether it is over, and SLURM waits for its last processes."""
        return self.state == "COMPLETING"

    @property
    def waits_in_vain(self) -> bool:
        """Whether it waits for the success of a job that has failed."""
        return self.is_waiting and self.reason == NEVER_SATISFIED

    @property
    def words(self) -> str:
        """`1234 PENDING (Priority)`, `1234 RUNNING on gpu[1-2]`."""
        where = f" on {self.nodes}" if self.nodes else ""
        why = f" ({self.reason})" if self.is_waiting and self.reason != "None" else ""
        return f"{self.id} {self.state}{why}{where}"


class Scheduler(Protocol):
    """What a study asks of SLURM."""

    def check(self, script: Path) -> None:
        """Raises UnavailableError with SLURM's words where it would refuse the script."""
        ...

    def submit(self, script: Path, dependency: str) -> str:
        """The new job's number. dependency: as sbatch takes it; empty: none."""
        ...

    def jobs(self) -> list[QueuedJob]:
        """This user's jobs, in the order of their numbers."""
        ...

    def jobs_numbered(self, ids: Sequence[str]) -> list[QueuedJob]:
        """Those of these jobs that SLURM still has, whoever's they are, as far as it shows them to
        this user."""
        ...

    def cancel(self, ids: Sequence[str]) -> None:
        """Jobs that have ended are no error."""
        ...


def missing_programs() -> list[str]:
    """A problem where SLURM's programs are not on this machine."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return []
    return [
        f"{', '.join(missing)}: not on this machine; submit from a login node of the cluster "
        "('codemix study run' trains on this machine)"
    ]


class SlurmPrograms:
    """A `Scheduler`: the cluster that this machine belongs to."""

    def check(self, script: Path) -> None:
        """By `sbatch --test-only`."""
        _run(["sbatch", "--test-only", str(script)])

    def submit(self, script: Path, dependency: str) -> str:
        """By `sbatch --parsable`."""
        options = [f"--dependency={dependency}"] if dependency else []
        return job_number(_run(["sbatch", "--parsable", *options, str(script)]))

    def jobs(self) -> list[QueuedJob]:
        """By `squeue`."""
        return _queue(f"--user={os.getuid()}")

    def jobs_numbered(self, ids: Sequence[str]) -> list[QueuedJob]:
        """By `squeue`, for which a single number that it does not know is an error."""
        if not ids:
            return []
        try:
            return _queue(f"--jobs={','.join(ids)}")
        except UnavailableError as error:
            if _UNKNOWN_JOB in str(error):
                return []
            raise

    def state_of(self, job_id: str) -> str | None:
        """State of one job; None where SLURM has forgotten it. Asked again for a minute where the
        controller is busy: a job that is about to go on should not end because of that."""
        give_up_at = time.monotonic() + 60
        while True:
            try:
                text = _run(["squeue", "--noheader", f"--jobs={job_id}", "--format=%T"])
                return text.strip() or None
            except UnavailableError as error:
                if _UNKNOWN_JOB in str(error):
                    return None
                raise
            except RetryableError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(5)

    def cancel(self, ids: Sequence[str]) -> None:
        """By one `scancel`, so that none begins because another has ended."""
        try:
            _run(["scancel", *ids])
        except UnavailableError as error:
            if _UNKNOWN_JOB not in str(error):
                raise


def _queue(choice: str) -> list[QueuedJob]:
    return read_queue(_run(["squeue", "--noheader", choice, f"--format={_QUEUE_FORMAT}"]))


def job_number(text: str) -> str:
    """Of `sbatch --parsable`: `1234`, on a federation `1234;cluster`. Lines that a site's filter
    prints before it do not count."""
    last = (text.strip().splitlines() or [""])[-1]
    match = re.fullmatch(r"(\d+)(;.*)?", last.strip())
    if match is None:
        raise UnavailableError(f"sbatch: no job number in its answer {text.strip()!r}")
    return match.group(1)


def read_queue(text: str) -> list[QueuedJob]:
    """Of `squeue` in our format, in the order of their numbers."""
    jobs = []
    for line in text.splitlines():
        number, state, reason, nodes, folder, name = line.split("|", 5)
        jobs.append(
            QueuedJob(id=number, state=state, reason=reason, nodes=nodes, folder=folder, name=name)
        )
    return sorted(jobs, key=lambda job: [int(part) for part in re.findall(r"\d+", job.id)])


def _run(words: Sequence[str]) -> str:
    """What the program prints. Raises RetryableError where the controller does not answer,
    UnavailableError with the program's words where it refuses or is missing."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            env=_environment(),
            check=False,
        )
    except FileNotFoundError as error:
        raise UnavailableError(
            f"{words[0]}: not on this machine; go to a login node of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RetryableError(f"{words[0]}: no answer in {_TIMEOUT_SECONDS:.0f} seconds") from error
    if done.returncode == 0:
        return done.stdout
    lines = [" ".join(line.split()) for line in (done.stderr or done.stdout).splitlines()]
    said = "; ".join(line for line in lines if line) or f"exit code {done.returncode}"
    if any(text in said for text in _BUSY):
        raise RetryableError(f"{words[0]}: SLURM does not answer: {said}")
    raise UnavailableError(f"{words[0]}: SLURM refuses: {said}")


def _environment() -> dict[str, str]:
    """Without what sbatch would take for options (they would win over the script), and without the
    job that this process may run in, which would be inherited."""
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SBATCH_", "SLURM_", "SQUEUE_", "SCANCEL_"))
    }
