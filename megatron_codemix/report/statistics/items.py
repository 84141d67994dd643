"""Noise of the items that models were asked: a bootstrap over them, the same for all that is
compared.

N items, S seeds, K estimates, D counts of an item.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from megatron_codemix.report.statistics.noise import DRAWS, FloatArray, Noise, generator_of

_MAX_CELLS = 8_000_000
"""Counts that are held at once: 64 MB."""


@dataclass(frozen=True)
class Items:
    """What a score of one run is made of: the sum of `amounts` over the sum of `sizes`."""

    keys: tuple[Hashable, ...]
    """Which item each is."""
    amounts: FloatArray
    """[N], nats of documents, or 0 and 1 for wrong and right."""
    sizes: FloatArray
    """[N], above 0: bytes of documents, or ones where the score is a mean."""
    counts: FloatArray | None = None
    """[N, D], where the score is no such ratio but another function of sums; `amounts` are then
    what each item adds to it to first order, so that their mean is the score, and sizes ones."""
    score_of: Callable[[FloatArray], FloatArray] | None = None
    """Sums [..., D] -> score [...]; there with `counts`."""

    @property
    def value(self) -> float:
        return float(self.amounts.sum() / self.sizes.sum())

    @property
    def is_binary(self) -> bool:
        """Whether each item is right or wrong."""
        is_mean = self.counts is None and bool((self.sizes == 1).all())
        return is_mean and bool(np.isin(self.amounts, (0, 1)).all())

    def are_those_of(self, other: "Items") -> bool:
        """Whether both runs were asked the same."""
        return self.keys == other.keys and np.array_equal(self.sizes, other.sizes)


Pairs = list[tuple[Items, Items]]
"""Items of a variant and of the baseline, for each seed."""

Who = TypeVar("Who", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class PairedNoise:
    """Of a difference of two recipes on the same items, mean over their seeds."""

    of_models: Noise
    """Had the same models been asked other items of the kind."""
    of_recipes: Noise
    """The part of it that other seeds would share: items in which one recipe is better than the
    other. The rest differs from run to run, and is in the noise between seeds."""


def value_noises(scores: Mapping[Who, Items], name: str) -> dict[Who, Noise]:
    """Noise of scores of single runs; of a single item there is none.

    name: of the items, so that all that is compared on them shares the resamples.
    """
    noises: dict[Who, Noise] = {}
    for members in _asked_the_same(scores):
        first = scores[members[0]]
        amounts_NK = np.column_stack([scores[who].amounts for who in members])
        noises |= zip(members, _bootstrap(amounts_NK, first.sizes, name), strict=True)
    return noises


def paired_noises(comparisons: Mapping[Who, Pairs], name: str) -> dict[Who, PairedNoise]:
    """Noise of differences, first minus second, mean over the seeds. Without those whose runs were
    not asked the same, or only one item.

    name: as above.
    """
    firsts = {
        who: pairs[0][0]
        for who, pairs in comparisons.items()
        if all(pairs[0][0].are_those_of(one) for pair in pairs for one in pair)
    }
    noises: dict[Who, PairedNoise] = {}
    for members in _asked_the_same(firsts):
        sizes_N = firsts[members[0]].sizes
        differences_KSN = [
            np.array([one.amounts - other.amounts for one, other in comparisons[who]])
            for who in members
        ]
        if firsts[members[0]].counts is None:
            means_NK = np.column_stack([one.mean(axis=0) for one in differences_KSN])
            found = _bootstrap(means_NK, sizes_N, name)
        else:
            found = _bootstrap_of_counts([comparisons[who] for who in members], name)
        for who, of_models, differences_SN in zip(members, found, differences_KSN, strict=True):
            shared = shared_part(differences_SN, sizes_N)
            of_recipes = of_models.scaled(float(np.sqrt(shared)))
            noises[who] = PairedNoise(of_models=of_models, of_recipes=of_recipes)
    return noises


def _asked_the_same(scores: Mapping[Who, Items]) -> list[list[Who]]:
    """Those that share items, more than one: resampling costs the more the more items there are,
    however many scores they are of."""
    groups: list[list[Who]] = []
    for who, items in scores.items():
        known = (one for one in groups if scores[one[0]].are_those_of(items))
        group = next(known, None)
        if group is not None:
            group.append(who)
        elif len(items.keys) > 1:
            groups.append([who])
    return groups


def shared_part(differences_SN: FloatArray, sizes_N: FloatArray) -> float:
    """Share of the items' variance that all seeds have in common, from 0 to 1.

    Items and seeds are crossed. The mean over seeds of an item varies by what the recipes differ by
    on it, plus 1/S of what the item does to single runs; the latter is the mean square of the
    interaction, and counts among the noise between seeds already. So subtracted in standard errors
    that are clustered both ways (Cameron, Gelbach and Miller 2011, equation 2.11).
    """
    num_seeds, num_items = differences_SN.shape
    if num_seeds < 2:
        return 1.0
    ratios_S = differences_SN.sum(axis=1) / sizes_N.sum()
    parts_SN = (differences_SN - ratios_S[:, None] * sizes_N) / sizes_N.mean()
    means_N = parts_SN.mean(axis=0)
    residuals_SN = parts_SN - means_N - parts_SN.mean(axis=1, keepdims=True) + means_N.mean()
    interaction = (residuals_SN**2).sum() / ((num_seeds - 1) * (num_items - 1))
    variance = means_N.var(ddof=1)
    return max(0.0, 1 - float(interaction / num_seeds / variance)) if variance > 0 else 1.0


def resampled(
    amounts_NK: FloatArray, sizes_N: FloatArray, generator: np.random.Generator, draws: int = DRAWS
) -> FloatArray:
    """Scores [draws, K] on as many items, drawn with replacement; one draw of items for all K."""
    totals = _resampled_sums(np.column_stack([amounts_NK, sizes_N]), generator, draws)
    ratios: FloatArray = totals[:, :-1] / totals[:, -1:]
    return ratios


def _resampled_sums(
    columns_NC: FloatArray, generator: np.random.Generator, draws: int
) -> FloatArray:
    """Sums [draws, C] over as many items, drawn with replacement."""
    num_items = len(columns_NC)
    rows = max(1, _MAX_CELLS // num_items)
    sums = []
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        drawn = generator.integers(num_items, size=(count, num_items))
        drawn += num_items * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * num_items)
        sums.append(counts.reshape(count, num_items) @ columns_NC)
    return np.concatenate(sums)


def _bootstrap(amounts_NK: FloatArray, sizes_N: FloatArray, name: str) -> list[Noise]:
    """Of each of the K scores."""
    generator = generator_of(name)
    values = amounts_NK.sum(axis=0) / sizes_N.sum()
    deviations = resampled(amounts_NK, sizes_N, generator) - values
    return _noises(deviations, len(sizes_N), generator)


def _bootstrap_of_counts(comparisons: Sequence[Pairs], name: str) -> list[Noise]:
    """Of the K differences, each a mean over the seeds, of scores that are functions of sums."""
    generator = generator_of(name)
    sides = [one for pairs in comparisons for pair in pairs for one in pair]
    counts = [one.counts for one in sides if one.counts is not None]
    assert len(counts) == len(sides), f"{name}: some runs have counts, and some have not"
    score_of = sides[0].score_of
    assert score_of is not None, f"{name}: counts without a score"
    draws = _resampled_sums(np.hstack(counts), generator, DRAWS)
    scores = score_of(draws.reshape(DRAWS, len(sides), -1)) - [one.value for one in sides]
    signed = scores[:, 0::2] - scores[:, 1::2]  # [draws, pairs]
    ends = np.cumsum([len(pairs) for pairs in comparisons])[:-1]
    deviations = np.column_stack([part.mean(axis=1) for part in np.split(signed, ends, axis=1)])
    return _noises(deviations, len(counts[0]), generator)


def _noises(deviations: FloatArray, num_items: int, generator: np.random.Generator) -> list[Noise]:
    """Of resampled scores less the scores, [DRAWS, K].

    Resamples of few items lie too close to one another: their variance is that of divisor N, not
    N - 1, and their tails are a normal distribution's, not Student's. The first is multiplied away,
    the second by a chi-squared scale for each draw, which makes Student's out of a normal one.
    """
    degrees = num_items - 1
    deviations = deviations * np.sqrt(num_items / degrees)
    scales = np.sqrt(degrees / generator.chisquare(degrees, size=DRAWS))
    return [
        Noise(draws=column * scales, variance=float(column.var()), degrees=degrees)
        for column in deviations.T
    ]
