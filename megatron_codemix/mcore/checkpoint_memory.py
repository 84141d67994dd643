"""The memory that a rank shares with the process that writes its checkpoints."""

import logging
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.registered_memory import RegisteredMemory

_ALIGNMENT = 64
_TRIED_BYTES = 1 << 20
"""Of each tensor, at its end."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Of a tensor in the memory."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class SharedMemory:
    """It grows with what is put there, and its file can be mapped by forked processes.

    Where the device can, it copies by itself and all copies are waited for together. The first
    ones, whose ends are compared with what an ordinary copy gives, decide whether that is trusted.
    """

    def __init__(self, backend: Backend | None) -> None:
        """backend: whose device has the tensors; None: they are copied in the ordinary way."""
        self.file = os.memfd_create("codemix-checkpoint")
        self._backend = backend
        self._mapping: mmap.mmap | None = None
        self._registered: RegisteredMemory | None = None
        self._is_trusted = False

    @property
    def num_bytes(self) -> int:
        return len(self._mapping or b"")

    def put(self, tensors: Sequence[torch.Tensor]) -> list[Place]:
        """Copies them over what was there. They may be changed as soon as this returns."""
        places, end = [], 0
        for tensor in tensors:
            places.append(Place(end, tuple(tensor.shape), tensor.dtype))
            end += _room(tensor)
        if end > self.num_bytes:
            self._grow(end)
        views = [tensor_at(self._mapping, place) for place in places]
        if self._registered is None or not self._copied_by_device(views, tensors):
            for view, tensor in zip(views, tensors, strict=True):
                view.copy_(tensor)
        return places

    def close(self) -> None:
        self._release()
        os.close(self.file)

    def _grow(self, num_bytes: int) -> None:
        self._release()
        os.ftruncate(self.file, num_bytes)
        self._mapping = mapped(self.file, num_bytes)
        if self._backend is not None:
            self._registered = self._backend.register_host(self._mapping)
            self._is_trusted = False
            if self._registered is None:
                self._backend = None  # told once

    def _copied_by_device(
        self, views: Sequence[torch.Tensor], tensors: Sequence[torch.Tensor]
    ) -> bool:
        """False where that is not known; and never again where not all has arrived."""
        assert self._backend is not None
        try:
            for view, tensor in zip(views, tensors, strict=True):
                view.copy_(tensor, non_blocking=True)
        finally:  # nothing may be on its way to memory that is unmapped
            self._backend.wait()
        if self._is_trusted:
            return True
        tried = [_has_arrived(view, tensor) for view, tensor in zip(views, tensors, strict=True)]
        self._is_trusted = True in tried and False not in tried
        if False in tried:
            log.warning(
                "what %s has copied to pinned memory is not what it holds: saves copy in the "
                "ordinary way, which takes longer",
                self._backend.device_name,
            )
            self._release()
            self._backend = None
        return self._is_trusted

    def _release(self) -> None:
        if self._registered is not None:
            self._registered.release()
            self._registered = None


def mapped(file: int, num_bytes: int) -> mmap.mmap:
    return mmap.mmap(file, num_bytes, flags=mmap.MAP_SHARED)


def tensor_at(memory: mmap.mmap | None, place: Place) -> torch.Tensor:
    """A view of the memory, which stays mapped as long as it is there."""
    count = torch.Size(place.shape).numel()
    if count == 0:
        return torch.empty(place.shape, dtype=place.dtype)
    assert memory is not None, place
    flat = torch.frombuffer(memory, dtype=place.dtype, count=count, offset=place.offset)
    return flat.view(place.shape)


def bits_of(tensor: torch.Tensor) -> torch.Tensor:
    """Numbers that are no numbers equal themselves by them too."""
    return tensor.contiguous().view(-1).view(torch.uint8)


def _room(tensor: torch.Tensor) -> int:
    """Bytes that it takes."""
    size = max(1, tensor.numel() * tensor.element_size())
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _has_arrived(view: torch.Tensor, tensor: torch.Tensor) -> bool | None:
    """By its end, which is copied last. None, not tried: one with gaps, which would take a copy on
    the device, and one of a library's own kind, such as Transformer Engine's in FP8."""
    plain = tensor.detach()
    if type(plain) is not torch.Tensor or not plain.is_contiguous():
        return None
    count = max(1, _TRIED_BYTES // plain.element_size())
    end = plain.view(-1)[-count:].cpu()
    return torch.equal(bits_of(view.view(-1)[-count:]), bits_of(end))
