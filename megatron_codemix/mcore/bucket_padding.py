"""Optimizer state of several buckets, as checkpoints take it."""

import functools
from typing import Any

import torch
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer


def keep_bucket_padding() -> None:
    """Gives the state of the distributed optimizer the places that its own checkpoints read it by.

    Buckets are padded to multiples of the data-parallel size. megatron-core 0.16.1 gathers the
    state of all buckets without that padding and cuts it into parameters by places that count it
    (distrib_optimizer.py, `fully_reshardable`), so what follows the first bucket is saved shifted:
    master weights and moments are silently wrong. One bucket alone is right.
    """
    gather = DistributedOptimizer.get_parameter_state_dp_zero

    @functools.wraps(gather)
    def gather_padded(self: Any, *args: Any, **kwargs: Any) -> dict[Any, Any] | None:
        state: dict[Any, Any] | None = gather(self, *args, **kwargs)
        if state is None:
            return None
        for number, buffer in enumerate(self.buffers):
            for tensors in state[number].values():
                for name, packed in tensors.items():
                    if isinstance(packed, torch.Tensor):
                        tensors[name] = _padded(packed, buffer)
        return state

    DistributedOptimizer.get_parameter_state_dp_zero = gather_padded


def _padded(packed: torch.Tensor, buffer: Any) -> torch.Tensor:
    """The state of `buffer`'s buckets, one after the other, moved to where they begin in it."""
    whole = packed.new_zeros(buffer.numel)
    start = 0
    for bucket in buffer.buckets:
        size = bucket.numel_unpadded
        whole[bucket.offset : bucket.offset + size] = packed[start : start + size]
        start += size
    return whole
