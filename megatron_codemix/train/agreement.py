"""What ranks must know of one another to stay in step."""

from collections import deque

import torch
import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.host_copies import HostCopy


def any_rank(backend: Backend, *flags: bool) -> list[bool]:
    """For each flag, whether any rank has it set; the same on every rank. Every rank calls it."""
    return _answer(_ask(backend, flags))


class StepFlags:
    """`any_rank` after each step, whose answer comes `steps_ahead` steps later: it is then there,
    and nobody waits for the device."""

    def __init__(self, backend: Backend, steps_ahead: int) -> None:
        self.backend, self.steps_ahead = backend, steps_ahead
        self._asked: deque[HostCopy] = deque()

    def ask(self, *flags: bool) -> list[bool] | None:
        """The answer of so many steps ago; None where that is not known. Every rank calls it."""
        self._asked.append(_ask(self.backend, flags))
        return _answer(self._asked.popleft()) if len(self._asked) > self.steps_ahead else None

    def finish(self) -> list[list[bool]]:
        """The answers that were still to come, those of the last questions; waits for the device.
        Every rank calls it."""
        answers = [_answer(copy) for copy in self._asked]
        self._asked.clear()
        return answers


def _ask(backend: Backend, flags: tuple[bool, ...]) -> HostCopy:
    values = torch.zeros(len(flags), dtype=torch.int64, device=backend.device)
    for number, flag in enumerate(flags):
        if flag:  # a tensor made of numbers would be copied to the device and waited for
            values[number].fill_(1)
    torch.distributed.all_reduce(values, op=torch.distributed.ReduceOp.MAX)
    return backend.copy_to_host(values)


def _answer(copy: HostCopy) -> list[bool]:
    return [bool(value) for value in copy.read().tolist()]
