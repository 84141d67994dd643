"""When the next request may be sent: so many a minute, and none while the endpoint asks to wait."""

import threading
import time


class Pace:
    """Shared by the threads that send requests."""

    def __init__(self, requests_per_minute: float | None, stop: threading.Event) -> None:
        self._interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self._stop = stop
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait(self) -> bool:
        """Waits for this request's turn; False if there is none because of a stop."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        return not self._stop.wait(max(0.0, turn - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Lets nobody else's turn come for so long. Turns that were given out are kept."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
