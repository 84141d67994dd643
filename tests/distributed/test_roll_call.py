"""Ranks that hold up the others are named while all hang. Each is a real process on gloo."""

import datetime
import os
import signal
import socket
from collections.abc import Callable, Mapping

import pytest

from megatron_codemix.backend import meeting
from megatron_codemix.backend.devices import select_backend
from megatron_codemix.backend.process_groups import initialize_process_group
from megatron_codemix.backend.roll_call import RollCall, Standing, describe, ranks_behind
from megatron_codemix.errors import EXIT_RETRY, RetryableError
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.rank_process import tell_failure
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.train.watchdog import Watchdog

HERE = socket.gethostname()
NEVER = datetime.timedelta(hours=1)
SOON = {"answer_timeout": datetime.timedelta(seconds=2), "listen_seconds": 0.1}
ALL_ANSWER = SOON | {"answer_timeout": datetime.timedelta(seconds=60)}


def steps_until(end: Callable[[], object], stuck: int) -> Callable[[RankContext], int]:
    """What four ranks do: steps, in the third of which `stuck` does something else, on the way to a
    collective with rank 3."""

    def target(context: RankContext) -> int:
        import torch
        import torch.distributed as dist

        rank, size = context.rank, context.world_size
        backend = select_backend("cpu")
        initialize_process_group(
            backend, rank=rank, world_size=size, init_method=context.init_method
        )
        pair = dist.new_group([stuck, 3])
        patience = SOON if end is stop else ALL_ANSWER
        roll_call = RollCall(rank=rank, world_size=size, **patience)
        watchdog = Watchdog(
            factor=2.0,
            floor_seconds=2.0,
            start_seconds=60.0,
            diagnose=roll_call.who_is_missing,
            on_hang=lambda message: tell_failure(context, message),
        )
        with roll_call, watchdog:
            for step in range(3):
                watchdog.beat(f"step {step + 1}")
                if rank == stuck and step == 2:
                    end()
                if rank in (stuck, 3):
                    dist.all_reduce(torch.ones(1), group=pair)
                dist.all_reduce(torch.ones(1))
        return 0

    return target


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def wait_for_nobody() -> None:
    from torch.distributed.distributed_c10d import _get_default_store

    meeting._who_comes(_get_default_store(), ["nobody"], NEVER)


@pytest.mark.parametrize(
    ("end", "stuck", "said"),
    [
        (stop, 2, f"1 of 4 ranks do not answer: 2 on {HERE}; is the process stopped"),
        (stop, 0, f"the store of rank 0 on {HERE} does not answer"),
        (
            wait_for_nobody,
            2,
            "1 of 4 ranks have not come to a collective that others wait in: "
            f"2 on {HERE}, in backend/meeting.py",
        ),
    ],
    ids=["stopped", "store stopped", "stuck"],
)
def test_a_rank_that_does_not_go_on_is_named(
    end: Callable[[], object], stuck: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_ranks(steps_until(end, stuck), 4, grace_seconds=0.2) == EXIT_RETRY
    told = capfd.readouterr().err.split("error: hangs: ")
    assert len(told) == 2, told  # one error, whatever the others have seen
    assert told[1].startswith("step 3 has taken")
    assert said in told[1]
    assert "the same command goes on from the last checkpoint" in told[1]


def test_a_collective_that_times_out_names_the_rank(capfd: pytest.CaptureFixture[str]) -> None:
    def target(context: RankContext) -> int:
        import torch
        import torch.distributed as dist

        rank, size = context.rank, context.world_size
        initialize_process_group(
            select_backend("cpu"),
            rank=rank,
            world_size=size,
            init_method=context.init_method,
        )
        with RollCall(rank=rank, world_size=size, **SOON):
            dist.all_reduce(torch.ones(1))
            if rank == 1:
                stop()
            # Not before, when a machine that is busy may take longer.
            dist.distributed_c10d._set_pg_timeout(datetime.timedelta(seconds=1))
            dist.all_reduce(torch.ones(1))
        return 0

    assert run_ranks(target, 2, grace_seconds=0.2) == EXIT_RETRY
    told = capfd.readouterr().err
    assert f"error: a collective has timed out: 1 of 2 ranks do not answer: 1 on {HERE};" in told


def test_ranks_that_ask_at_once_share_a_call(capfd: pytest.CaptureFixture[str]) -> None:
    """Each answers every call. The test is over before anybody looks for one."""

    def target(context: RankContext) -> int:
        import torch.distributed as dist

        rank, size = context.rank, context.world_size
        initialize_process_group(
            select_backend("cpu"), rank=rank, world_size=size, init_method=context.init_method
        )
        patience = {"answer_timeout": datetime.timedelta(seconds=120), "listen_seconds": 30.0}
        with RollCall(rank=rank, world_size=size, **patience) as roll_call:
            dist.barrier()
            said = roll_call.who_is_missing()
            dist.barrier()
            calls = dist.distributed_c10d._get_default_store().add("codemix/roll/calls", 0)
        raise RetryableError(f"{calls}: {said}")

    assert run_ranks(target, 4) == EXIT_RETRY
    told = capfd.readouterr().err
    assert told.startswith("error: 1: all 4 ranks answer and have called the same collectives")


def test_a_rank_that_is_alone_says_where_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    def target(context: RankContext) -> int:
        initialize_process_group(
            select_backend("cpu"), rank=0, world_size=1, init_method=context.init_method
        )
        with RollCall(rank=0, world_size=1) as roll_call:
            raise RetryableError(roll_call.who_is_missing())

    assert run_ranks(target, 1) == EXIT_RETRY
    assert "error: it is alone, in backend/roll_call.py:" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("calls", "behind"),
    [
        # Tensor pairs 0-1 and 2-3 (t, u), data pairs 0-2 and 1-3 (d, e): rank 3 is stuck.
        ([{"t": 9, "d": 4}, {"t": 9, "e": 4}, {"u": 9, "d": 3}, {"u": 8, "e": 3}], [3]),
        ([{"t": 5}, {"t": 5}], []),
        ([{"t": 5}, {"t": 4}, {"t": 4}], [1, 2]),
        # Each waits for the other: both are told.
        ([{"t": 5, "d": 1}, {"t": 4, "d": 2}], [0, 1]),
    ],
)
def test_who_is_waited_for_follows_from_what_was_called(
    calls: list[Mapping[str, int]], behind: list[int]
) -> None:
    assert ranks_behind(dict(enumerate(calls))) == behind


def test_where_no_rank_is_behind_the_device_or_the_network_is_to_blame() -> None:
    answers = {rank: Standing(calls={"0": 7}, place="in a.py:1 (f)") for rank in range(2)}
    said = describe(2, answers, {0: "gpu01", 1: "gpu02"})
    assert said.startswith("all 2 ranks answer and have called the same collectives: a device")


def test_silent_ranks_are_named_by_host_and_not_those_that_wait_for_them() -> None:
    answers = {0: Standing(calls={"0": 7}, place=""), 1: Standing(calls={"0": 6}, place="")}
    said = describe(4, answers, dict.fromkeys(range(2), "gpu01") | {2: "gpu02", 3: "gpu02"})
    assert said.startswith("2 of 4 ranks do not answer: 2-3 on gpu02; is the process stopped, or")
