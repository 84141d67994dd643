"""Noise between seeds: the paired t test, the textbook's block design, and simulated studies."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from megatron_codemix.report.statistics.items import Items, paired_noises
from megatron_codemix.report.statistics.noise import combined, interval, p_value
from megatron_codemix.report.statistics.seeds import seed_spread

Scores = dict[tuple[str, str], float]


def scores_of(table_VS: np.ndarray) -> Scores:
    return {(f"v{v}", f"s{s}"): float(value) for (v, s), value in np.ndenumerate(table_VS)}


def test_two_variants_are_the_paired_t_test() -> None:
    table = np.array([[2.60, 2.64, 2.58, 2.66], [2.55, 2.60, 2.57, 2.58]])
    spread = seed_spread(scores_of(table))
    assert spread is not None
    found = p_value(table[1].mean() - table[0].mean(), spread.noise(4, "a"))
    assert found == pytest.approx(stats.ttest_rel(table[1], table[0]).pvalue)


def test_all_variants_estimate_the_noise_together() -> None:
    table = np.random.default_rng(0).normal(size=(5, 3))
    spread = seed_spread(scores_of(table))
    assert spread is not None
    left = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    assert spread.degrees == 8
    assert spread.mean_square == pytest.approx((left**2).sum() / 8)


def test_a_missing_run_is_filled_in_as_yates_does() -> None:
    """The error of a block design with one value missing is that of the table with the value that
    makes it least, with a degree of freedom less (Yates 1933, Empire Journal of Experimental
    Agriculture 1)."""
    table = np.random.default_rng(1).normal(size=(4, 3))
    scores = scores_of(table)
    del scores["v2", "s1"]
    rest = table.copy()
    rest[2, 1] = 0
    variant, seed, total = rest[2].sum(), rest[:, 1].sum(), rest.sum()
    rest[2, 1] = (4 * variant + 3 * seed - total) / (3 * 2)
    left = rest - rest.mean(0) - rest.mean(1, keepdims=True) + rest.mean()
    spread = seed_spread(scores)
    assert spread is not None
    assert spread.degrees == 5
    assert spread.mean_square == pytest.approx((left**2).sum() / 5)


def test_what_a_seed_does_to_all_variants_is_no_noise() -> None:
    table = np.array([[1.0], [2.0], [4.0]]) + np.array([0.0, 0.7, -0.3])
    spread = seed_spread(scores_of(table))
    assert spread is not None
    assert spread.mean_square == pytest.approx(0, abs=1e-25)


@pytest.mark.parametrize(
    "scores",
    [
        {("a", "1"): 1.0, ("b", "1"): 2.0},
        {("a", "1"): 1.0, ("b", "1"): 2.0, ("b", "2"): 2.5},  # the second run of b says only itself
        {},
    ],
)
def test_without_repetition_there_is_no_floor(scores: Mapping[tuple[str, str], float]) -> None:
    assert seed_spread(scores) is None


def test_single_runs_differ_by_less_than_the_floor() -> None:
    table = np.random.default_rng(2).normal(size=(2, 40))
    spread = seed_spread(scores_of(table))
    assert spread is not None
    other = np.random.default_rng(3).normal(size=(2, 10_000))
    below = np.mean(np.abs(other[1] - other[0]) < spread.floor(0.95))
    # The floor is itself estimated, from 39 degrees of freedom: within a fifth.
    assert 0.88 < below < 0.99


@pytest.mark.parametrize(("num_variants", "num_seeds"), [(2, 2), (2, 3), (5, 3), (4, 8)])
def test_intervals_over_seeds_hold_the_truth(num_variants: int, num_seeds: int) -> None:
    generator = np.random.default_rng(4)
    held, resampled = [], []
    for number in range(1000):
        table = generator.normal(size=(num_variants, num_seeds)) + generator.normal(size=num_seeds)
        table[1] += 0.5
        spread = seed_spread(scores_of(table))
        assert spread is not None
        differences = table[1] - table[0]
        low, high = interval(differences.mean(), spread.noise(num_seeds, f"{number}"), 0.95)
        held.append(low <= 0.5 <= high)
        drawn = generator.integers(num_seeds, size=(400, num_seeds))
        ends = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
        resampled.append(ends[0] <= 0.5 <= ends[1])
    assert np.mean(held) == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 1000))
    if num_seeds <= 3:  # why seeds are not resampled
        assert np.mean(resampled) < 0.8


@pytest.mark.parametrize(
    ("of_seed", "of_item", "of_run"), [(1, 0, 0.1), (0.05, 1, 0), (0.1, 1, 1), (0, 0, 1)]
)
def test_intervals_over_items_and_seeds_hold_the_truth(
    of_seed: float, of_item: float, of_run: float
) -> None:
    """Runs of two variants, asked the same items: what seeds add to a run, what items add to the
    difference of the variants, and what an item does to a single run."""
    generator = np.random.default_rng(5)
    num_seeds, num_items = 4, 60
    held, widths = [], []
    for number in range(300):
        shared_N = of_item * generator.normal(size=num_items)
        runs_VSN = of_run * generator.normal(size=(2, num_seeds, num_items))
        runs_VSN += of_seed * generator.normal(size=(2, num_seeds, 1))
        runs_VSN += generator.normal(size=num_items)  # what is hard is hard for all
        runs_VSN[1] += 0.3 + shared_N
        spread = seed_spread(scores_of(runs_VSN.mean(axis=2)))
        pairs = [
            tuple(Items(tuple(range(num_items)), run, np.ones(num_items)) for run in (a, b))
            for a, b in zip(runs_VSN[1], runs_VSN[0], strict=True)
        ]
        items = paired_noises({"": pairs}, f"items {number}").get("")
        assert spread is not None
        assert items is not None
        noise = combined([items.of_recipes, spread.noise(num_seeds, f"seeds {number}")])
        difference = runs_VSN[1].mean() - runs_VSN[0].mean()
        low, high = interval(difference, noise, 0.95)
        held.append(low <= 0.3 <= high)
        widths.append(high - low)
    assert 0.92 <= np.mean(held) <= 1
    # Not by being wide: beside the interval that knows all variances and has 3 degrees of freedom.
    variance = 2 * of_seed**2 / num_seeds + of_item**2 / num_items
    variance += 2 * of_run**2 / num_seeds / num_items
    assert np.mean(widths) < 1.25 * 2 * stats.t.ppf(0.975, 3) * np.sqrt(variance)
