"""What gloo gets wrong, or does at a cost, when megatron-core asks it the way it asks NCCL."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed


def mend_collectives() -> None:
    """Replaces three functions of `torch.distributed`, before megatron.core keeps references to
    them."""
    torch.distributed.all_reduce = _checked_and_spared(torch.distributed.all_reduce)
    for name in ("all_gather_into_tensor", "reduce_scatter_tensor"):
        setattr(torch.distributed, name, _spared(getattr(torch.distributed, name)))


def _checked_and_spared(all_reduce: Callable[..., Any]) -> Callable[..., Any]:
    """gloo sums the wrong elements of a tensor whose elements do not lie side by side (a column of
    a matrix), and says nothing; NCCL raises."""

    @functools.wraps(all_reduce)
    def checked(
        tensor: torch.Tensor,
        op: Any = torch.distributed.ReduceOp.SUM,
        group: Any = None,
        async_op: bool = False,
    ) -> Any:
        assert _is_dense(tensor), (
            f"all_reduce of a tensor with gaps (shape {tuple(tensor.shape)}, strides "
            f"{tensor.stride()}) is wrong on gloo; pass tensor.contiguous()"
        )
        if _is_alone(group) and not async_op:
            return None
        return all_reduce(tensor, op, group, async_op)

    return checked


def _spared(collective: Callable[..., Any]) -> Callable[..., Any]:
    """Between one rank's buffers there is nothing to do, or one copy, where gloo copies four times
    the size of all weights at every step of the distributed optimizer: 5% of a small model's
    step."""

    @functools.wraps(collective)
    def spared(*arguments: Any, **options: Any) -> Any:
        is_plain = len(arguments) == 2 and not options.get("async_op")
        if not is_plain or not _is_alone(options.get("group")):
            return collective(*arguments, **options)
        output, source = arguments
        if output.data_ptr() != source.data_ptr():
            output.copy_(source.view_as(output))
        return None

    return spared


def _is_alone(group: Any) -> bool:
    return torch.distributed.get_world_size(group) == 1


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill the memory from the first to the last of them."""
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.numel() == reach + 1 or tensor.numel() == 0
