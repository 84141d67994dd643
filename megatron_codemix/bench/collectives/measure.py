"""Times of collectives over all ranks, and over those of each node."""

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
"""Ranks that take so many times the median of all are named."""


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
    """As `slow_ranks` has it."""

    @property
    def bus_bandwidth(self) -> float:
        """Bytes a second through each rank's link in one direction."""
        return COLLECTIVES[self.collective].bus_factor(self.ranks) * self.num_bytes / self.seconds


@dataclass(frozen=True)
class Grouping:
    """One way in which all ranks are dealt out into groups."""

    name: str
    groups: list[range]
    stride: int


def hosts_of_ranks() -> list[str]:
    """The host of each rank. Every rank calls it."""
    hosts: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(hosts, socket.gethostname())
    return hosts


def ranks_per_node(hosts: Sequence[str]) -> int | None:
    """Of the host of each rank; None where they are not dealt out in blocks of one size."""
    nodes = dict.fromkeys(hosts)
    each = len(hosts) // len(nodes)
    return each if list(hosts) == [host for host in nodes for _ in range(each)] else None


def groupings(hosts: Sequence[str]) -> list[Grouping]:
    """All ranks; with several nodes of as many ranks each also those of a node, and those with the
    same number on each node."""
    size, each = len(hosts), ranks_per_node(hosts)
    whole = Grouping("all", [range(size)], 1)
    if each is None or each in (1, size):
        return [whole]
    return [
        whole,
        Grouping("node", [range(first, first + each) for first in range(0, size, each)], 1),
        Grouping("across", [range(first, size, each) for first in range(each)], each),
    ]


def measure(
    backend: Backend, hosts: Sequence[str], names: Sequence[str], sizes: Sequence[int]
) -> Iterator[Figure]:
    """Each collective with each size (bytes) in each grouping; equal on all ranks, which all call
    it. Raises UnavailableError, naming rank and host, where a result is wrong."""
    for grouping in groupings(hosts):
        ranks = _join(grouping)
        for name in names:
            for size in sizes:
                yield _measure_one(backend, name, size, grouping, ranks, hosts)


def _join(grouping: Grouping) -> Ranks:
    """This rank's group. Every rank calls it."""
    group, _ = dist.new_subgroups_by_enumeration(  # type: ignore[no-untyped-call]  # torch's
        [list(ranks) for ranks in grouping.groups]
    )
    return Ranks(group, dist.get_rank(group), dist.get_world_size(group))


def _measure_one(
    backend: Backend,
    name: str,
    size: int,
    grouping: Grouping,
    ranks: Ranks,
    hosts: Sequence[str],
) -> Figure:
    per_rank = max(1, size // ELEMENT_BYTES // ranks.size)
    collective = COLLECTIVES[name](per_rank * ranks.size, ranks, backend.device)
    _check(collective, name, hosts)
    calls = _number_of_calls(collective, backend)
    seconds = _seconds_of(collective, calls, backend) / calls
    by_rank = [0.0] * len(hosts)
    dist.all_gather_object(by_rank, seconds)
    return Figure(
        collective=name,
        group=grouping.name,
        ranks=ranks.size,
        stride=grouping.stride,
        num_bytes=per_rank * ranks.size * ELEMENT_BYTES,
        seconds=max(by_rank),
        calls=calls,
        slow=slow_ranks(by_rank, hosts),
    )


def slow_ranks(by_rank: Sequence[float], hosts: Sequence[str]) -> list[str]:
    """`rank 3 on host`, of those that take more than SLOW times the median; of an even number, of
    the lower one, so that one node of two is named.

    by_rank: seconds. A collective ends on all ranks of its group together, so these are whole
    groups: nodes, or the ranks of one number on each node. Among the ranks of a single group nobody
    is slow.
    """
    middle = sorted(by_rank)[(len(by_rank) - 1) // 2]
    return [
        f"rank {rank} on {hosts[rank]}" for rank, took in enumerate(by_rank) if took > SLOW * middle
    ]


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
