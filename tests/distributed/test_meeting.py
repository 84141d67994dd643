"""Ranks that do not come are named. Each rank is a thread with a client of its own."""

import datetime
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from torch.distributed import DistNetworkError, DistStoreError, HashStore, TCPStore

from megatron_codemix.backend import meeting
from megatron_codemix.backend.meeting import meet, who_is_missing
from megatron_codemix.backend.process_groups import DISTRIBUTED_TIMEOUT
from megatron_codemix.errors import RetryableError
from megatron_codemix.launch.placement import RankContext
from tests.helpers import server
from tests.helpers.ranks import run_distributed

SOON = datetime.timedelta(seconds=1)
LATE = datetime.timedelta(seconds=60)
BOTH = datetime.timedelta(seconds=2)
"""For ranks of which one waits for the other's end: who comes first asks again in half a second."""


@pytest.fixture
def address() -> Iterator[str]:
    """A port that nobody else is given; torch's store sets SO_REUSEADDR too."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


@pytest.fixture(params=["tcp", "env"])
def method(request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    host, _, port = address.partition(":")
    monkeypatch.setenv("MASTER_ADDR", host)
    monkeypatch.setenv("MASTER_PORT", port)
    return f"tcp://{address}" if request.param == "tcp" else "env://"


def come(
    ranks: dict[int, datetime.timedelta],
    world_size: int,
    method: str,
    launches: Sequence[str] = ("",) * 4,
) -> dict[int, str]:
    """What each of these ranks is told, "" where all have met; its time is how long it waits.

    launches: that of each rank.
    """
    with ThreadPoolExecutor(len(ranks)) as pool:
        waiting: dict[int, Future[object]] = {
            rank: pool.submit(
                meet, rank, world_size, method, launch=launches[rank], timeout=timeout
            )
            for rank, timeout in ranks.items()
        }
        return {rank: str(future.exception() or "") for rank, future in waiting.items()}


def test_all_meet(method: str) -> None:
    assert come({0: LATE, 1: LATE, 2: LATE}, 3, method) == {0: "", 1: "", 2: ""}


def test_a_rank_that_does_not_come_is_named_by_all_others(address: str) -> None:
    here = socket.gethostname()
    for said in come({0: BOTH, 2: BOTH}, 4, f"tcp://{address}").values():
        assert said.startswith(
            f"2 of 4 ranks have not come within 2 s: 1, 3; here are 0, 2 on {here}. "
        )


def test_ranks_of_two_launches_do_not_meet(address: str) -> None:
    said = come({0: BOTH, 1: BOTH}, 2, f"tcp://{address}", launches="ab")
    assert said[0].startswith("1 of 2 ranks have not come within 2 s: 1; here are 0 on")
    assert said[1].startswith("1 of 2 ranks have not come within 2 s: 0; here are 1 on")


@pytest.mark.parametrize("missing", [(), (5,), (0, 1, 2, 3), (3, 6), tuple(range(1, 7))])
def test_who_is_there_is_found_by_halves(missing: tuple[int, ...]) -> None:
    store, keys = HashStore(), [str(rank) for rank in range(7)]
    come = [rank for rank in range(7) if rank not in missing]
    for rank in come:
        store.set(keys[rank], "host")
    assert meeting.ranks_that_came(store, keys, range(7)) == come


class EndsWhileAsked(HashStore):
    """Of a rank 0 that has waited as long as this rank, and is gone with what it knows."""

    def wait(self, *_: object) -> None:
        raise DistStoreError("wait timeout")

    def check(self, keys: list[str]) -> bool:
        raise DistNetworkError("connection was closed")


def test_a_rank_0_that_ends_while_it_is_asked_who_came(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meeting, "_open_store", lambda *_: EndsWhileAsked())
    with pytest.raises(RetryableError, match=r"^rank 1 on .*: rank 0 has ended while the ranks"):
        meet(1, 3, f"tcp://{address}", timeout=SOON)


def keep_store_until_someone_comes(address: str) -> None:
    """And end, as a rank 0 that is killed then."""
    host, _, port = address.rpartition(":")
    store = TCPStore(host, int(port), is_master=True, wait_for_workers=False)
    empty = store.num_keys()
    while store.num_keys() == empty:
        pass


def test_a_rank_0_that_ends_while_others_wait(address: str) -> None:
    rank_0 = server.context().Process(target=keep_store_until_someone_comes, args=(address,))
    rank_0.start()
    try:
        said = come({1: LATE}, 2, f"tcp://{address}")[1]
    finally:
        rank_0.kill()
        rank_0.join()
    assert said.startswith(f"rank 1 on {socket.gethostname()}: rank 0 has ended while the ranks")


def test_a_port_that_is_taken_is_told_at_once() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        said = come({0: LATE}, 2, f"tcp://{address}")[0]
    assert said.startswith(f"rank 0 on {socket.gethostname()} cannot listen at {address}: ")
    assert "set MASTER_PORT" in said


def test_rank_0_that_does_not_come_is_named_with_its_address(method: str, address: str) -> None:
    said = come({1: SOON}, 2, method)[1]
    assert said.startswith(f"rank 1 on {socket.gethostname()} has not reached rank 0 at {address}")


def test_a_missing_rank_can_be_tried_again() -> None:
    """Exit code 75."""
    with pytest.raises(RetryableError):
        meet(1, 2, "tcp://127.0.0.1:9", timeout=SOON)


def test_missing_ranks_are_told_with_where_they_should_be() -> None:
    present = dict.fromkeys(range(8), "gpu01") | {8: "gpu02", 15: "gpu02"}
    hosts = ["gpu01"] * 8 + ["gpu02"] * 8
    assert who_is_missing(16, present, hosts, SOON).startswith(
        "6 of 16 ranks have not come within 1 s: 9-14 on gpu02; here are 0-7 on gpu01, 8, 15 on"
    )


def patience(context: RankContext) -> float:
    """Seconds for which a collective's set-up waits for the others' keys."""
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store().timeout.total_seconds()


def test_after_the_meeting_ranks_wait_as_long_as_collectives_do() -> None:
    assert run_distributed(patience, 1) == [DISTRIBUTED_TIMEOUT.total_seconds()]
