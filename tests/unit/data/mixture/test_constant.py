from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.data.mixture.constant import ConstantMixture
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights
from megatron_codemix.errors import ConfigError

SMALL_MIXTURES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(0, 50), min_size=1, max_size=8
).filter(lambda weights: any(weights.values()))


def normalised(raw: dict[str, float]) -> dict[str, float]:
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.floats(1e-9, 1), min_size=1, max_size=30)
)
def test_quantised_weights_are_exact_in_sum_and_close_to_what_was_asked(raw):
    asked = normalised(raw)
    units = quantise_weights(asked)
    assert sum(units.values()) == WEIGHT_UNITS
    assert list(units) == sorted(asked)
    assert min(units.values()) >= 1
    # One unit of rounding, and one for each source that was raised to its first unit.
    slack = 1 + len(asked)
    total = sum(Fraction(weight) for weight in asked.values())
    for name, weight in asked.items():
        assert abs(units[name] - Fraction(weight) * WEIGHT_UNITS / total) <= slack


def test_quantised_weights_round_by_largest_remainder():
    third = quantise_weights({"c": 1 / 3, "a": 1 / 3, "b": 1 / 3})
    # 2^20 = 3 * 349525 + 1, and the first name takes the unit left over.
    assert third == {"a": 349526, "b": 349525, "c": 349525}
    assert quantise_weights({"text": 0.75, "code": 0.25}) == {"code": 2**18, "text": 3 * 2**18}


def test_a_weight_of_zero_gets_no_units():
    assert quantise_weights({"text": 1, "code": 0}) == {"code": 0, "text": WEIGHT_UNITS}


def test_tiny_weights_get_one_unit_at_the_cost_of_the_large():
    weights = {"text": 1 - 3e-9, "a": 1e-9, "b": 1e-9, "c": 1e-9}
    assert quantise_weights(weights) == {"a": 1, "b": 1, "c": 1, "text": WEIGHT_UNITS - 3}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"text": 0.5, "code": 0.4}, r"sum to 0.9, not 1 \(text: 0.5, code: 0.4\)"),
        ({"text": 1.5, "code": -0.5}, "the weight of source 'code' is -0.5"),
        ({"text": float("nan")}, "the weight of source 'text' is nan"),
        ({"text": float("inf"), "code": 0.5}, "the weight of source 'text' is inf"),
        ({}, "sum to 0, not 1"),
    ],
)
def test_bad_weights_are_refused_with_their_values(weights, message):
    with pytest.raises(ConfigError, match=message):
        quantise_weights(weights)


def test_all_bad_weights_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        quantise_weights({"a": -1.0, "b": float("nan"), "c": 0.5})
    assert len(caught.value.problems) == 2


def assert_every_prefix_is_on_plan(mixture: ConstantMixture, num_samples: int) -> None:
    sources, draws = mixture.locate_range(0, num_samples)
    n = np.arange(num_samples + 1)
    total = int(mixture.weights.sum())
    for number, weight in enumerate(mixture.weights):
        chosen = sources == number
        consumed = np.append(0, np.cumsum(chosen))
        # |consumed - planned| < 1, in integers.
        assert np.abs(consumed * total - n * weight).max() < total
        np.testing.assert_array_equal(draws[chosen], np.arange(consumed[-1]))


@given(SMALL_MIXTURES)
def test_every_prefix_is_within_one_sample_of_the_plan(weights):
    assert_every_prefix_is_on_plan(ConstantMixture(weights), 3 * sum(weights.values()) + 7)


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
    assert_every_prefix_is_on_plan(ConstantMixture(quantise_weights(weights)), WEIGHT_UNITS + 1000)


@given(SMALL_MIXTURES, st.integers(0, 10**12), st.integers(0, 60))
def test_random_access_equals_sequential(weights, start, length):
    mixture = ConstantMixture(weights)
    sources, draws = mixture.locate_range(start, start + length)
    assert (sources.dtype, draws.dtype) == (np.int16, np.int64)
    before = mixture.counts(start)
    for offset in range(length):
        assert mixture.locate(start + offset) == (sources[offset], draws[offset])
        assert draws[offset] == before[sources[offset]]
        before[sources[offset]] += 1
    np.testing.assert_array_equal(before, mixture.counts(start + length))
    assert before.sum() == start + length


def test_sources_are_numbered_by_sorted_name_and_weight_zero_is_never_drawn():
    mixture = ConstantMixture({"text": 2, "code": 0, "markup": 1})
    assert mixture.source_names == ["code", "markup", "text"]
    sources, _ = mixture.locate_range(0, 300)
    assert np.bincount(sources, minlength=3).tolist() == [0, 100, 200]


def test_the_order_of_weights_in_the_file_does_not_matter():
    one = ConstantMixture({"a": 3, "b": 5, "c": 2}).locate_range(0, 100)
    other = ConstantMixture({"c": 2, "b": 5, "a": 3}).locate_range(0, 100)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("weights", [{"a": 0}, {"a": 2, "b": -1}])
def test_refuses_weights_that_name_no_mixture(weights):
    with pytest.raises(ValueError, match="weights must be >= 0 and not all 0"):
        ConstantMixture(weights)


def test_refuses_negative_sample_numbers():
    with pytest.raises(ValueError, match="sample numbers start at 0, got -1"):
        ConstantMixture({"a": 1}).locate(-1)
