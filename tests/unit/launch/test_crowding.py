"""More ranks than memory holds, which a command refuses before it has begun anything."""

import pytest

from megatron_codemix.errors import RetryableError, UnavailableError
from megatron_codemix.launch.crowding import require_room

MIB = 1 << 20


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Sets what memory can be had, and how much there is, in MiB."""

    def has(obtainable: int | None, total: int) -> None:
        bytes_now = None if obtainable is None else obtainable * MIB
        monkeypatch.setattr("megatron_codemix.launch.crowding.obtainable_bytes", lambda: bytes_now)
        monkeypatch.setattr("megatron_codemix.launch.crowding.total_bytes", lambda: total * MIB)

    return has


def test_more_than_the_machine_has_are_refused(machine) -> None:
    machine(100, 120)
    require_room(2)
    with pytest.raises(UnavailableError, match=r"3 processes need about 144.0 MiB .*100.0 MiB can"):
        require_room(3)


def test_more_than_is_free_now_may_fit_later(machine) -> None:
    machine(100, 200)
    with pytest.raises(RetryableError, match=r"100.0 MiB can be had here now") as raised:
        require_room(3)
    assert raised.value.exit_code == 75


def test_a_machine_that_does_not_say_is_not_asked(machine) -> None:
    machine(None, 0)
    require_room(1000)
