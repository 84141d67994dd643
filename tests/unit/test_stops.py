"""Requests to stop that come before anything listens for them."""

import os
import signal
from collections.abc import Iterator

import pytest

from megatron_codemix.cli.early import remembering_stops_of
from megatron_codemix.errors import EXIT_RETRY
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.stops import remembered_stop, remembering_stops
from megatron_codemix.train.stopping import StopRequests

NUMBERS = [signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture(autouse=True)
def _handlers_are_as_before() -> Iterator[None]:
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    assert [signal.getsignal(number) for number in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_the_loop_finds_what_came_before_it(number: signal.Signals) -> None:
    with remembering_stops():
        os.kill(os.getpid(), number)
        with StopRequests() as requests:
            assert requests.received == number


def test_a_loop_that_nobody_has_asked_goes_on() -> None:
    with remembering_stops(), StopRequests() as requests:
        assert requests.received is None
    with StopRequests() as requests:
        assert requests.received is None


def test_what_came_in_one_loop_counts_for_the_next() -> None:
    """A loop that goes back to a checkpoint is a new one."""
    with remembering_stops():
        with StopRequests():
            os.kill(os.getpid(), signal.SIGUSR1)
        with StopRequests() as requests:
            assert requests.received == signal.SIGUSR1


def test_a_block_within_another_keeps_what_that_has() -> None:
    with remembering_stops():
        os.kill(os.getpid(), signal.SIGTERM)
        with remembering_stops():
            stop = remembered_stop()
            assert stop is not None
            assert stop.received == signal.SIGTERM
        assert remembered_stop() is stop


def test_ranks_remember_what_came_before_they_were_forked() -> None:
    def target(context: RankContext) -> int:
        stop = remembered_stop()
        return 0 if stop is not None and stop.received == signal.SIGUSR1 else 1

    with remembering_stops():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert run_ranks(target, 2) == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_rank_that_nobody_has_asked_before_ends_at_once(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that waits in a library for a rank that has died must not have to be killed."""

    def target(context: RankContext) -> int:
        os.kill(os.getpid(), number)
        return 0

    with remembering_stops():
        assert run_ranks(target, 1) == EXIT_RETRY
    assert f"was killed by {number.name}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "remembers"),
    [
        (["train", "run.yaml"], True),
        (["--debug", "train", "run.yaml"], True),
        (["evaluate", "train"], False),
        (["--help"], False),
        ([], False),
    ],
)
def test_only_a_training_remembers(words: list[str], remembers: bool) -> None:
    with remembering_stops_of(words):
        assert (remembered_stop() is not None) is remembers
