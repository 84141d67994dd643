"""A CPU that records work as a GPU does: operations on fixed memory, without Python's part of it.

What CUDA's graphs are is followed to the letter: nothing is done while it is recorded; a replay
reads and writes the memory that was there then; what the work made in between is nobody else's.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed
from torch._C._distributed_c10d import FakeWork
from torch.distributed import Work
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from megatron_codemix.backend.devices import CpuBackend


class RecordingBackend(CpuBackend):
    """With work that can be recorded."""

    def __init__(self) -> None:
        self.recordings = 0
        self.replays = 0
        self.is_recordable = False

    @contextlib.contextmanager
    def recordable(self) -> Iterator[None]:
        self.is_recordable = True
        yield
        self.is_recordable = False

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        assert self.is_recordable
        recorder = _Recorder()
        with recorder:
            work()
        recorder.undo()
        self.recordings += 1

        def replay() -> None:
            self.replays += 1
            recorder.replay()

        return replay


def scatter_by_operations() -> None:
    """Lets the ranks of this process sum and cut by operations that can be recorded: gloo copies
    what it has scattered when it is waited for, which a recording would take for the work's own."""
    from megatron.core.tensor_parallel import layers, mappings

    def reduce_scatter(output: Any, source: Any, group: Any, async_op: bool = False) -> Any:
        summed = source.clone()
        torch.distributed.all_reduce(summed, group=group)
        output.copy_(summed.chunk(group.size())[group.rank()])
        return FakeWork() if async_op else None

    torch.distributed.reduce_scatter_tensor = reduce_scatter
    for module in (layers, mappings):
        module.dist_reduce_scatter_func = reduce_scatter


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Any, Any, list[torch.Tensor], set[int]]] = []
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        for tensor in given:
            if _storage(tensor) not in self._made and _storage(tensor) not in self._before:
                whole = _whole(tensor)
                self._before[_storage(tensor)] = whole, whole.clone()
        result = func(*args, **kwargs)
        assert func.overloadpacket.__name__ != "_local_scalar_dense", "the host reads a number"
        results = _tensors(result)
        inputs = {_storage(tensor) for tensor in given}
        self._made |= {_storage(tensor) for tensor in results} - inputs - set(self._before)
        self._done.append((func, args, kwargs, results, inputs))
        return result

    def undo(self) -> None:
        """As if nothing had been done: old memory as it was, new memory without a meaning."""
        for whole, before in self._before.values():
            whole.copy_(before)
        self._before.clear()
        for _, _, _, results, inputs in self._done:
            for tensor in results:
                if _storage(tensor) not in inputs and tensor.is_floating_point():
                    _whole(tensor).fill_(float("nan"))

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, results, inputs in self._done:
            again = func(*args, **kwargs)
            for work in tree_leaves(again):
                if isinstance(
                    work, torch.ScriptObject
                ):  # a collective, for which Python has waited
                    Work.unbox(work).wait()
            for found, kept in zip(_tensors(again), results, strict=True):
                if _storage(kept) not in inputs:  # neither a view nor in place
                    kept.copy_(found)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of its memory, as one row."""
    storage = tensor.untyped_storage()
    row = torch.empty(0, dtype=tensor.dtype).set_(storage)  # type: ignore[call-overload]
    return row.detach()
