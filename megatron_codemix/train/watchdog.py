"""Ends a run that hangs: writes the stacks of all threads, and exits so that it is tried again."""

import contextlib
import datetime
import faulthandler
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from megatron_codemix.config.schema import SurvivalConfig
from megatron_codemix.errors import EXIT_RETRY

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LONGEST_STEP_SECONDS = 3600.0
_HEADSTART_SECONDS = 60.0
"""By which the watchdog is ahead of the collectives' own time-out: it asks the ranks for 15 s."""


def longest_step_seconds(survival: SurvivalConfig) -> float:
    """What no step of a run may take longer than, whatever those before it have taken."""
    return max(_LONGEST_STEP_SECONDS, survival.hang_start_seconds, survival.hang_floor_seconds)


def collective_timeout(survival: SurvivalConfig) -> datetime.timedelta:
    """For the collectives of a run: late enough that its watchdog, which says what is missing,
    comes first. NCCL's own ends the process with a signal and names no rank."""
    return datetime.timedelta(seconds=longest_step_seconds(survival) + _HEADSTART_SECONDS)


class Watchdog:
    """While entered, a thread that expects `beat` within a limit learned from the run.

    The limit is `factor` times the longest time between two beats so far, and at least
    `floor_seconds`; for each part of the start (`prepare`), up to the first beat, and from there to
    the second, when everything is used for the first time, it is `start_seconds`. It is never more
    than `most_seconds`. Each rank has its own, so that each leaves its stacks behind.
    """

    def __init__(
        self,
        *,
        factor: float,
        floor_seconds: float,
        start_seconds: float,
        most_seconds: float = math.inf,
        diagnose: Callable[[], str] = lambda: "",
        on_hang: Callable[[str], None],
    ) -> None:
        """diagnose: says why, as far as it knows.
        on_hang: told what has happened, before the process ends with exit code 75."""
        self.factor, self.floor_seconds, self.start_seconds = factor, floor_seconds, start_seconds
        self.most_seconds, self.diagnose, self.on_hang = most_seconds, diagnose, on_hang
        self._longest: float | None = None
        self._beaten = time.monotonic()
        self._what = "the start"
        self._has_started = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def limit_seconds(self) -> float:
        """How long the next beat may take."""
        if self._longest is None:
            return min(self.start_seconds, self.most_seconds)
        return min(max(self.floor_seconds, self.factor * self._longest), self.most_seconds)

    def prepare(self, what: str) -> None:
        """`what` comes next, before the first beat: how long it takes says nothing of a step."""
        assert not self._has_started, what
        self._beaten, self._what = time.monotonic(), what

    def beat(self, what: str) -> None:
        """The run is alive; `what` it does next."""
        now = time.monotonic()
        if self._has_started:
            self._longest = max(self._longest or 0.0, now - self._beaten)
        self._beaten, self._what, self._has_started = now, what, True

    def __enter__(self) -> "Watchdog":
        self._beaten = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            silent = time.monotonic() - self._beaten
            if silent > self.limit_seconds:
                self._end(silent)

    def _end(self, silent: float) -> None:
        try:
            reason = self._reason()
            message = (
                f"hangs: {self._what} has taken {silent:.0f} s, more than the limit of "
                f"{self.limit_seconds:.0f} s; {reason + '; ' if reason else ''}the log ends with "
                "the stacks of all threads"
            )
            with contextlib.suppress(OSError):  # a disk that is full must not keep it from others
                _leave_stacks(message)
            self.on_hang(message)
        finally:
            os._exit(EXIT_RETRY)  # what hangs does not listen to an exception

    def _reason(self) -> str:
        try:
            return self.diagnose()
        except Exception as error:  # of whatever kind: to name ranks is less than to end
            return f"why is not known ({type(error).__name__}: {error})"


def _leave_stacks(message: str) -> None:
    log.error("%s", message)
    for handler in logging.getLogger().handlers:
        handler.flush()
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    sys.stderr.flush()
