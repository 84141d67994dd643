"""Where the collectives of this process begin."""

import datetime
from collections.abc import Sequence

import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.meeting import meet

DISTRIBUTED_TIMEOUT = datetime.timedelta(minutes=30)


def initialize_process_group(
    backend: Backend,
    *,
    rank: int,
    world_size: int,
    init_method: str,
    launch: str = "",
    hosts: Sequence[str] = (),
    timeout: datetime.timedelta = DISTRIBUTED_TIMEOUT,
) -> None:
    """Starts torch.distributed for this process. Raises RetryableError with the ranks, and their
    hosts, that do not come.

    launch, hosts: as of `RankContext`. timeout: of collectives.
    """
    store = meet(rank, world_size, init_method, launch=launch, hosts=hosts)
    store.set_timeout(timeout)  # init_process_group leaves a given store as it is
    torch.distributed.init_process_group(
        backend.collectives,
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=timeout,
        device_id=backend.device if backend.name == "cuda" else None,
    )


def make_host_group() -> torch.distributed.ProcessGroup:
    """A group of all ranks for objects in host memory, on which a rank may wait for days for the
    next: what others do meanwhile is not ours to limit. Every rank calls it."""
    group: torch.distributed.ProcessGroup = torch.distributed.new_group(
        backend="gloo", timeout=datetime.timedelta(days=14)
    )
    return group
