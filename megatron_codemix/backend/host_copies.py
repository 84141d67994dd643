"""Tensors of a device on their way to the host."""

from typing import Protocol

import torch


class HostCopy(Protocol):
    """A tensor of the device on its way to the host."""

    def read(self) -> torch.Tensor:
        """Its values, once the device has come so far; later work of the device goes on."""


class OnHost:
    """What is there already."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def read(self) -> torch.Tensor:
        return self._tensor


class ToPinned:
    """A copy to pinned memory, which CUDA makes in its turn among the work of the stream; the event
    behind it is all that is waited for."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._copy.copy_(tensor, non_blocking=True)
        self._is_done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._is_done.record()

    def read(self) -> torch.Tensor:
        self._is_done.synchronize()
        return self._copy
