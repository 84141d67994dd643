import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

# Equal, nearly equal and very unequal weights: where the last source has the rest of a large sum,
# deadlines are far apart.
WEIGHTS = st.one_of(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.integers(1, 400), min_size=1, max_size=6),
    st.lists(st.integers(1, 60), min_size=2, max_size=5).map(lambda w: [*w, 2000 - sum(w)]),
)


def random_weights(num_sources: int, concentration: float, total: int) -> np.ndarray:
    """Each at least 1, with this sum; the smaller the concentration, the more unequal."""
    rng = np.random.default_rng(num_sources)
    share = rng.dirichlet(np.full(num_sources, concentration))
    return rng.multinomial(total - num_sources, share) + 1


def twice_the_error(weights: np.ndarray, order: np.ndarray, counts: np.ndarray) -> int:
    """max over sources and prefixes of |x W - n w| * (2k - 2), in integers: exact."""
    total = int(weights.sum())
    n = counts.sum() + np.arange(len(order) + 1)
    worst = 0
    for source, weight in enumerate(weights):
        drawn = counts[source] + np.append(0, np.cumsum(order == source))
        worst = max(worst, int(np.abs(drawn * total - n * weight).max()))
    return worst * (2 * len(weights) - 2)


@given(WEIGHTS)
def test_equals_the_definition_in_fractions(weights):
    array = np.array(weights)
    result = ops.build_earliest_deadline_order(array, 300)
    expected = reference.build_earliest_deadline_order(array, 300)
    for ours, oracles in zip(result, expected, strict=True):
        assert ours.dtype == oracles.dtype
        np.testing.assert_array_equal(ours, oracles)


@pytest.mark.parametrize("num_sources", [1, 2, 3, 20, 100, 300])
@pytest.mark.parametrize("concentration", [0.05, 1.0, 20.0])
def test_equals_the_definition_for_many_sources(num_sources, concentration):
    weights = random_weights(num_sources, concentration, 10_000)
    result = ops.build_earliest_deadline_order(weights, 1000)
    expected = reference.build_earliest_deadline_order(weights, 1000)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("num_sources", [2, 5, 40])
def test_blocks_of_samples_meet_without_a_seam(num_sources):
    """The definition from somewhere before a border between blocks of 8,192 samples to after it."""
    weights = random_weights(num_sources, 0.5, 100_003)
    order, draws = ops.build_earliest_deadline_order(weights, 17_000)
    for start in (8192 - 150, 2 * 8192 - 150):
        counts = np.bincount(order[:start], minlength=num_sources)
        expected = reference.build_earliest_deadline_order(weights, 300, counts)
        np.testing.assert_array_equal(order[start : start + 300], expected[0])
        np.testing.assert_array_equal(draws[start : start + 300], expected[1])


@given(WEIGHTS)
def test_every_prefix_is_within_tijdemans_bound(weights):
    array = np.array(weights)
    order, _ = ops.build_earliest_deadline_order(array, 2 * sum(weights))
    k = len(weights)
    assert twice_the_error(array, order, np.zeros(k, int)) <= sum(weights) * max(0, 2 * k - 3)


@pytest.mark.parametrize("num_sources", [2, 3, 7, 33])
@pytest.mark.parametrize("concentration", [0.05, 0.5, 10.0])
def test_bound_over_a_whole_period_of_2_to_the_20(num_sources, concentration):
    weights = random_weights(num_sources, concentration, 2**20)
    order, _ = ops.build_earliest_deadline_order(weights, 2**20)
    counts = np.zeros(num_sources, int)
    assert twice_the_error(weights, order, counts) <= 2**20 * (2 * num_sources - 3)
    np.testing.assert_array_equal(np.bincount(order, minlength=num_sources), weights)


@given(WEIGHTS)
def test_repeats_after_the_reduced_sum(weights):
    array = np.array(weights)
    period = sum(weights) // math.gcd(*weights)
    order, draws = ops.build_earliest_deadline_order(array, 3 * period)
    np.testing.assert_array_equal(order, np.tile(order[:period], 3))
    for source in range(len(weights)):
        np.testing.assert_array_equal(
            draws[order == source], np.arange(np.count_nonzero(order == source))
        )


