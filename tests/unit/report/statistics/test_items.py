"""The bootstrap over items: every resample counted, scipy's bootstrap, and intervals that hold what
they promise."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from megatron_codemix.report.statistics.items import (
    Items,
    PairedNoise,
    Pairs,
    paired_noises,
    resampled,
    shared_part,
    value_noises,
)
from megatron_codemix.report.statistics.noise import DRAWS, Noise, interval, p_value

VARIANCE_ERROR = 4 * np.sqrt(2 / DRAWS)
"""Four standard errors of a variance from DRAWS normal draws, of itself."""


def items_of(amounts: np.ndarray, sizes: np.ndarray | None = None) -> Items:
    keys = tuple(range(len(amounts)))
    return Items(keys, amounts.astype(float), np.ones(len(amounts)) if sizes is None else sizes)


def value_noise(items: Items, name: str) -> Noise | None:
    return value_noises({"one": items}, name).get("one")


def paired_noise(pairs: Pairs, name: str) -> PairedNoise | None:
    return paired_noises({"one": pairs}, name).get("one")


def documents(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Bits and bytes, of which few documents have most."""
    sizes = np.ceil(generator.lognormal(6, 1, count))
    return sizes * generator.normal(2.5, 0.5, count), sizes


def test_draws_are_those_of_all_resamples_there_are() -> None:
    amounts, sizes = np.array([5.0, 1.0, 8.0, 2.0, 2.5]), np.array([2.0, 1.0, 3.0, 4.0, 1.0])
    every = [
        amounts[list(chosen)].sum() / sizes[list(chosen)].sum()
        for chosen in itertools.product(range(5), repeat=5)
    ]
    assert len(every) == 3125
    draws = 100_000
    found = resampled(amounts[:, None], sizes, np.random.default_rng(0), draws)[:, 0]
    assert set(np.round(found, 9)) <= set(np.round(every, 9))
    for share in (0.025, 0.1, 0.5, 0.9, 0.975):
        edge = np.quantile(every, share) + 1e-9
        expected = np.mean(np.array(every) <= edge)
        error = 4 * np.sqrt(expected * (1 - expected) / draws)
        assert np.mean(found <= edge) == pytest.approx(expected, abs=error)


def test_draws_in_pieces_are_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts, sizes = documents(np.random.default_rng(3), 40)
    monkeypatch.setattr("megatron_codemix.report.statistics.items._MAX_CELLS", 40 * 7)
    found = resampled(amounts[:, None], sizes, np.random.default_rng(0), 4000)
    assert found.shape == (4000, 1)
    monkeypatch.undo()
    whole = resampled(amounts[:, None], sizes, np.random.default_rng(0), 4000)
    assert found == pytest.approx(whole)


def test_a_ratio_has_the_standard_error_of_scipys_bootstrap() -> None:
    amounts, sizes = documents(np.random.default_rng(4), 60)
    noise = value_noise(items_of(amounts, sizes), "ratio")
    assert noise is not None

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.sum(axis) / b.sum(axis)

    scipys = stats.bootstrap(
        (amounts, sizes), ratio, paired=True, n_resamples=20_000, method="percentile", rng=1
    )
    # Ours is of divisor N - 1.
    expected = scipys.standard_error * np.sqrt(60 / 59)
    assert np.sqrt(noise.variance) == pytest.approx(expected, rel=VARIANCE_ERROR)
    ends = interval(amounts.sum() / sizes.sum(), noise, 0.95)
    low, high = scipys.confidence_interval
    assert ends == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize("count", [4, 300])
def test_a_mean_has_its_standard_error_in_closed_form(count: int) -> None:
    values = np.random.default_rng(5).exponential(1, count)
    noise = value_noise(items_of(values), "mean")
    assert noise is not None
    assert noise.variance == pytest.approx(values.var(ddof=1) / count, rel=VARIANCE_ERROR)
    assert noise.degrees == count - 1


def test_what_both_models_find_hard_makes_no_noise() -> None:
    amounts, sizes = documents(np.random.default_rng(6), 50)
    noise = paired_noise([(items_of(amounts - 0.1 * sizes, sizes), items_of(amounts, sizes))], "a")
    assert noise is not None
    assert noise.of_models.variance == pytest.approx(0, abs=1e-25)


def test_a_difference_is_paired() -> None:
    generator = np.random.default_rng(7)
    first = generator.normal(0, 5, 400)
    second = first + generator.normal(0.2, 1, 400)
    noise = paired_noise([(items_of(second), items_of(first))], "a")
    assert noise is not None
    found = p_value((second - first).mean(), noise.of_models)
    expected = stats.ttest_rel(second, first).pvalue
    assert stats.norm.isf(found / 2) == pytest.approx(stats.norm.isf(expected / 2), rel=0.1)
    assert noise.of_recipes.variance == noise.of_models.variance


