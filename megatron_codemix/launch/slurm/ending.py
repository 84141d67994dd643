"""What becomes of a job when its processes have ended: done, another start, or the end.

The exit code of srun is the highest of all ranks, so a rank that was killed hides what the others
say by theirs. The run directory tells: whether the run is done, whether it was stopped in order,
whether it has failed and how often.
"""

import signal
from dataclasses import dataclass, replace

from megatron_codemix.errors import EXIT_BUG, EXIT_DONE, EXIT_INPUT, EXIT_RETRY
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory

_FIRST_SIGNAL_CODE = 128
"""From here on: killed by a signal."""
_STOP_CODE = _FIRST_SIGNAL_CODE + signal.SIGUSR1
"""Killed by the request to stop: a rank that has only just been started, or srun itself, which do
not know it yet."""
_TOO_EARLY = "asked to stop before it came to train"


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """How the processes of one start of a job have ended."""

    code: int
    """Of srun."""
    since_unix: float
    """When they were started."""
    max_failures: int
    """Failures, of this submission, after which there is one more start."""


@dataclass(frozen=True)
class Verdict:
    """What the batch script does."""

    exit_code: int
    """75: another start."""
    words: str
    """For the log."""


def training_ended(
    run: RunDirectory, identity: str, end: JobEnd, *, failures_before: int
) -> Verdict:
    """What becomes of a training. Notes a failure that no rank was able to note.

    failures_before: that the run had when the job was submitted. Only what `status.json` counts as
    a failure counts; a rank that was killed, or a start that never came to train, is one. A request
    to stop that came too early is none, unless the start before met the same: a job whose time is
    over before it trains would go on for ever.
    """
    status = run.read_status() or Status(identity=identity)
    if status.state == "done":
        return Verdict(EXIT_DONE, f"done after {status.step} steps")
    if end.code == EXIT_DONE:
        return Verdict(EXIT_BUG, f"ended without an error, but the run is {status.state}")
    if not _is_worth_a_retry(end.code):
        return Verdict(end.code, f"ended with exit code {end.code}; the same would happen again")
    is_told = status.state in ("pending", "failed") and status.updated_unix >= end.since_unix
    if not is_told:
        status = run.write_status(_untold(status, end))
    if status.state == "pending":
        how = f"stopped in order after step {status.step}" if is_told else status.last_error
        return Verdict(EXIT_RETRY, f"{how}; goes on")
    failures = status.failures - failures_before
    counted = f"failure {failures}, of which {end.max_failures} may happen"
    if failures > end.max_failures:
        return Verdict(EXIT_INPUT, f"{counted}: no further start; the last: {status.last_error}")
    return Verdict(EXIT_RETRY, f"{counted}; goes on: {status.last_error}")


def _untold(status: Status, end: JobEnd) -> Status:
    """The status after a start whose end no rank has noted."""
    is_early = end.code == _STOP_CODE and status.updated_unix < end.since_unix
    is_again = (status.last_error or "").startswith(_TOO_EARLY)
    if is_early and not is_again:
        return replace(status, state="pending", last_error=_TOO_EARLY)
    error = f"ended with exit code {end.code}: a rank was killed, or did not come to train"
    if is_early:
        error = f"{_TOO_EARLY}, twice: give the job more time"
    return replace(status, state="failed", failures=status.failures + 1, last_error=error)


def evaluation_ended(end: JobEnd, *, restarts: int) -> Verdict:
    """What becomes of an evaluation. It has no status that would tell a failure from a time limit,
    so all starts count. restarts: how often SLURM has started the job again, without those that
    found another process at work."""
    if end.code == EXIT_DONE:
        return Verdict(EXIT_DONE, "done")
    if not _is_worth_a_retry(end.code):
        return Verdict(end.code, f"ended with exit code {end.code}; the same would happen again")
    counted = f"exit code {end.code} at start {restarts + 1} of {end.max_failures + 1}"
    if restarts >= end.max_failures:
        return Verdict(EXIT_INPUT, f"{counted}: no further start")
    return Verdict(EXIT_RETRY, f"{counted}; goes on")


def _is_worth_a_retry(code: int) -> bool:
    return code == EXIT_RETRY or code >= _FIRST_SIGNAL_CODE
