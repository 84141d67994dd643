"""Requests of many clients in one batch: what has come while the model was busy is asked together.

The model belongs to the thread that calls `run`, because its ranks talk to each other from there.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
)

MAX_BATCH_REQUESTS = 64
"""A client that comes meanwhile waits for no more than these, or for one larger job."""
_GATHER_SECONDS = 0.01
"""Clients that were answered together ask again together, but not in the same instant."""
_POLL_SECONDS = 0.1


class QueueFull(Exception):  # noqa: N818  # not an error of ours
    """There is no room for more requests now."""


class Closed(Exception):  # noqa: N818  # not an error of ours
    """The model is not asked any more, because of a stop or because it has failed."""


@dataclass(eq=False)
class Job:
    """The requests of one client."""

    requests: Sequence[GenerationRequest]
    is_wanted: Callable[[], bool]
    """Whether the client is still there."""
    found: dict[int, Generation] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> list[Generation]:
        """The generations in the order of the requests. Raises Closed, also where nobody wants
        them any more."""
        self.ended.wait()
        if len(self.found) < len(self.requests):
            raise Closed
        return [self.found[number] for number in range(len(self.requests))]


class Batcher:
    """A queue in front of a model."""

    def __init__(self, model: LanguageModel, *, max_waiting: int) -> None:
        self._model = model
        self.max_waiting = max_waiting
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self.num_batches = 0
        self.num_requests = 0

    @property
    def num_waiting(self) -> int:
        """Requests that no batch has taken yet."""
        with self._changed:
            return sum(len(job.requests) for job in self._waiting)

    def submit(
        self,
        requests: Sequence[GenerationRequest],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Job:
        """Puts requests into the queue. Raises QueueFull or Closed."""
        job = Job(requests, is_wanted)
        with self._changed:
            if self._is_closed:
                raise Closed
            if self.num_waiting + len(requests) > self.max_waiting:
                raise QueueFull
            self._waiting.append(job)
            self._changed.notify()
        return job

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Asks the model until `should_stop()`, which is looked at between batches. Who waits then,
        or when the model raises, gets Closed."""
        jobs: list[Job] = []
        try:
            while not should_stop():
                jobs = self._take()
                if jobs:
                    self._generate(jobs)
        finally:
            with self._changed:
                self._is_closed = True
                left = [*jobs, *self._waiting]
                self._waiting.clear()
            for job in left:
                job.ended.set()

    def _take(self) -> list[Job]:
        """What the next batch is made of; nothing if nobody has come in a while."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, _POLL_SECONDS):
                return []
        time.sleep(_GATHER_SECONDS)
        jobs: list[Job] = []
        num_requests = 0
        with self._changed:
            while self._waiting:
                num_requests += len(self._waiting[0].requests)
                if jobs and num_requests > MAX_BATCH_REQUESTS:
                    break
                jobs.append(self._waiting.popleft())
        wanted = [job for job in jobs if job.is_wanted()]
        for job in set(jobs) - set(wanted):
            job.ended.set()
        return wanted

    def _generate(self, jobs: Sequence[Job]) -> None:
        places = [(job, number) for job in jobs for number in range(len(job.requests))]

        def on_result(index: int, generation: Generation) -> None:
            job, number = places[index]
            job.found[number] = generation
            if len(job.found) == len(job.requests):
                job.ended.set()

        self.num_batches += 1
        self.num_requests += len(places)
        self._model.generate([job.requests[number] for job, number in places], on_result)
