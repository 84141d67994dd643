"""What a benchmark asks of the device: moments, memory, and which card it is. To be used once
megatron-core is loaded, which on a CPU gives `torch.cuda` its meaning there (`megatron_on_cpu`)."""

import gc
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from megatron_codemix.backend.devices import Backend, compute_capability, select_backend
from megatron_codemix.backend.environment import GPU

_DRIVER_FILE = Path("/proc/driver/nvidia/version")


class Stopwatch:
    """Moments in the order of the device's work, which nobody waits for until they are read."""

    def __init__(self) -> None:
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        """Now: once the device has done what was asked of it before."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
        event.record()
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Between one mark and the next; waits for the last."""
        if self._events:
            self._events[-1].synchronize()
        pairs = itertools.pairwise(self._events)
        return [1e-3 * earlier.elapsed_time(later) for earlier, later in pairs]


def give_memory_back(backend: Backend) -> None:
    """What no tensor needs goes back to the device."""
    gc.collect()
    torch.cuda.empty_cache()
    backend.wait()


def held_bytes(backend: Backend) -> int:
    """Of this process's tensors on a GPU; 0 on a CPU, where nobody counts them."""
    return 0 if backend.name == "cpu" else int(torch.cuda.memory_allocated(backend.device))


def restart_peak(backend: Backend) -> None:
    """The peak that `peak_bytes` tells of begins here."""
    if backend.name != "cpu":
        torch.cuda.reset_peak_memory_stats(backend.device)


class Peak(NamedTuple):
    """The most bytes at once."""

    allocated: int
    """Of tensors, and what CUDA graphs keep for their replays."""
    reserved: int
    """That PyTorch had taken from the device."""


def peak_bytes(backend: Backend) -> Peak | None:
    """Since the last `restart_peak`, of all that this process has there; None on a CPU, where
    nobody counts it."""
    if backend.name == "cpu":
        return None
    reserved = int(torch.cuda.max_memory_reserved(backend.device))
    return Peak(backend.peak_memory_bytes(), reserved)


@dataclass(frozen=True, kw_only=True)
class Card:
    """The GPU of a measurement."""

    name: str
    """As the driver calls it."""
    driver: str
    capability: tuple[int, int]
    memory_bytes: int
    torch: str
    built_with: str | None
    """CUDA of that PyTorch."""


def find_card() -> Card:
    """The first GPU. Raises UnavailableError where PyTorch finds none."""
    device = select_backend(GPU).device
    properties = torch.cuda.get_device_properties(device)
    capability = compute_capability(device)
    assert capability is not None, device
    return Card(
        name=properties.name,
        driver=driver_version(),
        capability=capability,
        memory_bytes=properties.total_memory,
        torch=torch.__version__,
        built_with=torch.version.cuda,
    )


def driver_version(file: Path = _DRIVER_FILE) -> str:
    """Of the kernel's module: `550.54.15`. `unknown` where it does not say."""
    try:
        words = file.read_text(encoding="utf-8").splitlines()[0].split()
    except (OSError, IndexError):
        return "unknown"
    return next((word for word in words if word[0].isdigit() and "." in word), "unknown")
