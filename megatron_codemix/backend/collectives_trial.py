"""Runs each collective that training needs, on small tensors whose result is known."""

import warnings
from collections.abc import Callable

import torch
import torch.distributed as dist

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.process_groups import initialize_process_group
from megatron_codemix.errors import UnavailableError


def try_collectives(
    backend: Backend,
    *,
    rank: int,
    world_size: int,
    init_method: str,
    report: Callable[[str], None],
) -> None:
    """Joins a group and calls `report` with the name of each collective that gave the right result.

    To be called by all ranks of a group of at least 2. Raises UnavailableError, naming the
    collective, at the first that fails or gives a wrong result.
    """
    initialize_process_group(backend, rank=rank, world_size=world_size, init_method=init_method)
    for collective in _COLLECTIVES:
        name = collective.__name__.removeprefix("_")
        try:
            with warnings.catch_warnings():
                # torch 2.13 deprecates names that torch 2.9 has alone and megatron-core uses.
                warnings.simplefilter("ignore", FutureWarning)
                is_right = collective(backend.device, rank, world_size)
        except RuntimeError as error:  # what torch.distributed raises for all that goes wrong
            raise UnavailableError(f"{name} over {backend.collectives}: {error}") from error
        if not is_right:
            raise UnavailableError(f"{name} over {backend.collectives} gives a wrong result")
        report(name)
    dist.barrier()
    dist.destroy_process_group()


def _all_reduce(device: torch.device, rank: int, world_size: int) -> bool:
    values = torch.full((4,), float(rank + 1), device=device)
    dist.all_reduce(values)
    return bool((values == world_size * (world_size + 1) / 2).all())


def _all_gather(device: torch.device, rank: int, world_size: int) -> bool:
    gathered = torch.empty(world_size, device=device)
    dist.all_gather_into_tensor(gathered, torch.full((1,), float(rank), device=device))
    return bool((gathered == torch.arange(world_size, device=device)).all())


def _reduce_scatter(device: torch.device, rank: int, world_size: int) -> bool:
    part = torch.empty(1, device=device)
    dist.reduce_scatter_tensor(part, torch.arange(float(world_size), device=device))
    return bool(part.item() == rank * world_size)


def _broadcast(device: torch.device, rank: int, world_size: int) -> bool:
    values = torch.full((4,), float(rank), device=device)
    dist.broadcast(values, src=1)
    return bool((values == 1).all())


def _send_recv(device: torch.device, rank: int, world_size: int) -> bool:
    """Around a ring, as pipeline stages do: both directions are under way at once."""
    received = torch.empty(4, device=device)
    sent = torch.full((4,), float(rank), device=device)
    operations = [
        dist.P2POp(dist.isend, sent, (rank + 1) % world_size),
        dist.P2POp(dist.irecv, received, (rank - 1) % world_size),
    ]
    for work in dist.batch_isend_irecv(operations):
        work.wait()
    return bool((received == (rank - 1) % world_size).all())


_COLLECTIVES = (_all_reduce, _all_gather, _reduce_scatter, _broadcast, _send_recv)
