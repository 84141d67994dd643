"""Starts ranks on this machine: imports once, forks, forwards signals, keeps the exit code.

torchrun turns every exit code into 1 and leaves its workers behind when it dies of a signal, and
each of its workers imports torch anew. Here the parent imports once and forks, the ranks die with
the parent whatever ends it, and what the ranks say by their exit code (wrong input, try again, bug)
reaches the caller.
"""

import contextlib
import gc
import math
import os
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY
from megatron_codemix.launch.allowance import usable_cores
from megatron_codemix.launch.failures import cause_of, describe, is_consequence, log_path
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.rank_process import (
    STACKS_SIGNAL,
    RankFailure,
    RankProcess,
    Target,
    read_failure,
    read_from_start,
    run_rank,
)
from megatron_codemix.stops import RememberedStop, remembered_stop

# What the parent receives -> what each rank receives.
_FORWARDED = {
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

CROWDED_RANKS_PER_CORE = 4


@dataclass
class _Watch:
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


def run_ranks(
    target: Target,
    num_ranks: int,
    *,
    prepare: Callable[[], None] | None = None,
    log_folder: Path | None = None,
    grace_seconds: float = 20.0,
    timeout_seconds: float | None = None,
) -> int:
    """Runs `target` in `num_ranks` forked processes; returns the exit code that speaks for all.

    `prepare` imports, in this process and before the fork, what every rank needs (it must not touch
    a GPU). A rank returns its exit code or raises: CodemixError keeps its exit code, anything else
    is 1, death by a signal is 75. The first failure is printed to stderr, once, with its rank; the
    other ranks get SIGTERM, are woken where they were stopped and, after `grace_seconds`, get
    SIGKILL. A rank that returns 75 or raises PreemptedError has stopped in order: the others
    finish. SIGINT and SIGTERM reach each rank as one SIGTERM, SIGUSR1 as SIGUSR1; a second SIGINT
    kills. A request to stop that this process remembers from before (`stops.py`) is one to its
    ranks.

    Rank 0 has this process's stdout and stderr, rank k writes to `log_folder`/rank<k>.log, or to a
    file without a name, so that a kill of this process leaves nothing behind. After
    `timeout_seconds` each rank writes the stacks of its threads to stderr and is killed; that
    counts as 75. OpenMP has one thread a rank if there are several, else all cores, unless
    OMP_NUM_THREADS says otherwise. More than CROWDED_RANKS_PER_CORE ranks a core are warned of, on
    stderr. For the main thread only.
    """
    assert num_ranks >= 1, num_ranks
    _warn_of_crowding(num_ranks)
    with contextlib.ExitStack() as stack:
        watch = _Watch(stop=remembered_stop())
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
        for rank in range(num_ranks):
            watch.records[rank] = _closed_by(stack, os.memfd_create(f"rank{rank}"))
            if rank > 0:
                watch.logs[rank] = _closed_by(stack, _open_log(log_folder, rank))
        if prepare is not None:
            prepare()
        port = stack.enter_context(_reserve_port()).getsockname()[1]
        stack.callback(_kill, watch)
        gc.freeze()  # or the first collection of each rank would copy what was imported
        stack.callback(gc.unfreeze)
        with _signals_held_back():
            stack.enter_context(_forwarding(watch))
            for rank in range(num_ranks):
                context = RankContext(
                    rank=rank,
                    world_size=num_ranks,
                    local_rank=rank,
                    init_method=f"tcp://127.0.0.1:{port}",
                )
                watch.processes[rank] = _fork(target, context, watch)
        _wait(watch, grace_seconds, timeout_seconds)
    if not watch.failures:
        return EXIT_DONE
    cause = cause_of(watch.failures)
    with contextlib.suppress(OSError):  # on a full disk, which may be the cause itself
        sys.stdout.flush()
        sys.stderr.write(describe(cause, num_ranks, log_folder))
    return cause.exit_code


def _warn_of_crowding(num_ranks: int) -> None:
    cores = usable_cores()
    if num_ranks > CROWDED_RANKS_PER_CORE * cores:
        sys.stderr.write(
            f"warning: {num_ranks} processes share {cores} {'core' if cores == 1 else 'cores'}; "
            "each waits for the others, and each holds its own copy of the libraries in memory\n"
        )


def _closed_by(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _open_log(folder: Path | None, rank: int) -> int:
    """An empty file, to read and to append to; without a folder one that has no name."""
    if folder is None:
        with tempfile.TemporaryFile() as unnamed:
            return os.dup(unnamed.fileno())
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    return os.open(log_path(folder, rank), flags, 0o644)


def _reserve_port() -> socket.socket:
    """A socket bound to a free port: keeps others off the port and lets rank 0 listen there.

    Linux allows a second bind of a port where both sockets have SO_REUSEADDR (torch's store sets
    it) and none listens.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("", 0))
    return reserved


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """No notice arrives while the ranks are forked: no rank misses one, none runs our handler."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _forwarding(watch: _Watch) -> Iterator[None]:
    """Handlers that pass each notice on to the ranks; the former handlers come back at the end."""

    def forward(number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        insists = received is signal.SIGINT and watch.notice is signal.SIGINT
        watch.notice = received
        _signal_all(watch, signal.SIGKILL if insists else _FORWARDED[received])

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fork(target: Target, context: RankContext, watch: _Watch) -> ForkProcess:
    num_cores = len(os.sched_getaffinity(0))
    default_threads = 1 if context.world_size > 1 else num_cores
    surroundings = RankProcess(
        parent_pid=os.getpid(),
        num_threads=int(os.environ.get("OMP_NUM_THREADS", default_threads)),
        forwarded=frozenset(_FORWARDED),
        stop=watch.stop,
        log=watch.logs.get(context.rank),
        record=watch.records[context.rank],
    )
    process = get_context("fork").Process(target=run_rank, args=(target, context, surroundings))
    with warnings.catch_warnings():
        # Python >= 3.12 warns of threads at a fork: numpy's pool, which handles forks, and progress
        # bars, not used after.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


def _wait(watch: _Watch, grace_seconds: float, timeout_seconds: float | None) -> None:
    """Waits until no rank is left; ends the others once one has failed or time is up."""
    give_up_at = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    while watch.processes:
        deadline = watch.kill_at or watch.end_at or give_up_at
        for rank in _ended_ranks(watch, deadline - time.monotonic()):
            _take_note(watch, _reap(watch, rank))
        now = time.monotonic()
        if now >= (watch.kill_at or math.inf):
            _kill(watch)
        elif watch.kill_at is None and now >= (watch.end_at or math.inf):
            watch.kill_at = now + grace_seconds
            if watch.notice is None:
                _signal_all(watch, signal.SIGTERM)
            # One that was stopped, which is why the others have failed, hears of nothing before.
            _signal_all(watch, signal.SIGCONT)
        elif watch.kill_at is None and now >= give_up_at:
            _give_up(watch, now)


def _take_note(watch: _Watch, failure: RankFailure | None) -> None:
    """Keeps the failure and sets the time when the other ranks are told to end."""
    if failure is None:
        return
    watch.failures.append(failure)
    if failure.kind == "stopped":
        return
    now = time.monotonic()
    end_at = now + _SETTLE_SECONDS if is_consequence(failure) else now
    watch.end_at = min(watch.end_at or end_at, end_at)


def _ended_ranks(watch: _Watch, wait_seconds: float) -> list[int]:
    """Ranks that have ended; waits for one, but no longer than `wait_seconds` and _POLL_SECONDS."""
    sentinels = [process.sentinel for process in watch.processes.values()]
    connection.wait(sentinels, max(0.0, min(wait_seconds, _POLL_SECONDS)))
    return [rank for rank, process in watch.processes.items() if process.exitcode is not None]


def _reap(watch: _Watch, rank: int) -> RankFailure | None:
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
    if watch.notice is not None and number in (_FORWARDED[watch.notice], signal.SIGKILL):
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


def _tail(watch: _Watch, rank: int) -> str:
    """The last lines of a rank's log; empty for rank 0, whose output is on the screen."""
    if rank not in watch.logs:
        return ""
    lines = read_from_start(watch.logs[rank]).decode(errors="replace").splitlines()
    return "".join(f"\n  | {line}" for line in lines[-_TAIL_LINES:])


def _give_up(watch: _Watch, now: float) -> None:
    """Time is up: stacks, then the end."""
    _signal_all(watch, STACKS_SIGNAL)
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


def _signal_all(watch: _Watch, number: signal.Signals) -> None:
    for process in list(watch.processes.values()):
        if process.exitcode is None and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _kill(watch: _Watch) -> None:
    """Ends and reaps whatever still runs."""
    _signal_all(watch, signal.SIGKILL)
    while watch.processes:
        _, process = watch.processes.popitem()
        process.join()
