"""megatron-core's timers as ranges of the device's profiler."""

import contextlib
from typing import Self

from megatron_codemix.backend.devices import Backend


class RangeTimers:
    """What megatron-core starts and stops around forward and backward passes, messages between
    stages and the reduction of gradients; each ends before the one that it began in."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._name = ""
        self._open: list[contextlib.AbstractContextManager[None]] = []

    def __call__(self, name: str, log_level: int | None = None) -> Self:
        """To be started or stopped at once."""
        self._name = name
        return self

    def start(self, barrier: bool = False) -> None:
        """barrier: megatron-core's wish to wait for the other ranks, for exact times; not heard."""
        entered = self._backend.profiled_as(self._name)
        entered.__enter__()
        self._open.append(entered)

    def stop(self, barrier: bool = False) -> None:
        self._open.pop().__exit__(None, None, None)
