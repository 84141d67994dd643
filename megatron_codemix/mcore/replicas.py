"""Whether data-parallel replicas still hold the same weights."""

from collections.abc import Sequence
from itertools import chain

import torch
import torch.distributed
from megatron.core.distributed import DistributedDataParallel

from megatron_codemix.backend.devices import Backend
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import Model, finish_update

_PERIOD = 65_521
"""A prime: positions weigh differently up to this many elements apart."""


def weights_checksum(
    model: Sequence[Model | DistributedDataParallel], backend: Backend
) -> torch.Tensor:
    """Two sums over the bits of the weights that all data-parallel ranks share, int64 [2]; one
    weighs them by position, so that exchanged weights are noticed too."""
    sums = torch.zeros(2, dtype=torch.int64, device=backend.device)
    parameters = chain.from_iterable(chunk.parameters() for chunk in model)
    shared = (one for one in parameters if getattr(one, "allreduce", True))
    for number, parameter in enumerate(shared, start=1):
        bits = parameter.detach().contiguous().view(-1)
        bits = bits.view({2: torch.int16, 4: torch.int32}[bits.element_size()]).long()
        weights = torch.arange(len(bits), device=bits.device).remainder_(_PERIOD).add_(number)
        sums[0] += bits.sum()
        sums[1] += (bits * weights).sum()
    return sums


def differing_replicas(
    model: Sequence[DistributedDataParallel], parallel: ModelParallel, backend: Backend
) -> list[int]:
    """Data-parallel ranks whose weights differ from those of most others (of the first, where no
    majority agrees); [] if all is well. Every rank calls it; the ranks of one group agree."""
    group = parallel.groups.dp_cp
    if group.size() == 1:
        return []
    finish_update(model)
    own = weights_checksum(model, backend)
    found = [torch.empty_like(own) for _ in range(group.size())]
    torch.distributed.all_gather(found, own, group=group)
    sums = [tuple(one.tolist()) for one in found]
    usual = max(sums, key=lambda one: (sums.count(one), one == sums[0]))
    return [rank for rank, one in enumerate(sums) if one != usual]
