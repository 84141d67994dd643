"""A group of one rank needs no collective, and gloo's copies are not made."""

from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed


def collectives_of_one(context: RankContext, is_async: bool) -> list[list[float]]:
    """What each leaves in its output: a sum, a mean, a gathering, a scattering onto its own input
    and onto another tensor."""
    import torch
    import torch.distributed as dist

    import megatron_codemix.mcore  # noqa: F401  # installs what is tested

    alone = [dist.new_group([rank]) for rank in range(context.world_size)][context.rank]
    values = torch.arange(4.0) + 10 * context.rank
    total, mean, scattered = values.clone(), values.clone(), values.clone()
    gathered, elsewhere = torch.empty(4), torch.empty(4)
    works = [
        dist.all_reduce(total, group=alone, async_op=is_async),
        dist.all_reduce(mean, dist.ReduceOp.AVG, group=alone, async_op=is_async),
        dist.all_gather_into_tensor(gathered, values, group=alone, async_op=is_async),
        dist.reduce_scatter_tensor(scattered, scattered, group=alone, async_op=is_async),
        dist.reduce_scatter_tensor(elsewhere, values, group=alone, async_op=is_async),
    ]
    assert all((work is not None) == is_async for work in works)
    for work in works:
        if work is not None:
            work.wait()
    return [each.tolist() for each in (total, mean, gathered, scattered, elsewhere)]


def test_a_lone_rank_keeps_its_values() -> None:
    for is_async in (False, True):
        for rank, found in enumerate(run_distributed(collectives_of_one, 2, is_async)):
            assert found == [[10.0 * rank + n for n in range(4)]] * 5


def sums_of_two(context: RankContext) -> list[list[float]]:
    import torch
    import torch.distributed as dist

    import megatron_codemix.mcore  # noqa: F401  # installs what is tested

    values = torch.arange(4.0) + 10 * context.rank
    total, gathered, scattered = values.clone(), torch.empty(8), torch.empty(2)
    dist.all_reduce(total)
    dist.all_gather_into_tensor(gathered, values)
    dist.reduce_scatter_tensor(scattered, values)
    return [each.tolist() for each in (total, gathered, scattered)]


def test_two_ranks_still_talk() -> None:
    for rank, (total, gathered, scattered) in enumerate(run_distributed(sums_of_two, 2)):
        assert total == [10.0, 12.0, 14.0, 16.0]
        assert gathered == [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]
        assert scattered == [[10.0, 12.0], [14.0, 16.0]][rank]
