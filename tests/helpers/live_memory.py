"""The largest memory that tensors take while something runs, on any device."""

import gc
from typing import Any, Self

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Counts the storages that operations have made and that are still there, after each operation;
    what one makes and frees inside itself is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._storages: dict[int, StorageWeakRef] = {}
        self._older: dict[int, StorageWeakRef] = {}
        """Referred to, so that no new storage takes the address of one that is freed meanwhile."""

    def __enter__(self) -> Self:
        """What is there already does not count."""
        tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
        storages = [tensor.untyped_storage() for tensor in tensors]
        self._older = {storage._cdata: StorageWeakRef(storage) for storage in storages}
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if sum(self._take(tensor) for tensor in made):
            self.peak_bytes = max(self.peak_bytes, self._live_bytes())
        return result

    def _take(self, tensor: torch.Tensor) -> bool:
        """Whether its storage is new."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._older or storage._cdata in self._storages:
            return False
        self._storages[storage._cdata] = StorageWeakRef(storage)
        return True

    def _live_bytes(self) -> int:
        total = 0
        for number, reference in list(self._storages.items()):
            # As it is now: memory may have been taken from a storage that is still referred to.
            storage = torch.UntypedStorage._new_with_weak_ptr(reference.cdata)
            if storage is None:
                del self._storages[number]
            else:
                total += storage.nbytes()
        return total
