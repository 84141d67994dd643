"""Operations for which the host waits for the device, counted without one.

torch's `meta` device stands for the GPU: its tensors have no values, so nothing that needs one goes
unseen.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch._C._distributed_c10d import FakeWork
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from megatron_codemix.backend import megatron_on_cpu
from megatron_codemix.backend.megatron_on_cpu import CpuEvent, CpuStream
from megatron_codemix.backend.planning import PlanningBackend

_NEED_VALUES = {
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
    "_unique2",
}
"""Operations whose result has a size, or is a number, that only the device knows."""
_OURS = ("megatron_codemix.", "megatron.core.")
_STAND_IN = "megatron_codemix.backend.megatron_on_cpu"


class Waits:
    """Where the host has waited, in order: `module.function: operation`."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def add(self, operation: str) -> None:
        frame = sys._getframe(1)
        while frame.f_back and not _is_ours(frame.f_globals.get("__name__", "")):
            frame = frame.f_back
        place = f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"
        self.places.append(f"{place}: {operation}")


def _is_ours(module: str) -> bool:
    return module.startswith(_OURS) and module != _STAND_IN


class StandIn(PlanningBackend):
    """A device without values, which reads what it is given from pinned memory, and has a
    profiler."""

    steps_ahead = 1
    has_profiler = True

    def __init__(self, waits: Waits) -> None:
        self.waits = waits
        self.ranges: list[str] = []
        """Names, each with those of the ranges around it."""
        self._open: list[str] = []
        self.pinned: list[np.ndarray] = []

    def allocate_host(self, shape: Any, dtype: Any) -> np.ndarray:
        array = super().allocate_host(shape, dtype)
        array[...] = 0
        self.pinned.append(array)
        return array

    @contextmanager
    def profiled_as(self, name: str) -> Iterator[None]:
        self._open.append(name)
        self.ranges.append(" > ".join(self._open))
        yield
        assert self._open.pop() == name, "a range ends after one around it"

    def copy_to_host(self, tensor: torch.Tensor) -> "_Copy":
        return _Copy(tensor, self.waits)


class _Copy:
    def __init__(self, tensor: torch.Tensor, waits: Waits) -> None:
        self.tensor, self.waits = tensor, waits

    def read(self) -> torch.Tensor:
        self.waits.add("read")
        return torch.ones(self.tensor.shape, dtype=self.tensor.dtype)


@contextmanager
def counted(backend: StandIn) -> Iterator[None]:
    """Counts into the backend's `waits`."""
    waits = backend.waits
    with ExitStack() as stack:
        for owner in (torch.cuda, CpuStream, CpuEvent):
            stack.enter_context(
                patch.object(owner, "synchronize", lambda *_: waits.add("synchronize"))
            )
        # It asks the group for a backend of `meta`'s, which it has not.
        stack.enter_context(patch("torch.distributed.batch_isend_irecv", _one_by_one))
        # On a GPU no call passes `_Numbers` by.
        stack.enter_context(patch.object(megatron_on_cpu, "direct_calls", nullcontext))
        stack.enter_context(_Operations(backend))
        stack.enter_context(_Numbers(backend))
        yield


def _one_by_one(messages: list[Any]) -> list[Any]:
    return [each.op(each.tensor, each.peer, each.group) for each in messages]


class _Numbers(TorchFunctionMode):
    """What torch does with Python's numbers on CUDA and spares itself on `meta`: a tensor made of
    them is made on the host, copied, and waited for; so is one that becomes an element. One that
    becomes many is filled in."""

    def __init__(self, backend: StandIn) -> None:
        super().__init__()
        self.backend, self.waits = backend, backend.waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.cuda:  # of a tensor of the host
            return args[0].to("meta", non_blocking=kwargs.get("non_blocking", False))
        if func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], torch.Tensor):
            args = (tree_map_only(torch.Tensor, self._item, args[0]), *args[1:])
        if func is torch.Tensor.__setitem__ and isinstance(args[2], int | float):
            return self._set(*args)
        result = func(*args, **kwargs)
        if kwargs.get("pin_memory"):
            self.backend.pinned.append(result.numpy())
        if func in (torch.tensor, torch.as_tensor) and result.is_meta:
            self.waits.add("tensor of numbers")
        return result

    def _item(self, tensor: torch.Tensor) -> torch.Tensor | float:
        if not tensor.is_meta:
            return tensor
        self.waits.add("item")
        return 1.0

    def _set(self, tensor: torch.Tensor, index: Any, number: float) -> None:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, torch.Tensor) and part.dtype is torch.bool for part in parts):
            tensor.fill_(number)  # only where the mask is, but nothing here has values
            return
        chosen = tensor[index]
        if chosen.is_meta and chosen.dim() == 0:
            self.waits.add("number to an element")
        tensor.__setitem__(index, number)


class _Operations(TorchDispatchMode):
    def __init__(self, backend: StandIn) -> None:
        super().__init__()
        self.backend, self.waits = backend, backend.waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_device = [tensor for tensor in tensors if tensor.is_meta]
        on_host = [tensor for tensor in tensors if tensor.device.type == "cpu"]
        if name == "_local_scalar_dense" and on_device:
            self.waits.add("item")
            return args[0].dtype.is_floating_point * 1.0 or 1
        if func.namespace == "c10d" and name.endswith("_coalesced_"):
            return FakeWork().boxed()  # those alone have no kernel for `meta`
        if name in _NEED_VALUES and on_device:
            raise AssertionError(f"{name}: the size of its result is not known without a wait")
        if name in ("index", "index_put", "index_put_") and on_device:
            self._look_at_index(name, args)
        if name in ("_to_copy", "copy_"):
            return self._copied(func, name, args, kwargs)
        # Numbers [] go along with a kernel, but for torch.where, which copies them.
        if on_device and any(tensor.dim() or name == "where" for tensor in on_host):
            self.waits.add(f"{name} with a tensor of the host")
        return func(*args, **kwargs)

    def _look_at_index(self, name: str, args: Any) -> None:
        """A mask is turned into a list of places, unless a number of the host is filled in."""
        is_filled = name != "index" and args[2].device.type == "cpu" and args[2].numel() == 1
        masks = [one for one in args[1] if one is not None and one.dtype is torch.bool]
        if masks and not is_filled:
            self.waits.add(f"{name} with a mask")

    def _copied(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        is_new = name == "_to_copy"
        source = args[0] if is_new else args[1]
        target = torch.device(kwargs.get("device") or source.device) if is_new else args[0].device
        if source.is_meta and target.type == "cpu":
            self.waits.add("copy to the host")
            values = torch.ones_like(source, device="cpu")
            return values if is_new else args[0].copy_(values)
        if source.device.type == "cpu" and target.type == "meta":
            asked = kwargs.get("non_blocking", False) or (not is_new and args[2:] == (True,))
            if not (asked and self._is_pinned(source)):
                self.waits.add("copy to the device")
        return func(*args, **kwargs)

    def _is_pinned(self, source: torch.Tensor) -> bool:
        return any(
            one.ctypes.data <= source.data_ptr() < one.ctypes.data + max(1, one.nbytes)
            for one in self.backend.pinned
        )
