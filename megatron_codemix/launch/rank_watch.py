"""Waits for the ranks of a launch: how each has ended, and when those that are left are told to
end, or are killed."""

import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkProcess

from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY
from megatron_codemix.launch.failures import is_consequence
from megatron_codemix.launch.rank_process import (
    STACKS_SIGNAL,
    RankFailure,
    read_failure,
    read_from_start,
)
from megatron_codemix.stops import RememberedStop

# What the parent receives -> what each rank receives.
FORWARDED = {
    signal.SIGINT: signal.SIGTERM,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
}
_TAIL_LINES = 30
# A signal just before the wait is handled only after it; and a process that a rank has started and
# left behind hides the rank's end from the wait.
_POLL_SECONDS = 0.1
# Writing the stacks takes milliseconds; one that has not by then is stopped or swapped out.
_STACKS_SECONDS = 1.0
# How long the rank that is the cause may take to say so, after another has seen it go.
_SETTLE_SECONDS = 1.0


@dataclass
class Watch:
    """State of one launch: the ranks not yet reaped, how others failed, what was asked of us."""

    stop: RememberedStop | None
    """What this process remembers from before."""
    logs: dict[int, int] = field(default_factory=dict)
    """Rank -> open file with its output, for all but rank 0."""
    records: dict[int, int] = field(default_factory=dict)
    """Rank -> open file for how it has failed."""
    processes: dict[int, ForkProcess] = field(default_factory=dict)
    failures: list[RankFailure] = field(default_factory=list)
    notice: signal.Signals | None = None
    end_at: float | None = None
    """Monotonic time from which ranks still alive are told to end."""
    kill_at: float | None = None
    """Monotonic time from which ranks still alive are killed."""


def wait_for_ranks(watch: Watch, grace_seconds: float, timeout_seconds: float | None) -> None:
    """Waits until no rank is left; ends the others once one has failed or time is up."""
    give_up_at = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    while watch.processes:
        deadline = watch.kill_at or watch.end_at or give_up_at
        for rank in _ended_ranks(watch, deadline - time.monotonic()):
            _take_note(watch, _reap(watch, rank))
        now = time.monotonic()
        if now >= (watch.kill_at or math.inf):
            kill_ranks(watch)
        elif watch.kill_at is None and now >= (watch.end_at or math.inf):
            watch.kill_at = now + grace_seconds
            if watch.notice is None:
                signal_all(watch, signal.SIGTERM)
            # One that was stopped, which is why the others have failed, hears of nothing before.
            signal_all(watch, signal.SIGCONT)
        elif watch.kill_at is None and now >= give_up_at:
            _give_up(watch, now)


def _take_note(watch: Watch, failure: RankFailure | None) -> None:
    """Keeps the failure and sets the time when the other ranks are told to end."""
    if failure is None:
        return
    watch.failures.append(failure)
    if failure.kind == "stopped":
        return
    now = time.monotonic()
    end_at = now + _SETTLE_SECONDS if is_consequence(failure) else now
    watch.end_at = min(watch.end_at or end_at, end_at)


def _ended_ranks(watch: Watch, wait_seconds: float) -> list[int]:
    """Ranks that have ended; waits for one, but no longer than `wait_seconds` and _POLL_SECONDS."""
    sentinels = [process.sentinel for process in watch.processes.values()]
    connection.wait(sentinels, max(0.0, min(wait_seconds, _POLL_SECONDS)))
    return [rank for rank, process in watch.processes.items() if process.exitcode is not None]


def _reap(watch: Watch, rank: int) -> RankFailure | None:
    """How an ended rank has failed; None if it has not, or if it was us who ended it."""
    # Taken out first, so that no signal goes to a pid that has come to mean another process.
    process = watch.processes.pop(rank)
    process.join()
    exit_code = process.exitcode
    assert exit_code is not None, rank
    if exit_code == EXIT_DONE:
        return None
    recorded = read_failure(watch.records[rank])
    if exit_code >= 0:
        return recorded or RankFailure(
            rank=rank,
            exit_code=exit_code,
            kind="exited",
            message=f"exited with code {exit_code}" + _tail(watch, rank),
            seconds=time.monotonic(),
        )
    number = signal.Signals(-exit_code)
    if watch.kill_at is not None and number in (signal.SIGTERM, signal.SIGKILL):
        return recorded
    if number is signal.SIGABRT and recorded is not None:
        return recorded  # NCCL may abort a rank that ends
    if watch.notice is not None and number in (FORWARDED[watch.notice], signal.SIGKILL):
        message = f"was stopped by {watch.notice.name}"
    else:
        message = f"was killed by {number.name}"
        message += " (out of memory?)" if number is signal.SIGKILL else ""
    return RankFailure(
        rank=rank,
        exit_code=EXIT_RETRY,
        kind="aborted" if number is signal.SIGABRT else "killed",
        message=f"{message}; run the same command again{_tail(watch, rank)}",
        seconds=time.monotonic(),
    )


def _tail(watch: Watch, rank: int) -> str:
    """The last lines of a rank's log; empty for rank 0, whose output is on the screen."""
    if rank not in watch.logs:
        return ""
    lines = read_from_start(watch.logs[rank]).decode(errors="replace").splitlines()
    return "".join(f"\n  | {line}" for line in lines[-_TAIL_LINES:])


def _give_up(watch: Watch, now: float) -> None:
    """Time is up: stacks, then the end."""
    signal_all(watch, STACKS_SIGNAL)
    watch.kill_at = now + _STACKS_SECONDS
    running = sorted(watch.processes)
    watch.failures.append(
        RankFailure(
            rank=running[0],
            exit_code=EXIT_RETRY,
            kind="timeout",
            message=f"did not end in time (running: {running}); the logs end with their stacks",
            seconds=now,
        )
    )


def signal_all(watch: Watch, number: signal.Signals) -> None:
    """To each rank that still runs."""
    for process in list(watch.processes.values()):
        if process.exitcode is None and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def kill_ranks(watch: Watch) -> None:
    """Ends and reaps whatever still runs."""
    signal_all(watch, signal.SIGKILL)
    while watch.processes:
        _, process = watch.processes.popitem()
        process.join()
