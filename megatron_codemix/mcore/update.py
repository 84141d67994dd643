"""The optimizer's step without a wait for the device: megatron-core brings the gradient norm to
the host to compare it with the limit, and the number of tokens to see that it is not zero. Here
norm and factors stay where they are; on a CPU all bits are megatron-core's, but the last of a
factor where gradients of experts are summed apart. A norm that is no number spoils all gradients,
where megatron-core would leave them; the run throws such a step out.

G: groups of ranks whose gradients are summed apart, one, or with experts two.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from megatron.core.distributed import DistributedDataParallel, finalize_model_grads
from megatron.core.optimizer import ChainedOptimizer, MegatronOptimizer

from megatron_codemix.mcore.groups import ModelParallel


def finish_gradients(
    model: list[DistributedDataParallel],
    num_tokens: torch.Tensor | None,
    *,
    parallel: ModelParallel,
    **options: Any,
) -> None:
    """megatron-core's finalize_model_grads, with the division by the tokens of the whole batch, or
    by 1 where none counted. Every rank calls it.

    num_tokens: of this rank, on the last pipeline stage, int []; None where each loss was divided
        by its own (without calculate_per_token_loss).
    """
    finalize_model_grads(model, None, **options)
    if num_tokens is None:
        return
    groups = parallel.groups
    torch.distributed.broadcast(num_tokens, src=parallel.last_pipeline_rank, group=groups.pp)
    torch.distributed.all_reduce(num_tokens, group=groups.dp_cp)
    factor = 1.0 / num_tokens.clamp(min=1)
    for chunk in model:
        chunk.scale_gradients(factor)


@torch.no_grad()
def update(optimizer: ChainedOptimizer, device: torch.device) -> torch.Tensor:
    """Clips the gradients and makes the step; squares of their norms before, fp32 [G], on the
    device. Every rank calls it."""
    optimizer.prepare_grads()
    squares = _squared_norms(optimizer, device)
    limit = optimizer.config.clip_grad
    if limit > 0.0:
        norm = squares.double().sum().sqrt()
        factor = (limit / (norm + 1e-6)).clamp(max=1.0).float()
        for part in optimizer.chained_optimizers:
            gradients = [one.grad for one in part.get_parameters() if one.grad is not None]
            if gradients:
                torch._foreach_mul_(gradients, factor)
    optimizer.step_with_ready_grads()
    return squares


def gradient_norm(squares: Sequence[float]) -> float:
    """Of what `update` gives, in megatron-core's words."""
    norms = [square**0.5 for square in squares]
    return norms[0] if len(norms) == 1 else math.sqrt(sum(norm**2 for norm in norms))


def _squared_norms(optimizer: ChainedOptimizer, device: torch.device) -> torch.Tensor:
    parts: list[MegatronOptimizer] = optimizer.chained_optimizers
    if optimizer.grads_states_parallel_group_is_shared():
        gradients = [one for part in parts for one in part.get_main_grads_for_grad_norm()]
        return _squared_norm(gradients, optimizer.get_grad_stats_parallel_group(), device)
    return torch.cat(
        [
            _squared_norm(
                part.get_main_grads_for_grad_norm(), part.get_grad_stats_parallel_group(), device
            )
            for part in parts
        ]
    )


def _squared_norm(
    gradients: list[torch.Tensor], group: torch.distributed.ProcessGroup, device: torch.device
) -> torch.Tensor:
    """Over all ranks of the group; fp32 [1]."""
    if gradients:
        norms = torch.stack(torch._foreach_norm(gradients))
        square = torch.linalg.vector_norm(norms).reshape(1) ** 2
    else:
        square = torch.zeros(1, device=device)
    torch.distributed.all_reduce(square, group=group)
    return square
