"""What ranks must know of one another to stay in step."""

import torch
import torch.distributed

from megatron_codemix.backend.devices import Backend


def any_rank(backend: Backend, *flags: bool) -> list[bool]:
    """For each flag, whether any rank has it set; the same on every rank. Every rank calls it."""
    values = torch.tensor([int(flag) for flag in flags], device=backend.device)
    torch.distributed.all_reduce(values, op=torch.distributed.ReduceOp.MAX)
    return [bool(value) for value in values.tolist()]
