"""Ranks meet before their collectives begin, and those that do not come are named, with hosts."""

import datetime
import itertools
import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from torch.distributed import (  # type: ignore[attr-defined]  # no stub has them
    DistError,
    DistNetworkError,
    DistStoreError,
    FileStore,
    Store,
    TCPStore,
)

from megatron_codemix.errors import RetryableError

_AGENTS_STORE = "TORCHELASTIC_USE_AGENT_STORE"
"""Set by torchrun where its agent, not rank 0, keeps the store."""
_CANNOT_LISTEN = "failed to listen"
"""In what torch says where rank 0 cannot have the port; the error has no type of its own."""
MEETING_TIMEOUT = datetime.timedelta(minutes=10)
"""How long the first rank waits for the last; nodes of a job start within minutes."""


def meet(
    rank: int,
    world_size: int,
    init_method: str,
    *,
    launch: str = "",
    hosts: Sequence[str] = (),
    timeout: datetime.timedelta = MEETING_TIMEOUT,
) -> Store:
    """A store that all ranks have reached, for `init_process_group`. Every rank calls it.

    launch: the same on all ranks, and another where other ranks may come to the same address.
    hosts: where each rank should be, as far as the launcher says.

    Raises RetryableError with the ranks that have not come within the time and where they should
    be, or, of a rank that cannot reach rank 0, with the address; with the port where rank 0 cannot
    have it.
    """
    host = socket.gethostname()
    try:
        store = _open_store(rank, world_size, init_method, timeout)
    except DistError as error:
        told = _why_no_store(error, _address(init_method), timeout)
        raise RetryableError(f"rank {rank} on {host} {told}") from error
    keys = [f"codemix/{launch}/rank/{number}" for number in range(world_size)]
    try:
        store.set(keys[rank], host)
        present = _who_comes(store, keys, timeout)
    except DistNetworkError as error:
        raise RetryableError(
            f"rank {rank} on {host}: rank 0 has ended while the ranks met; its log says why"
        ) from error
    if present is not None:
        raise RetryableError(who_is_missing(world_size, present, hosts, timeout))
    return store


def _who_comes(
    store: Store, keys: Sequence[str], timeout: datetime.timedelta
) -> dict[int, str] | None:
    """None where all ranks have come in time, else the hosts of those that have."""
    try:
        store.wait(list(keys), timeout)
    except DistStoreError:
        ranks = ranks_that_came(store, keys, range(len(keys)))
        found = store.multi_get([keys[rank] for rank in ranks])
        return {rank: host.decode() for rank, host in zip(ranks, found, strict=True)}
    return None


def ranks_that_came(store: Store, keys: Sequence[str], ranks: range) -> list[int]:
    """Those of `ranks` whose keys are set. Looked for by halves, as one answer is of many keys: a
    missing node costs each of thousands of ranks few questions."""
    if store.check([keys[rank] for rank in ranks]):
        return list(ranks)
    if len(ranks) == 1:
        return []
    half = len(ranks) // 2
    return ranks_that_came(store, keys, ranks[:half]) + ranks_that_came(store, keys, ranks[half:])


def _open_store(rank: int, world_size: int, init_method: str, timeout: datetime.timedelta) -> Store:
    if init_method.startswith("file://"):
        return FileStore(init_method.removeprefix("file://"), world_size)
    name, _, port = _address(init_method).rpartition(":")
    # Not as init_process_group makes it, whose rank 0 counts those who come and does not ask who
    # they are.
    return TCPStore(
        name,
        int(port),
        world_size,
        is_master=rank == 0 and os.environ.get(_AGENTS_STORE) != "True",
        timeout=timeout,
        wait_for_workers=False,
        multi_tenant=True,
    )


def _why_no_store(error: Exception, address: str, timeout: datetime.timedelta) -> str:
    if _CANNOT_LISTEN in str(error):
        return (
            f"cannot listen at {address}: {_first_line(error)}; where another job, or another step "
            "of this one, has the port, set MASTER_PORT to a free one, or try again when that has "
            "ended"
        )
    return (
        f"has not reached rank 0 at {address} within {timeout.total_seconds():g} s: "
        f"{_first_line(error)}; does rank 0 run, is that its address, and is the port open between "
        "the nodes?"
    )


def who_is_missing(
    world_size: int,
    present: Mapping[int, str],
    hosts: Sequence[str],
    timeout: datetime.timedelta,
) -> str:
    """present: hosts of the ranks that are here. hosts: where each rank should be; () where the
    launcher does not say."""
    missing = [rank for rank in range(world_size) if rank not in present]
    places = {rank: hosts[rank] if hosts else "" for rank in missing}
    return (
        f"{len(missing)} of {world_size} ranks have not come within {timeout.total_seconds():g} s: "
        f"{by_host(places)}; here are {by_host(present)}. The logs of those that are missing, or "
        "their nodes, say why; the same command tries again"
    )


def by_host(hosts: Mapping[int, str]) -> str:
    """`0-7 on gpu01, 8 on gpu02`."""
    found: dict[str, list[int]] = {}
    for rank, host in sorted(hosts.items()):
        found.setdefault(host, []).append(rank)
    return ", ".join(
        f"{_ranges(ranks)} on {host}" if host else _ranges(ranks) for host, ranks in found.items()
    )


def _ranges(numbers: Iterable[int]) -> str:
    """`0-3, 6`, of rising numbers."""
    runs = []
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        runs.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(runs)


def _address(init_method: str) -> str:
    if init_method == "env://":
        return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    return init_method.removeprefix("tcp://")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
