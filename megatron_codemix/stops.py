"""Asked to stop before there is anything to save: the request is remembered.

By default SIGTERM and SIGUSR1 end a process. A training that is asked while it imports, waits for
other ranks or reads a checkpoint is not to die of that: the loop finds what was remembered
(`train/stopping.py`), and stops in order after its first step, on a GPU after its second.
"""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class RememberedStop:
    """A handler of signals that keeps what has come. Forked processes inherit it, with that."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def listen(self) -> None:
        """From here on it is this process's handler; in the main thread."""
        for number in _SIGNALS:
            signal.signal(number, self)
            # Libraries that wait, such as for other ranks, rarely expect to be interrupted.
            signal.siginterrupt(number, False)


def remembered_stop() -> RememberedStop | None:
    """What remembers for this process; None where a signal would end it, or someone else has taken
    over."""
    handler = signal.getsignal(signal.SIGUSR1)
    return handler if isinstance(handler, RememberedStop) else None


@contextlib.contextmanager
def remembering_stops() -> Iterator[None]:
    """During the block requests are remembered; in the main thread. Within another such block it
    changes nothing."""
    if remembered_stop() is not None:
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    RememberedStop().listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
