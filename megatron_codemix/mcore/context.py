"""Context parallelism: which part of a sequence a rank has, and keys and values of the whole.

A sequence is cut into 2 * size pieces; rank r has pieces r and 2 * size - 1 - r, so that under a
causal mask every rank has as much to do (megatron-core's split, which its rotary embedding
follows).
"""

from typing import Any

import torch
import torch.distributed

from megatron_codemix.mcore.groups import ModelParallel


def context_part(tensor: torch.Tensor, parallel: ModelParallel, *, dim: int) -> torch.Tensor:
    """This rank's two pieces of `tensor` along `dim`, contiguous."""
    if parallel.context_size == 1:
        return tensor
    pieces = tensor.chunk(2 * parallel.context_size, dim)
    first, second = pieces_of(parallel.context_rank, parallel.context_size)
    return torch.cat([pieces[first], pieces[second]], dim)


def pieces_of(rank: int, size: int) -> tuple[int, int]:
    """Numbers of the pieces that a rank has, in the order of the sequence."""
    return rank, 2 * size - 1 - rank


def gather_sequence(part: torch.Tensor, group: torch.distributed.ProcessGroup) -> torch.Tensor:
    """[S, ...] in the order of the sequence from every rank's [S / size, ...]; the gradient of each
    part is the sum over the ranks."""
    gathered: torch.Tensor = _GatherSequence.apply(part, group)
    return gathered


class _GatherSequence(torch.autograd.Function):
    """All-gather forward, reduce-scatter backward, along the first dimension."""

    @staticmethod
    def forward(
        ctx: Any, part: torch.Tensor, group: torch.distributed.ProcessGroup
    ) -> torch.Tensor:
        ctx.group = group
        size = group.size()
        by_rank = part.new_empty((size * part.shape[0], *part.shape[1:]))
        torch.distributed.all_gather_into_tensor(by_rank, part.contiguous(), group=group)
        pieces = by_rank.chunk(2 * size)
        place = {piece: number for number, piece in enumerate(_pieces_by_rank(size))}
        return torch.cat([pieces[place[piece]] for piece in range(2 * size)])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        size = ctx.group.size()
        pieces = gradients[0].chunk(2 * size)
        by_rank = torch.cat([pieces[piece] for piece in _pieces_by_rank(size)])
        part = by_rank.new_empty((by_rank.shape[0] // size, *by_rank.shape[1:]))
        torch.distributed.reduce_scatter_tensor(part, by_rank, group=ctx.group)
        return part, None


def _pieces_by_rank(size: int) -> list[int]:
    return [piece for rank in range(size) for piece in pieces_of(rank, size)]
