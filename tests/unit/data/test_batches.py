import itertools

import pytest

from megatron_codemix.data.batches import samples_of_step
from megatron_codemix.errors import ConfigError

GLOBAL_BATCH = 24


@pytest.mark.parametrize("dp_size", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("microbatch", [1, 2])
def test_ranks_and_microbatches_cover_each_sample_once(dp_size, microbatch):
    seen = []
    for step, rank in itertools.product(range(3), range(dp_size)):
        for samples in samples_of_step(step, GLOBAL_BATCH, rank, dp_size, microbatch):
            assert len(samples) == microbatch
            assert set(samples) <= set(range(step * GLOBAL_BATCH, (step + 1) * GLOBAL_BATCH))
            seen.extend(samples)
    assert sorted(seen) == list(range(3 * GLOBAL_BATCH))


@pytest.mark.parametrize("dp_size", [1, 2, 3, 4])
def test_the_global_order_does_not_depend_on_dp_size(dp_size):
    ranks = [samples_of_step(5, GLOBAL_BATCH, rank, dp_size, 2) for rank in range(dp_size)]
    in_reading_order = [
        sample
        for microbatches in zip(*ranks, strict=True)
        for samples in microbatches
        for sample in samples
    ]
    assert in_reading_order == list(range(5 * GLOBAL_BATCH, 6 * GLOBAL_BATCH))


def test_the_microbatch_of_a_rank():
    assert samples_of_step(2, 12, dp_rank=1, dp_size=2, microbatch=3) == [
        [27, 28, 29],
        [33, 34, 35],
    ]


@pytest.mark.parametrize(("dp_size", "microbatch"), [(5, 1), (2, 5), (25, 1), (1, 0), (0, 1)])
def test_refuses_a_batch_that_does_not_divide(dp_size, microbatch):
    with pytest.raises(ConfigError, match="a global batch of 24 sequences cannot be split"):
        samples_of_step(0, GLOBAL_BATCH, 0, dp_size, microbatch)


@pytest.mark.parametrize(("step", "rank"), [(-1, 0), (0, 2), (0, -1)])
def test_refuses_a_rank_or_step_that_is_not_there(step, rank):
    with pytest.raises(ValueError, match="out of range"):
        samples_of_step(step, GLOBAL_BATCH, rank, 2, 1)
