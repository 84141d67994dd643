"""Ranks that do not come are named. Each rank is a thread with a client of its own."""

import datetime
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from megatron_codemix.backend.meeting import meet, who_is_missing
from megatron_codemix.errors import RetryableError

SOON = datetime.timedelta(seconds=1)
LATE = datetime.timedelta(seconds=60)


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


def come(ranks: dict[int, datetime.timedelta], world_size: int, method: str) -> dict[int, str]:
    """What each of these ranks is told, "" where all have met; its time is how long it waits."""
    with ThreadPoolExecutor(len(ranks)) as pool:
        waiting: dict[int, Future[object]] = {
            rank: pool.submit(meet, rank, world_size, method, timeout=timeout)
            for rank, timeout in ranks.items()
        }
        return {rank: str(future.exception() or "") for rank, future in waiting.items()}


def test_all_meet(method: str) -> None:
    assert come({0: LATE, 1: LATE, 2: LATE}, 3, method) == {0: "", 1: "", 2: ""}


def test_a_rank_that_does_not_come_is_named(method: str) -> None:
    here = socket.gethostname()
    said = come({0: SOON, 2: LATE}, 4, method)
    assert said[0].startswith("2 of 4 ranks have not come within 1 s: 1, 3; here are 0")
    assert f" on {here}" in said[0]


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
