"""Times of collectives over all ranks, and over those of each node."""

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from megatron_codemix.backend.devices import Backend
from megatron_codemix.bench.collectives.operations import (
    COLLECTIVES,
    ELEMENT_BYTES,
    Collective,
    Ranks,
)
from megatron_codemix.errors import UnavailableError

_UNCOUNTED_CALLS = 3
_LEAST_SECONDS = 0.05
_MOST_CALLS = 200
SLOW = 1.2
"""A rank that takes so many times the median of all is named."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A collective over a group of ranks."""

    collective: str
    group: str
    """`all`, `node` (of each node, all nodes at once) or `across` (one rank of each node)."""
    ranks: int
    stride: int
    """From one of the group's ranks to the next, counted over the nodes."""
    num_bytes: int
    """Of the whole tensor."""
    seconds: float
    """Of one call, on the slowest rank."""
    calls: int
    slow: list[str]
    """`rank 3 on host`, of ranks that are slower than the others."""

    @property
    def bus_bandwidth(self) -> float:
        """Bytes a second through each rank's link in one direction."""
        return COLLECTIVES[self.collective].bus_factor(self.ranks) * self.num_bytes / self.seconds

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return asdict(self) | {"bus_bandwidth": self.bus_bandwidth}


@dataclass(frozen=True)
class Grouping:
    """One way in which the ranks are dealt out into groups, with this rank's group."""

    name: str
    ranks: Ranks
    stride: int


def measure(backend: Backend, names: Sequence[str], sizes: Sequence[int]) -> Iterator[Figure]:
    """Each collective with each size (bytes) in each grouping; equal on all ranks, which all call
    it. Raises UnavailableError, naming rank and host, where a result is wrong."""
    hosts = _hosts()
    for grouping in groupings(hosts):
        for name in names:
            for size in sizes:
                yield _measure_one(backend, name, size, grouping, hosts)


def count_figures(num_names: int, num_sizes: int) -> int:
    """How many `measure` will yield. Every rank calls it."""
    return len(groupings(_hosts())) * num_names * num_sizes


def _hosts() -> list[str]:
    """Of each rank."""
    hosts: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(hosts, socket.gethostname())
    return hosts


def groupings(hosts: Sequence[str]) -> list[Grouping]:
    """All ranks; with several nodes of as many ranks each also those of a node, and those with the
    same number on each node."""
    size, rank = len(hosts), dist.get_rank()
    world = dist.group.WORLD
    assert world is not None, "initialize_process_group comes first"
    whole = Grouping("all", Ranks(world, rank, size), 1)
    nodes = len(set(hosts))
    each = size // nodes
    is_regular = all(host == hosts[number // each * each] for number, host in enumerate(hosts))
    if nodes == 1 or each == 1 or size % nodes or not is_regular:
        return [whole]
    found = [whole]
    for name, stride, members in (
        ("node", 1, [range(first, first + each) for first in range(0, size, each)]),
        ("across", each, [range(first, size, each) for first in range(each)]),
    ):
        made = [dist.new_group(list(group)) for group in members]
        number, mine = next((n, group) for n, group in enumerate(members) if rank in group)
        found.append(Grouping(name, Ranks(made[number], mine.index(rank), len(mine)), stride))
    return found


def _measure_one(
    backend: Backend, name: str, size: int, grouping: Grouping, hosts: Sequence[str]
) -> Figure:
    ranks = grouping.ranks
    per_rank = max(1, size // ELEMENT_BYTES // ranks.size)
    collective = COLLECTIVES[name](per_rank * ranks.size, ranks, backend.device)
    _check(collective, name, hosts)
    calls = _number_of_calls(collective, backend)
    seconds = _seconds_of(collective, calls, backend) / calls
    by_rank = [0.0] * len(hosts)
    dist.all_gather_object(by_rank, seconds)
    middle = sorted(by_rank)[len(by_rank) // 2]
    return Figure(
        collective=name,
        group=grouping.name,
        ranks=ranks.size,
        stride=grouping.stride,
        num_bytes=per_rank * ranks.size * ELEMENT_BYTES,
        seconds=max(by_rank),
        calls=calls,
        slow=[
            f"rank {rank} on {hosts[rank]}"
            for rank, took in enumerate(by_rank)
            if took > SLOW * middle
        ],
    )


def _check(collective: Collective, name: str, hosts: Sequence[str]) -> None:
    collective.fill()
    collective.call()
    right: list[bool] = [True] * len(hosts)
    dist.all_gather_object(right, collective.is_right())
    wrong = [f"rank {rank} on {host}" for rank, host in enumerate(hosts) if not right[rank]]
    if wrong:
        raise UnavailableError(
            f"{name} gives a wrong result on {', '.join(wrong)}; do not train there before the "
            "link, the driver or NCCL's settings are mended"
        )


def _number_of_calls(collective: Collective, backend: Backend) -> int:
    """As many as take _LEAST_SECONDS; the same on all ranks."""
    seconds = _seconds_of(collective, _UNCOUNTED_CALLS, backend) / _UNCOUNTED_CALLS
    slowest = torch.tensor(seconds, device=backend.device)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return max(1, min(_MOST_CALLS, int(_LEAST_SECONDS / slowest.item()) + 1))


def _seconds_of(collective: Collective, calls: int, backend: Backend) -> float:
    dist.barrier()
    backend.wait()
    started = time.perf_counter()
    for _ in range(calls):
        collective.call()
    backend.wait()
    return time.perf_counter() - started
