"""Asked to stop: signals become a flag, and all ranks agree on the step after which they stop."""

import signal
from types import FrameType, TracebackType

import torch
import torch.distributed

from megatron_codemix.backend.devices import Backend

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequests:
    """While entered, SIGTERM, SIGUSR1 and SIGINT set a flag instead of ending the process."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequests":
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned

    def agreed(self) -> bool:
        """Whether any rank was asked to stop; every rank gets the same answer. Every rank calls it,
        once a step."""
        flag = torch.tensor(int(self.received is not None), device=self.backend.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number
