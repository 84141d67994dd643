"""Intervals against published values and their own definitions."""

import math

import pytest

from megatron_codemix.evaluation.safety.intervals import (
    Z_95,
    grouped_stderr,
    rate_interval,
    wilson_interval,
)


def test_wilson_of_nothing_found_is_its_closed_form():
    assert wilson_interval(0, 20) == (0.0, pytest.approx(Z_95**2 / (20 + Z_95**2)))
    assert wilson_interval(20, 20) == (pytest.approx(20 / (20 + Z_95**2)), 1.0)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_published_values(count: int, total: int, low: float, high: float):
    assert wilson_interval(count, total) == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
    )


@pytest.mark.parametrize(("count", "total"), [(1, 3), (7, 10), (250, 1000)])
def test_wilsons_ends_are_a_score_of_z(count: int, total: int):
    for end in wilson_interval(count, total):
        score = (count / total - end) / math.sqrt(end * (1 - end) / total)
        assert abs(score) == pytest.approx(Z_95)


@pytest.mark.parametrize("count", [1, 5, 400])
def test_the_ends_of_a_rate_are_a_score_of_z(count: int):
    amount = 12.5
    for end in rate_interval(count, amount):
        score = (count - end * amount) / math.sqrt(end * amount)
        assert abs(score) == pytest.approx(Z_95)


def test_the_rate_of_nothing_found():
    assert rate_interval(0, 4) == (0.0, pytest.approx(Z_95**2 / 4))


def test_what_is_no_share_is_refused():
    with pytest.raises(ValueError, match="5 of 4"):
        wilson_interval(5, 4)


def test_groups_of_equal_members_are_worth_one_each():
    """Ten answers to each of four prompts, all the same within a prompt: the error is that of four
    values, sqrt(s^2 / 4)."""
    groups = [(10, 10), (0, 10), (10, 10), (0, 10)]
    values = [1, 0, 1, 0]
    variance = sum((value - 0.5) ** 2 for value in values) / 3
    assert grouped_stderr(groups) == pytest.approx(math.sqrt(variance / 4))
    assert grouped_stderr([(3, 10), (0, 0)]) is None
