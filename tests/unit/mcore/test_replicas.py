"""The checksum by which replicas are compared, against its formula in numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from megatron_codemix.backend.devices import CpuBackend
from megatron_codemix.mcore import replicas

PIECE = 1000


class LargestMade(TorchDispatchMode):
    """Elements of the largest int64 tensor that is made meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [one for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
        self.elements = max(
            [self.elements, *(one.numel() for one in made if one.dtype == torch.int64)]
        )
        return result


def formula(weights: list[torch.Tensor]) -> list[int]:
    """Over the bits of each, as Python's integers; modulo 2**64, as int64 has it."""
    plain = weighed = 0
    for number, weight in enumerate(weights, start=1):
        kind = {2: torch.int16, 4: torch.int32}[weight.element_size()]
        bits = weight.reshape(-1).view(kind).numpy().astype(object)
        plain += sum(bits)
        weighed += sum(bits * (np.arange(len(bits)) % replicas._PERIOD + number))
    return [(one + 2**63) % 2**64 - 2**63 for one in (plain, weighed)]


def test_it_is_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them shorter, and a weight longer than the period of places."""
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(shape, generator=generator).to(dtype)
        for shape, dtype in (
            ((300, 277), torch.float32),
            ((5,), torch.float32),
            ((40, 50), torch.bfloat16),
        )
    ]
    parameters = [torch.nn.Parameter(weight) for weight in weights]
    at_once = replicas._weights_checksum(parameters, CpuBackend())
    monkeypatch.setattr(replicas, "_PIECE", PIECE)
    with LargestMade() as largest:
        in_pieces = replicas._weights_checksum(parameters, CpuBackend())
    assert in_pieces.tolist() == at_once.tolist() == formula(weights)
    assert largest.elements == PIECE
