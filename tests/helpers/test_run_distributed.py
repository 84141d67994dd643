"""What tests on several ranks rely on: results by rank, and readable failures."""

import os
import signal

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed


def _sum_of_ranks(context: RankContext, factor: int) -> tuple[int, float]:
    import torch

    total = torch.tensor(float(context.rank * factor))
    torch.distributed.all_reduce(total)
    return context.rank, total.item()


def _fail_on_rank_1(context: RankContext) -> None:
    if context.rank == 1:
        raise DataError("block 3 is damaged")
    _sum_of_ranks(context, 1)


def _hang_on_rank_0(context: RankContext) -> None:
    if context.rank == 0:
        signal.pause()
    _sum_of_ranks(context, 1)


def _die_on_rank_1(context: RankContext) -> None:
    if context.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _sum_of_ranks(context, 1)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_results_come_back_by_rank(num_ranks: int) -> None:
    total = 10.0 * sum(range(num_ranks))

    results = run_distributed(_sum_of_ranks, num_ranks, 10)

    assert results == [(rank, total) for rank in range(num_ranks)]


def test_a_failure_shows_each_rank() -> None:
    with pytest.raises(pytest.fail.Exception) as caught:
        run_distributed(_fail_on_rank_1, 2)

    message = str(caught.value)
    assert message.startswith("2 ranks ended with exit code 2")
    assert "DataError: block 3 is damaged" in message
    assert "--- rank 0" in message


def test_a_hang_shows_the_stacks() -> None:
    with pytest.raises(pytest.fail.Exception, match="_hang_on_rank_0"):
        run_distributed(_hang_on_rank_0, 2, timeout_seconds=2)


def test_a_killed_rank_is_named() -> None:
    with pytest.raises(pytest.fail.Exception, match="rank 1 of 2 was killed by SIGKILL"):
        run_distributed(_die_on_rank_1, 2)
