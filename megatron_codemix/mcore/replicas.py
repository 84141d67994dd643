"""Whether data-parallel replicas still hold the same weights."""

from collections.abc import Sequence

import torch
import torch.distributed
from megatron.core.distributed import DistributedDataParallel
from megatron.core.fp8_utils import dequantize_fp8_tensor, is_float8tensor

from megatron_codemix.backend.devices import Backend
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import finish_update

_PERIOD = 65_521
"""A prime: positions weigh differently up to this many elements apart."""
_PIECE = 2**22
"""Elements that are summed at once, in int64 with their weights: 64 MiB on the device."""


def differing_replicas(
    model: Sequence[DistributedDataParallel], parallel: ModelParallel, backend: Backend
) -> list[int]:
    """Ranks whose weights differ from those of most of their data-parallel replicas (of the first,
    where no majority agrees), among the replicas of this rank; [] if all is well. Every rank calls
    it."""
    finish_update(model)
    groups, parameters = parallel.groups, [one for chunk in model for one in chunk.parameters()]
    shared = [one for one in parameters if getattr(one, "allreduce", True)]
    of_experts = [one for one in parameters if not getattr(one, "allreduce", True)]
    differing = set(_differing_ranks(shared, groups.dp_cp, backend))
    if of_experts:
        differing.update(_differing_ranks(of_experts, groups.expt_dp, backend))
    return sorted(differing)


def _differing_ranks(
    parameters: Sequence[torch.nn.Parameter],
    group: torch.distributed.ProcessGroup,
    backend: Backend,
) -> list[int]:
    if group.size() == 1:
        return []
    own = _weights_checksum(parameters, backend)
    found = [torch.empty_like(own) for _ in range(group.size())]
    torch.distributed.all_gather(found, own, group=group)
    sums = [tuple(one.tolist()) for one in found]
    usual = max(sums, key=lambda one: (sums.count(one), one == sums[0]))
    ranks = torch.distributed.get_process_group_ranks(group)
    return [rank for rank, one in zip(ranks, sums, strict=True) if one != usual]


def _weights_checksum(parameters: Sequence[torch.nn.Parameter], backend: Backend) -> torch.Tensor:
    """Two sums over the bits of weights, int64 [2]; one weighs them by position, so that exchanged
    weights are noticed too."""
    sums = torch.zeros(2, dtype=torch.int64, device=backend.device)
    for number, parameter in enumerate(parameters, start=1):
        values = dequantize_fp8_tensor if is_float8tensor(parameter) else torch.Tensor.detach
        bits = values(parameter).contiguous().view(-1)
        bits = bits.view({2: torch.int16, 4: torch.int32}[bits.element_size()])
        for first in range(0, len(bits), _PIECE):
            piece = bits[first : first + _PIECE].long()
            places = torch.arange(first, first + len(piece), device=bits.device)
            sums[0] += piece.sum()
            sums[1] += piece.mul_(places.remainder_(_PERIOD).add_(number)).sum()
    return sums
