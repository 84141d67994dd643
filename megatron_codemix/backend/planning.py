"""A process that builds models to count them: tensors without memory, groups without peers."""

import torch
import torch.distributed

# Private, and nothing public stands in for it: a process group whose collectives do nothing.
from torch.testing._internal.distributed.fake_pg import FakeStore

from megatron_codemix.backend import megatron_on_cpu
from megatron_codemix.backend.devices import CpuBackend
from megatron_codemix.errors import UnavailableError


class PlanningBackend(CpuBackend):
    """torch's `meta` device: shapes and formats, no values."""

    device = torch.device("meta")

    def prepare(self) -> None:
        """Raises UnavailableError in a process that sees a GPU."""
        if torch.cuda.is_available():
            raise UnavailableError(
                "a process that plans must not see a GPU; set CUDA_VISIBLE_DEVICES= for it"
            )
        megatron_on_cpu.compute_nothing()


def join_as(rank: int, world_size: int) -> None:
    """Makes this process the rank `rank` of a group of `world_size`, the others of which are not
    there. To be followed by `leave` before the next."""
    torch.distributed.init_process_group(
        "fake", store=FakeStore(), rank=rank, world_size=world_size
    )


def leave() -> None:
    """Ends what `join_as` began."""
    torch.distributed.destroy_process_group()
