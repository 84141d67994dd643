"""What the rest of the program may ask of the hardware, on a CPU and on NVIDIA GPUs."""

import contextlib
import math
import mmap
import os
import resource
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from megatron_codemix.backend.environment import ONE_CONNECTION, DeviceChoice
from megatron_codemix.backend.graphs import RecordedGraph, own_stream, record_graph
from megatron_codemix.backend.host import keep_freed_memory, matrix_product_flops
from megatron_codemix.backend.host_copies import HostCopy, OnHost, ToPinned
from megatron_codemix.backend.registered_memory import RegisteredMemory, register
from megatron_codemix.errors import UnavailableError

_CACHE_LINE_BYTES = 64
_GPU_PEAK_FLOPS = {
    "H200": {"fp32": 67e12, "bf16": 989e12},
    "H100 PCIe": {"fp32": 51e12, "bf16": 756e12},
    "H100": {"fp32": 67e12, "bf16": 989e12},
    "A100": {"fp32": 19.5e12, "bf16": 312e12},
}
"""Part of the device's name -> NVIDIA's data sheet, without sparsity; the first that fits."""


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """Of a device that has its own, as it is now."""

    free_bytes: int
    """What nobody holds: this process, others, or CUDA itself."""
    total_bytes: int
    reserved_bytes: int
    """What this process's allocator holds."""
    peak_allocated_bytes: int
    """Of this process's tensors since it started, and of its CUDA graphs."""

    @property
    def unused_bytes(self) -> int:
        """What the allocator holds and nothing has ever filled."""
        return max(0, self.reserved_bytes - self.peak_allocated_bytes)


