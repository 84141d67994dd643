"""Host memory that another process shares, for copies that the GPU makes by itself: from pageable
memory CUDA copies piece by piece through a buffer of its own, and the process waits for each."""

import contextlib
import logging
import mmap
from typing import Protocol

import torch

_PORTABLE = 1
"""cudaHostRegisterPortable: pinned for all of the process's contexts, as torch pins memory."""

log = logging.getLogger(__name__)


class RegisteredMemory(Protocol):
    """Host memory that the device copies to by itself, while the process goes on."""

    def release(self) -> None:
        """Before the memory is unmapped, and when no copy is on its way. Does not raise."""


class ByCuda:
    """Pinned by cudaHostRegister, of which a fork has no part: it sees the pages, which are shared,
    and must not use CUDA."""

    def __init__(self, address: int, device: torch.device) -> None:
        self._address, self._device = address, device

    def release(self) -> None:
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        code = runtime.cudaHostUnregister(self._address)
        if int(code) != 0:
            _forget_error(self._device)
            log.warning("CUDA keeps host memory pinned: %s", runtime.cudaGetErrorString(code))


def register(memory: mmap.mmap, device: torch.device) -> ByCuda | None:
    """None, with a word in the log, where CUDA will not: what is copied there takes longer."""
    address = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    code = runtime.cudaHostRegister(address, len(memory), _PORTABLE)
    if int(code) == 0:
        return ByCuda(address, device)
    _forget_error(device)
    log.warning(
        "CUDA cannot pin the %.2f GB that checkpoints are copied to (%s): each save takes longer",
        len(memory) / 1e9,
        runtime.cudaGetErrorString(code),
    )
    return None


def _forget_error(device: torch.device) -> None:
    """CUDA keeps the error of a call for who asks next, which is torch after its next kernel
    (pytorch/pytorch#167414); that is to be this one. An error that lasts comes again."""
    with contextlib.suppress(RuntimeError):
        torch.full((1,), 1.0, device=device)
