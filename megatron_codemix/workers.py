"""Several processes that each take whole tasks: no document goes from one to another."""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from megatron_codemix.errors import CodemixError, UnavailableError
from megatron_codemix.processes import die_with

Advance = Callable[[int], None]
_Task = TypeVar("_Task")
_AnyTask = TypeVar("_AnyTask", contravariant=True)


class Job(Protocol[_AnyTask]):
    """What is done with tasks; picklable until it is loaded, and so are its tasks.

    A task leaves its work whole or absent: its process may end at any instruction.
    """

    def load(self) -> None:
        """Loads what every process needs."""

    def run(self, task: _AnyTask, advance: Advance) -> None:
        """Does a task; `advance` is told of bytes read."""


def run_tasks(job: Job[_Task], tasks: Sequence[_Task], num_workers: int, advance: Advance) -> None:
    """Runs the tasks, in their order, here where one worker is enough. `advance` is told of bytes
    read.

    Raises what a task raises; the other workers are stopped then. UnavailableError: a worker died.
    """
    num_workers = min(num_workers, len(tasks))
    if not tasks:
        return
    if num_workers == 1:
        job.load()
        for task in tasks:
            job.run(task, advance)
        return
    is_forked = _has_one_thread()
    if is_forked:
        job.load()
    context = multiprocessing.get_context("fork" if is_forked else "spawn")
    todo = deque(tasks)
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(num_workers):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(  # type: ignore[attr-defined] # of both contexts
                target=_work, args=(theirs, job if is_forked else None, os.getpid()), daemon=True
            )
            process.start()
            theirs.close()  # else its end would not be seen here
            workers[ours] = process
            if not is_forked:
                _send(ours, job)
            _send(ours, todo.popleft())
        while workers:
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)
                _listen(ready, workers, todo, advance)
    finally:
        for process in workers.values():
            process.terminate()
            process.join()


def _has_one_thread() -> bool:
    """Whether a fork leaves nothing half done: then each worker costs 0.2 s of processor time, one
    that is started anew 1 s, for Python, its modules and the tokenizers. False where a progress bar
    on a terminal has its thread."""
    return len(os.listdir("/proc/self/task")) == 1


def _send(connection: Connection, message: object) -> None:
    with contextlib.suppress(ConnectionError):  # the worker has ended, which _listen will tell
        connection.send(message)


def _listen(
    connection: Connection,
    workers: dict[Connection, BaseProcess],
    todo: deque[_Task],
    advance: Advance,
) -> None:
    try:
        message = connection.recv()
    except (EOFError, ConnectionError):
        workers[connection].join()
        code = workers[connection].exitcode
        raise UnavailableError(
            f"a worker ended before its task did (exit code {code}; -9 is often a lack of "
            "memory); run the same command again, with fewer workers if need be. A script of your "
            'own must call this below `if __name__ == "__main__":`, since workers import the script'
        ) from None
    if isinstance(message, BaseException):
        raise message
    if message is not None:
        advance(message)
    elif todo:
        connection.send(todo.popleft())
    else:
        connection.send(None)
        workers.pop(connection).join()
        connection.close()


def _work(connection: Connection, forked_job: Job[Any] | None, parent_pid: int) -> None:
    """A worker: takes a task, tells of bytes read, then None; until the task is None. One that is
    started anew takes its job first, which in its arguments could fill a pipe that nobody reads."""
    # It may end at any instruction, and does when its parent dies.
    die_with(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Each process is one thread: a pool of `tokenizers` would take every core in each.
    os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    try:
        job: Job[Any] = forked_job or connection.recv()  # Any: whatever its tasks are
        if forked_job is None:
            job.load()
        while (task := connection.recv()) is not None:
            job.run(task, connection.send)
            connection.send(None)
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except (CodemixError, OSError) as error:
        connection.send(error)
