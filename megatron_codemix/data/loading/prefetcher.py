"""The next batches, prepared in the background while the present one is used."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Job = TypeVar("Job")
Buffer = TypeVar("Buffer")


class Prefetcher(Generic[Job, Buffer]):
    """One thread that fills a ring of buffers, each for one job, in the order of the jobs.

    What `take` returns is the consumer's until its next call of `take`, or the one after so many
    more: a loop that needs several batches at once, as a pipeline's schedule does, asks for them as
    one job. An exception in the thread is raised, as it is, by the call that would have returned
    that job, and closes it.

    Enter it or call `close`. If neither happens, the interpreter still ends: the thread does no
    more than the jobs that it was given, `depth` at most.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        fill: Callable[[Job, Buffer], None],
        allocate: Callable[[], Buffer],
        *,
        depth: int,
        kept: int = 0,
    ) -> None:
        """Starts at once. fill: called in the thread. allocate: called here, depth + kept + 1
        times. kept: buffers that stay the consumer's besides the last, as a GPU may still read
        them."""
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._jobs = iter(jobs)
        self._fill = fill
        # Not a thread of our own: the interpreter waits for an executor's jobs before it takes
        # itself apart. A daemon thread that comes back from C++ after that ends the process.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetcher")
        self._waiting: deque[tuple[Future[None], Buffer]] = deque()
        for _ in range(depth):
            self._start_next(allocate())
        self._taken = deque(allocate() for _ in range(kept + 1))

    def take(self) -> Buffer:
        """The next job's buffer; what the call `kept` before the last returned may be overwritten
        from now on.

        Raises StopIteration after the last job.
        """
        self._start_next(self._taken.popleft())
        if not self._waiting:
            raise StopIteration
        future, buffer = self._waiting.popleft()
        try:
            future.result()
        except BaseException:
            self.close()
            raise
        self._taken.append(buffer)
        return buffer

    def close(self) -> None:
        """Ends the thread after the job that it is at."""
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> "Prefetcher[Job, Buffer]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start_next(self, buffer: Buffer) -> None:
        for job in self._jobs:
            self._waiting.append((self._thread.submit(self._fill, job, buffer), buffer))
            return