def test_what_an_item_does_to_a_single_run_is_left_to_the_seeds() -> None:
    generator = np.random.default_rng(11)
    of_runs = generator.normal(size=(5, 200))
    of_items = 3 * generator.normal(size=200)
    for differences, least, most in ((of_runs, 0, 0.3), (of_runs + of_items, 0.95, 1)):
        pairs = [(items_of(one), items_of(np.zeros(200))) for one in differences]
        noise = paired_noise(pairs, "a")
        assert noise is not None
        closed_form = differences.mean(axis=0).var(ddof=1) / 200
        assert noise.of_models.variance == pytest.approx(closed_form, rel=VARIANCE_ERROR)
        assert least <= noise.of_recipes.variance / noise.of_models.variance <= most
        assert noise.of_recipes.draws.var() <= noise.of_models.draws.var()


def test_the_same_items_have_the_same_draws_whatever_else_is_compared() -> None:
    amounts, sizes = documents(np.random.default_rng(8), 30)
    first = value_noise(items_of(amounts, sizes), "heldout/code")
    value_noise(items_of(sizes), "other")
    second = value_noise(items_of(2 * amounts, sizes), "heldout/code")
    assert first is not None
    assert second is not None
    assert second.draws == pytest.approx(2 * first.draws)


def test_scores_have_the_same_noise_by_themselves_and_beside_others() -> None:
    generator = np.random.default_rng(12)
    amounts, sizes = documents(generator, 30)
    scores = {
        "one": items_of(amounts, sizes),
        "other items": items_of(generator.normal(size=20)),
        "two": items_of(amounts + generator.normal(size=30), sizes),
        "single": items_of(np.ones(1)),
    }
    together = value_noises(scores, "a")
    assert set(together) == set(scores) - {"single"}
    for who, noise in together.items():
        alone = value_noise(scores[who], "a")
        assert alone is not None
        assert noise.draws == pytest.approx(alone.draws)
    pairs = {who: [(scores[who], scores["one"])] for who in ("two", "other items")}
    assert set(paired_noises(pairs, "a")) == {"two"}


def test_other_items_are_not_paired() -> None:
    one = items_of(np.arange(3.0))
    assert paired_noise([(one, Items((0, 1, 7), one.amounts, one.sizes))], "a") is None
    assert paired_noise([(one, Items(one.keys, one.amounts, 2 * one.sizes))], "a") is None
    assert paired_noise([(items_of(np.ones(1)), items_of(np.ones(1)))], "a") is None
    assert value_noise(items_of(np.ones(1)), "a") is None


@pytest.mark.parametrize(("of_item", "of_run"), [(1.0, 0.0), (0.0, 1.0), (1.0, 2.0)])
def test_the_part_of_items_that_seeds_share(of_item: float, of_run: float) -> None:
    generator = np.random.default_rng(9)
    found = [
        shared_part(
            of_item * generator.normal(size=80) + of_run * generator.normal(size=(4, 80)),
            np.ones(80),
        )
        for _ in range(400)
    ]
    # The variance of means over the interaction is F of 79 and 3 * 79 degrees, times what it is in
    # truth; below 1 nothing is shared.
    truth = 1 + 4 * of_item**2 / of_run**2 if of_run else np.inf
    ratios = truth * stats.f(79, 3 * 79).rvs(100_000, random_state=0)
    expected = np.maximum(0, 1 - 1 / ratios)
    error = 4 * expected.std() / np.sqrt(400)
    assert np.mean(found) == pytest.approx(expected.mean(), abs=error + 1e-12)
    assert shared_part(generator.normal(size=(1, 80)), np.ones(80)) == 1


def normal(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return generator.normal(1, 1, count), np.ones(count)


def rights_and_wrongs(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences of two models: each wins 3 in 10, and the first one 1 in 10 more."""
    return generator.choice([-1.0, 0.0, 1.0], size=count, p=[0.25, 0.4, 0.35]), np.ones(count)


@pytest.mark.parametrize(
    ("make", "count", "truth", "least"),
    [
        (normal, 5, 1.0, 0.92),
        (normal, 20, 1.0, 0.93),
        (rights_and_wrongs, 50, 0.1, 0.93),
        (rights_and_wrongs, 200, 0.1, 0.93),
        (documents, 150, 2.5, 0.90),  # a few long documents decide: as 30 equal ones would
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    make: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]],
    count: int,
    truth: float,
    least: float,
) -> None:
    generator = np.random.default_rng(10)
    held = []
    for number in range(400):
        amounts, sizes = make(generator, count)
        noise = value_noise(items_of(amounts, sizes), f"{number}")
        assert noise is not None
        low, high = interval(amounts.sum() / sizes.sum(), noise, 0.95)
        held.append(low <= truth <= high)
    # Four standard errors of a share above 95%, and what `least` allows below.
    assert least <= np.mean(held) <= 0.95 + 4 * np.sqrt(0.95 * 0.05 / 400)
