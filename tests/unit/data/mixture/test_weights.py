from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights
from megatron_codemix.errors import ConfigError


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
