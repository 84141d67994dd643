"""Constant weights, through the mixture's own interface."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.data.mixture.earliest_deadline import EarliestDeadline
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights

SMALL_MIXTURES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(0, 50), min_size=1, max_size=8
).filter(lambda weights: any(weights.values()))


def constant_mixture(weights: dict[str, int]) -> Mixture:
    return Mixture(constant_plan(weights))


def assert_every_prefix_is_on_plan(weights: dict[str, int], num_samples: int) -> None:
    mixture = constant_mixture(weights)
    sources, draws = mixture.locate_range(0, num_samples)
    n = np.arange(num_samples + 1)
    total = sum(weights.values())
    for number, name in enumerate(mixture.source_names):
        chosen = sources == number
        consumed = np.append(0, np.cumsum(chosen))
        # |consumed - planned| < 1, in integers.
        assert np.abs(consumed * total - n * weights[name]).max() < total
        np.testing.assert_array_equal(draws[chosen], np.arange(consumed[-1]))


@given(SMALL_MIXTURES)
def test_every_prefix_is_within_one_sample_of_the_plan(weights):
    assert_every_prefix_is_on_plan(weights, 3 * sum(weights.values()) + 7)


@pytest.mark.parametrize(
    "weights",
    [
        {"code": 0.1, "markup": 0.2, "text": 0.7},
        {"code": 0.5, "text": 0.5},
        {"text": 1.0},
        {f"source{i:02d}": (i + 1) / 210 for i in range(20)},
    ],
)
def test_quantised_mixture_stays_on_plan_past_a_period(weights):
    assert_every_prefix_is_on_plan(quantise_weights(weights), WEIGHT_UNITS + 1000)


@given(SMALL_MIXTURES, st.integers(0, 10**12), st.integers(0, 60))
def test_random_access_equals_sequential(weights, start, length):
    mixture = constant_mixture(weights)
    sources, draws = mixture.locate_range(start, start + length)
    assert (sources.dtype, draws.dtype) == (np.int16, np.int64)
    before = mixture.counts(start)
    for offset in range(length):
        assert mixture.locate(start + offset) == (sources[offset], draws[offset])
        assert draws[offset] == before[sources[offset]]
        before[sources[offset]] += 1
    np.testing.assert_array_equal(before, mixture.counts(start + length))
    assert before.sum() == start + length


@pytest.mark.parametrize("num_sources", [1, 3, 20])
def test_batches_in_any_order_equal_going_through_all_samples(num_sources):
    shares = np.random.default_rng(3).dirichlet(np.full(num_sources, 0.3)).tolist()
    weights = quantise_weights({f"source{i:02d}": share for i, share in enumerate(shares)})
    in_order, jumping = constant_mixture(weights), constant_mixture(weights)
    period = WEIGHT_UNITS
    whole = in_order.locate_range(0, 2 * period)
    starts = np.random.default_rng(4).permutation(2 * period - 5000)[:200].tolist()
    for start in [717_000, *starts, period - 100, 0]:
        sources, draws = jumping.locate_range(start, start + 5000)
        np.testing.assert_array_equal(sources, whole[0][start : start + 5000])
        np.testing.assert_array_equal(draws, whole[1][start : start + 5000])
        counts = np.bincount(whole[0][:start], minlength=num_sources)
        np.testing.assert_array_equal(jumping.counts(start), counts)


def test_sources_are_numbered_by_sorted_name_and_weight_zero_is_never_drawn():
    mixture = constant_mixture({"text": 2, "code": 0, "markup": 1})
    assert mixture.source_names == ["markup", "text"]
    sources, _ = mixture.locate_range(0, 300)
    assert np.bincount(sources).tolist() == [100, 200]


def test_the_order_of_weights_in_the_file_does_not_matter():
    one = constant_mixture({"a": 3, "b": 5, "c": 2}).locate_range(0, 100)
    other = constant_mixture({"c": 2, "b": 5, "a": 3}).locate_range(0, 100)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": 2, "b": -1}])
def test_refuses_weights_that_name_no_mixture(weights):
    with pytest.raises(ValueError, match="weights must be positive"):
        EarliestDeadline(weights)


def test_refuses_negative_sample_numbers():
    with pytest.raises(ValueError, match="sample numbers start at 0, got -1"):
        constant_mixture({"a": 1}).locate(-1)


def test_counting_and_planning_agree_far_out():
    mixture = constant_mixture({"a": 3, "b": 5})
    assert mixture.counts(8 * 10**15).tolist() == [3 * 10**15, 5 * 10**15]
    assert mixture.planned(4).tolist() == [1.5, 2.5]


def test_samples_of_far_periods_are_those_of_the_first():
    mixture = constant_mixture({"a": 2, "b": 5, "c": 6})
    far = 13 * 10**12
    sources, draws = mixture.locate_range(far - 13, far + 13)
    first_sources, first_draws = mixture.locate_range(0, 13)
    np.testing.assert_array_equal(sources, np.tile(first_sources, 2))
    per_source = np.array([2, 5, 6])[first_sources]
    np.testing.assert_array_equal(draws[13:], first_draws + per_source * 10**12)
    np.testing.assert_array_equal(draws[:13], first_draws + per_source * (10**12 - 1))
