"""Starts ranks on this machine: imports once, forks, forwards signals, keeps the exit code.

torchrun turns every exit code into 1 and leaves its workers behind when it dies of a signal, and
each of its workers imports torch anew. Here the parent imports once and forks, the ranks die with
the parent whatever ends it, and what the ranks say by their exit code (wrong input, try again, bug)
reaches the caller.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

from megatron_codemix.errors import EXIT_DONE, PreemptedError
from megatron_codemix.launch.crowding import warn_of_crowding
from megatron_codemix.launch.failures import cause_of, describe, log_path
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.rank_process import RankProcess, Target, run_rank
from megatron_codemix.launch.rank_watch import (
    FORWARDED,
    Watch,
    kill_ranks,
    signal_all,
    wait_for_ranks,
)
from megatron_codemix.stops import remembered_stop


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
    kills. One that comes while ranks are still being started ends at once those that there are: no
    rank can have begun without the others. A request to stop that this process remembers from
    before (`stops.py`) is one to its ranks.

    Rank 0 has this process's stdout and stderr, rank k writes to `log_folder`/rank<k>.log, or to a
    file without a name, so that a kill of this process leaves nothing behind. After
    `timeout_seconds` each rank writes the stacks of its threads to stderr and is killed; that
    counts as 75. OpenMP has one thread a rank if there are several, else all cores, unless
    OMP_NUM_THREADS says otherwise. Many ranks a core are warned of, on stderr (`crowding.py`). For
    the main thread only.

    Raises PreemptedError where that notice came before the last rank was started.
    """
    assert num_ranks >= 1, num_ranks
    warn_of_crowding(num_ranks)
    with contextlib.ExitStack() as stack:
        watch = Watch(stop=remembered_stop())
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
        for rank in range(num_ranks):
            watch.records[rank] = _closed_by(stack, os.memfd_create(f"rank{rank}"))
            if rank > 0:
                watch.logs[rank] = _closed_by(stack, _open_log(log_folder, rank))
        if prepare is not None:
            prepare()
        port = stack.enter_context(_reserve_port()).getsockname()[1]
        stack.callback(kill_ranks, watch)
        gc.freeze()  # or the first collection of each rank would copy what was imported
        stack.callback(gc.unfreeze)
        with _signals_held_back():
            stack.enter_context(_forwarding(watch))
            _start(target, num_ranks, port, watch)
        num_started = len(watch.processes)
        if num_started == num_ranks:
            wait_for_ranks(watch, grace_seconds, timeout_seconds)
    if num_started < num_ranks:
        assert watch.notice is not None, num_started
        raise PreemptedError(
            f"stopped by {watch.notice.name} when {num_started} of {num_ranks} ranks were started; "
            "run the same command again"
        )
    if not watch.failures:
        return EXIT_DONE
    cause = cause_of(watch.failures)
    with contextlib.suppress(OSError):  # on a full disk, which may be the cause itself
        sys.stdout.flush()
        sys.stderr.write(describe(cause, num_ranks, log_folder))
    return cause.exit_code


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
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _forwarding(watch: Watch) -> Iterator[None]:
    """Handlers that pass each notice on to the ranks; the former handlers come back at the end."""

    def forward(number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        insists = received is signal.SIGINT and watch.notice is signal.SIGINT
        watch.notice = received
        signal_all(watch, signal.SIGKILL if insists else FORWARDED[received])

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(target: Target, num_ranks: int, port: int, watch: Watch) -> None:
    """All ranks, or those before a notice: a thousand take minutes."""
    for rank in range(num_ranks):
        if _is_stop_asked(watch):
            return
        context = RankContext(
            rank=rank,
            world_size=num_ranks,
            local_rank=rank,
            init_method=f"tcp://127.0.0.1:{port}",
        )
        watch.processes[rank] = _fork(target, context, watch)


def _is_stop_asked(watch: Watch) -> bool:
    """Whether a notice has come, though this thread holds it back: it waits, or another thread took
    it and our handler has run."""
    return watch.notice is not None or not FORWARDED.keys().isdisjoint(signal.sigpending())


def _fork(target: Target, context: RankContext, watch: Watch) -> ForkProcess:
    num_cores = len(os.sched_getaffinity(0))
    default_threads = 1 if context.world_size > 1 else num_cores
    surroundings = RankProcess(
        parent_pid=os.getpid(),
        num_threads=int(os.environ.get("OMP_NUM_THREADS", default_threads)),
        forwarded=frozenset(FORWARDED),
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
