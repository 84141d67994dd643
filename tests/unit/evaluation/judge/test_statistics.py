"""Intervals against scipy, published figures, and the definition by likelihood."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from megatron_codemix.evaluation.judge.statistics import share, share_difference


@pytest.mark.parametrize(
    ("count", "total"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (75, 200), (1999, 2000)]
)
def test_share_is_wilsons_interval(count: int, total: int) -> None:
    expected = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    estimate = share(count, total)
    assert estimate.value == count / total
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_share_has_the_published_figures() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, score method: 81 of 263."""
    estimate = share(81, 263)
    assert (estimate.low, estimate.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def score_statistic(difference: float, wins: int, losses: int, total: int) -> float:
    """Squared, from the likelihood: the share of losses that fits best under `difference` is found
    by a search, not by the formula."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def negative_log_likelihood(share_of_losses: float) -> float:
        shares = np.clip(
            [
                share_of_losses + difference,
                share_of_losses,
                1 - difference - 2 * share_of_losses,
            ],
            1e-300,
            1,
        )
        return float(-np.dot([wins, losses, total - wins - losses], np.log(shares)))

    found = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    variance = total * (2 * found.x + difference - difference**2)
    return (wins - losses - total * difference) ** 2 / variance


@pytest.mark.parametrize(
    ("wins", "losses", "total"), [(12, 2, 50), (75, 67, 200), (3, 9, 20), (40, 1, 60), (5, 0, 30)]
)
def test_difference_ends_where_the_score_test_rejects(wins: int, losses: int, total: int) -> None:
    estimate = share_difference(wins, losses, total)
    assert estimate.value == (wins - losses) / total
    assert estimate.low < estimate.value < estimate.high
    for end in (estimate.low, estimate.high):
        assert score_statistic(end, wins, losses, total) == pytest.approx(
            stats.chi2.ppf(0.95, 1), rel=1e-4
        )


def test_difference_of_many_items_has_walds_interval() -> None:
    wins, losses, total = 30_000, 20_000, 100_000
    half = stats.norm.ppf(0.975) * math.sqrt((0.3 + 0.2 - 0.1**2) / total)
    estimate = share_difference(wins, losses, total)
    assert (estimate.low, estimate.high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)


def test_difference_turns_round_with_the_sides() -> None:
    one, other = share_difference(9, 4, 30), share_difference(4, 9, 30)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize("total", [1, 5, 40])
def test_difference_at_its_ends_is_no_point(total: int) -> None:
    all_won, none_decided = share_difference(total, 0, total), share_difference(0, 0, total)
    assert all_won.low < all_won.value == all_won.high == 1
    assert none_decided.low == pytest.approx(-none_decided.high)
    assert none_decided.low < 0 < none_decided.high


def test_difference_covers_the_truth_as_often_as_it_says() -> None:
    """Of 4,000 draws of 60 items 95% have the truth inside, within 4 standard errors (0.0138)."""
    draws = np.random.default_rng(0).multinomial(60, [0.35, 0.25, 0.4], size=4000)
    found: dict[tuple[int, int], bool] = {}
    for wins, losses, _ in draws.tolist():
        if (wins, losses) not in found:
            estimate = share_difference(wins, losses, 60)
            found[wins, losses] = estimate.low <= 0.1 <= estimate.high
    covered = np.mean([found[wins, losses] for wins, losses, _ in draws.tolist()])
    assert covered == pytest.approx(0.95, abs=0.0138)
