"""Steps that a device was asked for and whose results have not been read."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from megatron_codemix.mcore.step import LaunchedStep
from megatron_codemix.train.reporting import FinishedStep


@dataclass(frozen=True, kw_only=True)
class _Step:
    number: int
    learning_rate: float
    waited_seconds: float
    launched: LaunchedStep


class StepsInFlight:
    """Reads results in the order of the steps, each when `steps_ahead` later steps were launched.

    A GPU that has the next step waiting never waits for the host. With 0, as on a CPU, each result
    is read at once.
    """

    def __init__(self, steps_ahead: int, take: Callable[[FinishedStep], None]) -> None:
        """take: is given each step that has ended, and may raise."""
        self.steps_ahead, self._take = steps_ahead, take
        self._steps: deque[_Step] = deque()
        self._since = 0.0

    @property
    def oldest(self) -> int | None:
        """Number of the first step whose result is awaited."""
        return self._steps[0].number if self._steps else None

    def begin(self) -> None:
        """The host begins to prepare a step: from here its time is counted, or, where others are
        in flight, from the end of the one before it."""
        if not self._steps:
            self._since = time.perf_counter()

    def add(
        self, launched: LaunchedStep, *, number: int, learning_rate: float, waited_seconds: float
    ) -> None:
        """A step that was launched; reads the oldest where there are too many."""
        self._steps.append(
            _Step(
                number=number,
                learning_rate=learning_rate,
                waited_seconds=waited_seconds,
                launched=launched,
            )
        )
        while len(self._steps) > self.steps_ahead:
            self._finish_oldest()

    def finish(self) -> None:
        """Reads all. To be called before anything that must not see the state after a bad step."""
        while self._steps:
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        step = self._steps.popleft()
        result = step.launched.result()
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self._take(
            FinishedStep(
                number=step.number,
                result=result,
                learning_rate=step.learning_rate,
                seconds=seconds,
                waited_seconds=step.waited_seconds,
            )
        )
