"""Asked to stop: signals become a flag."""

import signal
from types import FrameType, TracebackType

from megatron_codemix.stops import remembered_stop

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequests:
    """While entered, SIGTERM, SIGUSR1 and SIGINT are remembered instead of ending the process; what
    was remembered before counts as well."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequests":
        early = remembered_stop()
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._remember)
        if early is not None:  # looked at last: none is lost in between
            self.received = self.received or early.received
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned
        early = remembered_stop()
        if early is not None:  # for the loop that goes back to a checkpoint and begins again
            early.received = self.received or early.received

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number
