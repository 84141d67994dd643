"""The card as our back end, and what torch asks of a device's module; for a process of its own."""

import contextlib
import mmap
from typing import Any  # torch's functions and their arguments, which are passed on

import torch
from torch.overrides import TorchFunctionMode

from megatron_codemix.backend.devices import CpuBackend
from megatron_codemix.backend.host_copies import HostCopy, ToPinned
from megatron_codemix.backend.registered_memory import RegisteredMemory

torch.utils.rename_privateuse1_backend("card")
CARD = torch.device("card:0")


class CardBackend(CpuBackend):
    """Copies to it and from it as those of a GPU, and steps that are read one behind."""

    device = CARD
    device_name = "card"
    steps_ahead = 1
    has_profiler = True

    def copy_to_host(self, tensor: torch.Tensor) -> HostCopy:
        return ToPinned(tensor)

    def register_host(self, memory: mmap.mmap) -> RegisteredMemory:
        return AsItIs()


class AsItIs:
    """All memory is the host's."""

    def release(self) -> None:
        """Nothing was done to it."""


class CardModule:
    """What torch asks of `torch.card`: there is one, and its random numbers are the host's."""

    is_available = staticmethod(lambda: True)
    is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = staticmethod(lambda seed: None)
    synchronize = staticmethod(lambda device=None: None)
    get_rng_state = staticmethod(lambda device=None: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, device=None: torch.set_rng_state(state))
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])
    device = staticmethod(lambda device: contextlib.nullcontext())


class CardNames(TorchFunctionMode):
    """megatron-core sorts parameters by the names that their types have on CUDA."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.type and isinstance(result, str):
            return result.replace(f".{CARD.type}", "")
        return result
