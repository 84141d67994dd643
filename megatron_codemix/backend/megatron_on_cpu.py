"""Gives `torch.cuda` a CPU meaning, so that megatron-core runs unchanged on a CPU with gloo.

megatron-core 0.16.1 has no device layer: it says `torch.cuda.current_device()`, `device="cuda"`,
`tensor.cuda()` and `param.type() == "torch.cuda.BFloat16Tensor"` in some 250 places, several of
them inside the pipeline schedules' bodies, where no extension point reaches. This module answers
exactly those:

1. `CudaMeansCpu`, a `TorchFunctionMode` (the hook that `torch.set_default_device` is built on),
   rewrites device arguments and makes `.cuda()` the identity;
2. a table of `torch.cuda` functions gets CPU answers: no-ops for streams and synchronisation, the
   default generator for the CUDA generator;
3. what gloo would get wrong without a word is refused (`gloo_collectives.py`).

`torch.cuda.is_available()` stays False, so that nothing believes in a GPU. Where there is one,
`install` does nothing.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch.overrides import TorchFunctionMode

from megatron_codemix.backend.gloo_collectives import mend_collectives

CPU = torch.device("cpu")

_installed = False
_stand_in = CPU
"""What CUDA's device stands for."""


class CudaMeansCpu(TorchFunctionMode):
    """Rewrites what torch functions are told about CUDA."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        if kwargs:
            if _names_cuda(kwargs.get("device")):
                kwargs = {**kwargs, "device": _stand_in}
            if kwargs.get("pin_memory"):
                kwargs = {**kwargs, "pin_memory": False}
            return func(*args, **kwargs)
        if func is torch.Tensor.type and len(args) == 1:
            # the optimizer sorts parameters by this string and knows only the CUDA names
            return func(*args).replace(".meta", "").replace("torch.", "torch.cuda.", 1)
        if func is torch.Tensor.to and len(args) > 1 and _names_cuda(args[1]):
            args = (args[0], _stand_in, *args[2:])
        if func in (torch.Tensor.pin_memory, torch.Tensor.record_stream):
            return args[0]
        return func(*args)


def direct_calls() -> contextlib.AbstractContextManager[None]:
    """For code that says nothing of CUDA: torch functions are called as if this module were not
    there. Looking at them costs 1 us each, a third of a small model's step to its next token and a
    tenth of its training."""
    if not _installed:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[None] = torch._C.DisableTorchFunction()
    return context


def _names_cuda(device: object) -> bool:
    if isinstance(device, str):
        return device == "cuda" or device.startswith("cuda:")
    return isinstance(device, torch.device) and device.type == "cuda"


class CpuStream:
    """A stream in which everything has already happened."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def synchronize(self) -> None: ...
    def wait_stream(self, stream: Any) -> None: ...
    def wait_event(self, event: Any) -> None: ...
    def query(self) -> bool:
        return True

    def record_event(self, event: Any = None) -> Any:
        return event or CpuEvent()

    def __enter__(self) -> "CpuStream":
        return self

    def __exit__(self, *exception: Any) -> None: ...


class CpuEvent:
    """A moment on the host's clock."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = 0.0

    def record(self, stream: Any = None) -> None:
        self.seconds = time.perf_counter()

    def wait(self, stream: Any = None) -> None: ...
    def synchronize(self) -> None: ...
    def query(self) -> bool:
        return True

    def elapsed_time(self, later: "CpuEvent") -> float:
        """Milliseconds, as CUDA events count them."""
        return (later.seconds - self.seconds) * 1e3


def _nothing() -> Callable[..., None]:
    # A new function for each name: torch._dynamo's table of rules asserts that none is listed
    # twice.
    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    return nothing


_THE_STREAM = CpuStream()

CUDA_FUNCTIONS: dict[str, Any] = {
    "current_device": lambda: _stand_in,
    "synchronize": _nothing(),
    "set_device": _nothing(),
    "empty_cache": _nothing(),
    "is_current_stream_capturing": lambda: False,
    "Stream": CpuStream,
    "Event": CpuEvent,
    "current_stream": lambda *args: _THE_STREAM,
    "default_stream": lambda *args: _THE_STREAM,
    "stream": lambda stream: contextlib.nullcontext(stream),
    "get_rng_state": lambda device=None: torch.get_rng_state(),
    "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
    "manual_seed": lambda seed: torch.default_generator.manual_seed(int(seed)),
}
"""What `torch.cuda` answers where there is no CUDA."""

_FOR_GPUS_ALONE = ("transformer_engine", "apex", "amp_C")
"""Packages that megatron-core takes where they are installed. A process that is to compute on the
CPU of a machine with a GPU must not: Transformer Engine may fail while it is imported, and the
kernels of both take no tensors of a CPU."""


def install() -> bool:
    """Installs all of the above; False where CUDA exists and nothing was done. Idempotent.

    Must come before the first import of megatron.core, which decorates its fusions with
    torch.compile and keeps references to generators while it is imported. Raises RuntimeError if it
    comes too late.
    """
    global _installed
    if torch.cuda.is_available():
        return False
    if _installed:
        return True
    if any(name == "megatron.core" or name.startswith("megatron.core.") for name in sys.modules):
        raise RuntimeError(
            "megatron.core was imported before megatron_codemix.mcore; import "
            "megatron_codemix.mcore first"
        )
    for name in _FOR_GPUS_ALONE:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own mark for what is not there
    for name, value in CUDA_FUNCTIONS.items():
        setattr(torch.cuda, name, value)
    torch.cuda.nvtx.range_push = _nothing()
    torch.cuda.nvtx.range_pop = _nothing()
    mend_collectives()
    CudaMeansCpu().__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    _import_without_compiling()
    _use_cpu_generator()
    _give_experts_host_counts()
    _installed = True
    return True


def compute_nothing() -> None:
    """From here on this process is one that plans: CUDA's device is torch's `meta`, whose tensors
    have shapes and no memory. To be called after `install`, before models are built."""
    global _stand_in
    assert _installed, "there is a GPU, which megatron.core would take"
    _stand_in = torch.device("meta")


def _import_without_compiling() -> None:
    """megatron.core applies torch.compile to its fusions during its import, before it can be told
    not to."""
    compile_function = torch.compile
    torch.compile = lambda model=None, **options: model if model is not None else (lambda f: f)  # type: ignore[assignment]  # stands in for one import
    try:
        from megatron.core import jit
    finally:
        torch.compile = compile_function
    jit.disable_jit_fuser()


def _give_experts_host_counts() -> None:
    """The dispatcher of a mixture of experts turns its counts of tokens into numpy where it copies
    them from the GPU; here they are on the host already, and stay tensors that it cannot add up."""
    from megatron.core.transformer.moe import token_dispatcher

    def to_host(tensor: Any, as_numpy: bool = False, record_stream: bool = False) -> Any:
        return tensor.numpy() if as_numpy and isinstance(tensor, torch.Tensor) else tensor

    token_dispatcher.maybe_move_tensor_to_cpu = to_host


def _use_cpu_generator() -> None:
    from megatron.core.tensor_parallel import random

    random._get_cuda_rng_state = lambda device="cpu", clone=False, graph_safe=False: (
        torch.get_rng_state()
    )
    random._set_cuda_rng_state = lambda new_state, device=-1, graph_safe=False: torch.set_rng_state(
        new_state
    )