class Backend(Protocol):
    """What the rest of the program may ask of the hardware."""

    @property
    def name(self) -> Literal["cpu", "cuda"]: ...

    @property
    def collectives(self) -> Literal["gloo", "nccl"]: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def device_name(self) -> str:
        """What the device calls itself."""

    def prepare(self) -> None:
        """Sets up this process for the device, once, before any tensor is made."""

    def allocate_host(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Host memory, of any content, from which copies to the device are fast. It starts at a
        multiple of 64 bytes."""

    @property
    def steps_ahead(self) -> int:
        """Steps of training that may be asked of the device before the result of an earlier one is
        read, so that it never waits for the host."""

    def copy_to_host(self, tensor: torch.Tensor) -> HostCopy:
        """Asks for a copy, and does not wait for it."""

    def register_host(self, memory: mmap.mmap) -> RegisteredMemory | None:
        """Lets the device copy by itself to host memory that was mapped elsewhere; such copies have
        arrived after `wait`. None where that is of no use, or not possible, which the log tells."""

    @property
    def has_profiler(self) -> bool:
        """Whether anybody may look for what `profiled_as` names."""

    def profiled_as(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Names what is done meanwhile in the device's profiler."""

    def recordable(self) -> contextlib.AbstractContextManager[None]:
        """While entered, work of the device goes where `record` can record it. Raises
        UnavailableError where there is no such place."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Takes down what `work` asks of the device, which does none of it; what comes back asks
        for all of it at once, on the same memory. To be called in `recordable`.

        work: has been done before, so that nothing is used for the first time. Raises
        UnavailableError where a part of it cannot be recorded.
        """

    def wait(self) -> None:
        """Until the device has done all that was asked of it."""

    def peak_memory_bytes(self) -> int:
        """Largest memory used by this process since it started."""

    def memory(self) -> DeviceMemory | None:
        """None where the device has no memory of its own."""

    def peak_flops(self, precision: Literal["fp32", "bf16"]) -> float | None:
        """Operations a second of one process at best, in this number format; None where it is not
        known."""


class CpuBackend:
    """Host processors with gloo; megatron-core runs through `megatron_on_cpu`."""

    name: Literal["cpu"] = "cpu"
    collectives: Literal["gloo"] = "gloo"
    device = torch.device("cpu")
    device_name = "CPU"
    steps_ahead = 0
    has_profiler = False

    def prepare(self) -> None:
        """One thread for each rank unless OMP_NUM_THREADS says otherwise, and memory that is kept
        rather than returned to the kernel: fresh pages for every logits tensor cost about a fifth
        of a small model's step."""
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        keep_freed_memory()

    def allocate_host(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Aligned by hand: numpy starts at a multiple of 16, and a vector store over two cache
        lines costs twice."""
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        memory = np.empty(num_bytes + _CACHE_LINE_BYTES, np.uint8)
        start = -memory.ctypes.data % _CACHE_LINE_BYTES
        return memory[start : start + num_bytes].view(dtype).reshape(shape)

    def copy_to_host(self, tensor: torch.Tensor) -> HostCopy:
        """The tensor itself."""
        return OnHost(tensor)

    def register_host(self, memory: mmap.mmap) -> RegisteredMemory | None:
        """Of no use."""
        return None

    def profiled_as(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Nothing: no profiler looks for it."""
        return contextlib.nullcontext()

    def recordable(self) -> contextlib.AbstractContextManager[None]:
        """There is no such place."""
        raise UnavailableError(
            "backend.cuda_graphs: records what a GPU does, and this run is on a CPU; leave it out, "
            "or run on a GPU"
        )

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Not without `recordable`."""
        raise AssertionError("nothing is recordable on a CPU")

    def wait(self) -> None:
        """Each call has done its work when it returns."""

    def peak_memory_bytes(self) -> int:
        """Peak resident set."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def memory(self) -> DeviceMemory | None:
        """The host's, which is the launcher's affair."""
        return None

    def peak_flops(self, precision: Literal["fp32", "bf16"]) -> float | None:
        """Measured with one matrix product that fits the cache, the best of some 50 ms."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        return matrix_product_flops(dtype)


class CudaBackend:
    """NVIDIA GPUs with NCCL, one for each process."""

    name: Literal["cuda"] = "cuda"
    collectives: Literal["nccl"] = "nccl"
    # With one, the next step is queued before the last one is waited for. More would only make the
    # answers to bad losses and to requests to stop come later.
    steps_ahead = 1
    has_profiler = True

    def __init__(self, local_rank: int) -> None:
        self.device = torch.device("cuda", local_rank)
        self._recorded: weakref.WeakSet[RecordedGraph] = weakref.WeakSet()
        """Those that are still there."""

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device)

    def prepare(self) -> None:
        """Binds the process to its GPU. NCCL_GRAPH_REGISTER=0 keeps NCCL from registering the
        memory of CUDA graphs, which goes wrong where segments grow (`gpu_settings`;
        pytorch/pytorch#158029). Products of fp32 numbers are of fp32, whatever torch has read of
        `TF32_OVERRIDE` before; this call alone sets both of torch's switches for that, and torch
        raises where they differ. Convolutions, which have one more, there are none."""
        os.environ.setdefault(*ONE_CONNECTION)
        os.environ.setdefault("NCCL_GRAPH_REGISTER", "0")
        torch.set_float32_matmul_precision("highest")
        torch.cuda.set_device(self.device)

    def allocate_host(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Pinned: the GPU reads it by itself, while the process goes on."""
        torch_dtype = torch.from_numpy(np.empty(0, dtype)).dtype
        array: npt.NDArray[Any] = torch.empty(shape, dtype=torch_dtype, pin_memory=True).numpy()
        return array

    def copy_to_host(self, tensor: torch.Tensor) -> HostCopy:
        return ToPinned(tensor)

    def register_host(self, memory: mmap.mmap) -> RegisteredMemory | None:
        """Takes about the time of writing all of it once, if nobody has yet."""
        return register(memory, self.device)

    def profiled_as(self, name: str) -> contextlib.AbstractContextManager[None]:
        """A range of NVTX: about a microsecond, and no more where nobody profiles."""
        named: contextlib.AbstractContextManager[None] = torch.cuda.nvtx.range(name)
        return named

    def recordable(self) -> contextlib.AbstractContextManager[None]:
        """A stream of its own."""
        return own_stream(self.device)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """As a CUDA graph, which keeps memory of its own."""
        recorded = record_graph(work)
        self._recorded.add(recorded)
        return recorded

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)

    def peak_memory_bytes(self) -> int:
        """Of tensors, and what graphs keep, which no tensor fills: where a graph is recorded, steps
        without it follow, whose tensors are beside it."""
        own = sum(recorded.own_bytes for recorded in self._recorded)
        return int(torch.cuda.max_memory_allocated(self.device)) + own

    def memory(self) -> DeviceMemory | None:
        free, total = torch.cuda.mem_get_info(self.device)
        return DeviceMemory(
            free_bytes=free,
            total_bytes=total,
            reserved_bytes=torch.cuda.memory_reserved(self.device),
            peak_allocated_bytes=self.peak_memory_bytes(),
        )

    def peak_flops(self, precision: Literal["fp32", "bf16"]) -> float | None:
        """Of the data sheet, dense. fp32 products run in full precision, without tensor cores."""
        known = (peaks for part, peaks in _GPU_PEAK_FLOPS.items() if part in self.device_name)
        peaks = next(known, None)
        return None if peaks is None else peaks[precision]


def compute_capability(device: torch.device) -> tuple[int, int] | None:
    """Of a GPU; None of a CPU."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


def goes_into_graph() -> bool:
    """Whether what is asked of a GPU now is recorded in a graph, to be done later and again."""
    return torch.cuda.is_current_stream_capturing()


def select_backend(device: DeviceChoice, local_rank: int = 0) -> Backend:
    """The back end for `device`; `auto` takes CUDA where PyTorch finds a GPU.

    Raises UnavailableError if CUDA is asked for and is not there, or has fewer devices than ranks.
    """
    if device == "cpu" and torch.cuda.is_available():
        # megatron-core asks torch.cuda directly; on a machine with a GPU it would take it.
        raise UnavailableError(
            "backend.device: cpu on a machine with a GPU: hide the GPU from the process with "
            "CUDA_VISIBLE_DEVICES= "
        )
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return CpuBackend()
    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA at all"
        raise UnavailableError(
            f"backend.device: cuda, but PyTorch {torch.__version__} (built with {built}) finds no "
            "GPU; "
            "check nvidia-smi and the installed torch, or set backend.device=cpu"
        )
    if local_rank >= torch.cuda.device_count():
        raise UnavailableError(
            f"rank {local_rank} of this node has no GPU of its own: {torch.cuda.device_count()} "
            "are visible; "
            "start as many ranks on a node as it has GPUs"
        )
    return CudaBackend(local_rank)