@given(WEIGHTS, st.integers(0, 400), st.integers(1, 200))
def test_goes_on_from_its_counts(weights, done, more):
    array = np.array(weights)
    whole_order, whole_draws = ops.build_earliest_deadline_order(array, done + more)
    counts = np.bincount(whole_order[:done], minlength=len(weights))
    order, draws = ops.build_earliest_deadline_order(array, more, counts)
    np.testing.assert_array_equal(order, whole_order[done:])
    np.testing.assert_array_equal(draws, whole_draws[done:])
    np.testing.assert_array_equal(counts, np.bincount(whole_order[:done], minlength=len(weights)))


@given(WEIGHTS, st.integers(0, 300))
def test_counts_equal_going_through_all_samples(weights, num_samples):
    array = np.array(weights)
    result = ops.count_earliest_deadline_draws(array, num_samples)
    expected = reference.count_earliest_deadline_draws(array, num_samples)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("num_sources", [1, 2, 3, 20, 100, 300])
@pytest.mark.parametrize("concentration", [0.05, 1.0, 20.0])
def test_counts_anywhere_in_a_period_of_2_to_the_20(num_sources, concentration):
    weights = random_weights(num_sources, concentration, 2**20)
    order, _ = ops.build_earliest_deadline_order(weights, 2**20)
    rng = np.random.default_rng(5)
    for num_samples in [0, 1, 4096, 8192, 2**20, *rng.integers(0, 2**20, 20).tolist()]:
        np.testing.assert_array_equal(
            ops.count_earliest_deadline_draws(weights, num_samples),
            np.bincount(order[:num_samples], minlength=num_sources),
        )


def test_counts_far_beyond_int32():
    weights = np.array([2**39 - 1, 2**38, 2**38 + 1])
    periods = 2**20
    order, _ = ops.build_earliest_deadline_order(weights, 1000)
    result = ops.count_earliest_deadline_draws(weights, periods * 2**40 + 1000)
    np.testing.assert_array_equal(result, periods * weights + np.bincount(order, minlength=3))


def test_counting_refuses_bad_arguments():
    with pytest.raises(ValueError, match="weight 0 of source 1"):
        ops.count_earliest_deadline_draws(np.array([1, 0]), 3)
    with pytest.raises(ValueError, match="num_samples is -1, outside"):
        ops.count_earliest_deadline_draws(np.array([1, 1]), -1)


def test_goes_on_far_beyond_int32():
    weights = np.array([2**39 - 1, 2**38, 2**38 + 1])
    periods = 2**20
    order, draws = ops.build_earliest_deadline_order(weights, 1000, weights * periods)
    first_order, first_draws = ops.build_earliest_deadline_order(weights, 1000)
    np.testing.assert_array_equal(order, first_order)
    np.testing.assert_array_equal(draws, first_draws + periods * weights[order])


@pytest.mark.parametrize(
    ("weights", "counts", "message"),
    [
        ([3, 0], None, r"weight 0 of source 1 is outside \[1, 2\^40\]"),
        ([-1], None, "weight -1 of source 0"),
        ([], None, "0 sources"),
        ([2**40, 1], None, "the weights sum to 1099511627777"),
        ([1, 1], [0], "1 counts for 2 sources"),
        ([1, 1], [0, -1], "count -1 of source 1 is negative"),
        ([1, 1], [2, 0], "further from its plan"),
        # Within the bound, but both 0 and 1 are due at the next sample.
        ([9, 9, 1, 1], [1, 1, 1, 1], "no order within the bound goes on"),
    ],
)
def test_refuses_bad_arguments(weights, counts, message):
    array = np.array(weights, np.int64)
    with pytest.raises(ValueError, match=message):
        ops.build_earliest_deadline_order(
            array, 10, None if counts is None else np.array(counts, np.int64)
        )
