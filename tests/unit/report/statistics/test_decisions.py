"""Verdicts: exact tests, Holm's correction as the closed test that it is, and power."""

import itertools

import numpy as np
import pytest
from scipy import stats

from megatron_codemix.report.statistics.decisions import (
    holm,
    mcnemar,
    runs_to_decide,
    verdict,
)
from megatron_codemix.report.statistics.noise import p_value
from megatron_codemix.report.statistics.seeds import SeedSpread, seed_spread


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 0), (0, 6), (5, 5), (2, 9), (120, 90)])
def test_mcnemar_is_the_binomial_test_of_the_items_that_differ(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_counts_every_way_to_fall() -> None:
    falls = list(itertools.product([0, 1], repeat=7))
    extreme = sum(sum(one) <= 1 or sum(one) >= 6 for one in falls)
    assert mcnemar(1, 6) == pytest.approx(extreme / len(falls))


def closed_test(p_values: list[float]) -> list[float]:
    """Of each hypothesis, the largest p value that Bonferroni gives any set that holds it (Marcus,
    Peritz and Gabriel 1976)."""
    numbers = range(len(p_values))
    sets = [
        chosen
        for size in range(1, len(p_values) + 1)
        for chosen in itertools.combinations(numbers, size)
    ]
    return [
        max(min(1.0, len(one) * min(p_values[j] for j in one)) for one in sets if i in one)
        for i in numbers
    ]


def test_holm_is_the_closed_test_of_bonferroni() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 5, 8):
        p_values = (generator.uniform(size=size) ** 3).tolist()
        assert holm(p_values) == pytest.approx(closed_test(p_values))
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06, 0.06, 0.06])
    assert holm([]) == []


def test_verdicts_know_which_way_is_better() -> None:
    assert verdict(-0.1, 0.01, lower_is_better=True) == "better"
    assert verdict(-0.1, 0.01, lower_is_better=False) == "worse"
    assert verdict(0.1, 0.01, lower_is_better=True) == "worse"
    assert verdict(0.1, 0.05, lower_is_better=True) == "cannot tell"
    assert verdict(0.1, None, lower_is_better=True) == "cannot tell"


def test_studies_without_any_difference_rarely_get_a_false_verdict() -> None:
    """Five recipes that are one, three seeds, four measures: 16 comparisons a report."""
    generator = np.random.default_rng(2)
    corrected, uncorrected = [], []
    for _ in range(1000):
        p_values, differences = [], []
        for table in generator.normal(size=(4, 5, 3)):
            scores = {(f"{v}", f"{s}"): float(one) for (v, s), one in np.ndenumerate(table)}
            spread = seed_spread(scores)
            assert spread is not None
            noise = spread.noise(3, "a")
            differences += (table[1:] - table[0]).mean(axis=1).tolist()
            p_values += [p_value(one, noise) for one in differences[-4:]]

        def found(values: list[float], differences: list[float] = differences) -> bool:
            verdicts = [
                verdict(one, p, lower_is_better=True)
                for one, p in zip(differences, values, strict=True)
            ]
            return set(verdicts) != {"cannot tell"}

        corrected.append(found(holm(p_values)))
        uncorrected.append(found(p_values))
    # Four standard errors of 5% in 1000 studies.
    assert 0.02 < np.mean(corrected) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert np.mean(uncorrected) > 0.3


def paired_power(size: int, difference: float, deviation: float, significance: float) -> float:
    """Of the paired t test, both tails (Cohen 1988, section 2.3)."""
    shift = difference / deviation * np.sqrt(size)
    edge = stats.t.ppf(1 - significance / 2, size - 1)
    return float(stats.nct.sf(edge, size - 1, shift) + stats.nct.cdf(-edge, size - 1, shift))


@pytest.mark.parametrize("difference", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("num_comparisons", [1, 12])
def test_the_runs_that_decide_two_variants_are_those_of_the_paired_t_test(
    difference: float, num_comparisons: int
) -> None:
    found = runs_to_decide(
        -difference,
        SeedSpread(mean_square=0.5, degrees=2),
        num_variants=2,
        num_comparisons=num_comparisons,
        item_variance=0,
        item_degrees=1,
    )
    enough = (
        size
        for size in range(2, 1000)
        if paired_power(size, difference, 1.0, 0.05 / num_comparisons) >= 0.8
    )
    assert found == next(enough)


def test_so_many_runs_find_a_difference_four_times_in_five() -> None:
    """By simulated studies of four variants, each difference tested as a report does."""
    spread, truth = SeedSpread(mean_square=1.0, degrees=6), 1.5
    runs = runs_to_decide(
        truth, spread, num_variants=4, num_comparisons=1, item_variance=0.0, item_degrees=1
    )
    assert runs is not None

    def share_found(size: int) -> float:
        tables = np.random.default_rng(1).normal(size=(20_000, 4, size))
        tables[:, 1] += truth
        left = (
            tables
            - tables.mean(1, keepdims=True)
            - tables.mean(2, keepdims=True)
            + tables.mean((1, 2), keepdims=True)
        )
        degrees = 3 * (size - 1)
        errors = np.sqrt(2 * (left**2).sum((1, 2)) / degrees / size)
        values = (tables[:, 1] - tables[:, 0]).mean(1) / errors
        return float(np.mean(np.abs(values) > stats.t.ppf(0.975, degrees)))

    assert share_found(runs) >= 0.8 - 4 * np.sqrt(0.16 / 20_000)
    assert share_found(runs - 1) < 0.8


def test_no_number_of_runs_makes_up_for_too_few_items() -> None:
    def runs(item_variance: float) -> int | None:
        return runs_to_decide(
            0.1,
            SeedSpread(mean_square=1e-3, degrees=4),
            num_variants=3,
            num_comparisons=1,
            item_variance=item_variance,
            item_degrees=100,
        )

    few, more = runs(0.0), runs(5e-4)
    assert few is not None
    assert more is not None
    assert few < more
    assert runs(0.01) is None
