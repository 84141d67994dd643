"""One variant beside the baseline by one measure: the difference and its noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from megatron_codemix.report.measures import Group, Measure, Part
from megatron_codemix.report.statistics.decisions import mcnemar
from megatron_codemix.report.statistics.items import PairedNoise, Pairs
from megatron_codemix.report.statistics.noise import Noise, combined, p_value
from megatron_codemix.report.statistics.seeds import SeedSpread, seed_spread

Method = Literal["items and seeds", "seeds", "items", "none"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Before the verdict, which depends on all comparisons of the report."""

    group: Group
    measure: Measure
    variant: str
    baseline: str
    seeds: list[str]
    """That both were trained with."""
    spread: SeedSpread | None
    """Of all variants; None where nothing is repeated."""
    pairs: list[Pairs] | None
    """For each part of the measure; None where some items are missing."""
    items: PairedNoise | None
    """None too where the two were not asked the same."""

    @cached_property
    def noise(self) -> Noise | None:
        """Of the difference, by all that is known; None where nothing is."""
        if self.spread is None:
            return None if self.items is None else self.items.of_models
        of_seeds = self.spread.noise(len(self.seeds), f"seeds of {self.measure.name}")
        return of_seeds if self.items is None else combined([self.items.of_recipes, of_seeds])

    @property
    def difference(self) -> float:
        """Variant minus baseline, mean over the seeds."""
        return self.mean(self.variant) - self.mean(self.baseline)

    def mean(self, variant: str) -> float:
        """Score of a variant over the seeds."""
        scores = [self.measure.scores[variant, seed] for seed in self.seeds]
        return sum(scores) / len(scores)

    @property
    def p(self) -> float | None:
        """Of no difference between the recipes; None without repeated seeds."""
        if self.spread is None or self.noise is None:
            return None
        return p_value(self.difference, self.noise)

    @property
    def p_of_models(self) -> float | None:
        """Of no difference between these very models, were they asked other items: exact where two
        models were asked items that are right or wrong."""
        if self.items is None or self.pairs is None:
            return None
        if len(self.pairs) == len(self.seeds) == 1:
            [[(first, second)]] = self.pairs
            if first.is_binary and second.is_binary:
                difference_N = first.amounts - second.amounts
                return mcnemar(int((difference_N > 0).sum()), int((difference_N < 0).sum()))
        return p_value(self.difference, self.items.of_models)

    @property
    def num_items(self) -> int | None:
        """Of all parts."""
        if self.items is None or self.pairs is None:
            return None
        return sum(len(of_part[0][0].keys) for of_part in self.pairs)

    @property
    def method(self) -> Method:
        """What the interval is over."""
        if self.spread is None:
            return "none" if self.items is None else "items"
        return "seeds" if self.items is None else "items and seeds"


def comparisons_of(group: Group, measure: Measure, baseline: str) -> list[Comparison]:
    """Of every other variant of the group, as far as the two have a seed in common."""
    spread = seed_spread(measure.scores)
    seeds = _common_seeds(group, measure, baseline)
    pairs = {
        variant: _pairs_of_parts(group, measure, (variant, baseline), common)
        for variant, common in seeds.items()
    }
    items = _item_noises(measure, baseline, pairs)
    return [
        Comparison(
            group=group,
            measure=measure,
            variant=variant,
            baseline=baseline,
            seeds=common,
            spread=spread,
            pairs=pairs[variant],
            items=items.get(variant),
        )
        for variant, common in seeds.items()
    ]


def _common_seeds(group: Group, measure: Measure, baseline: str) -> dict[str, list[str]]:
    """Variant -> seeds that it and the baseline have a score of; without those that have none."""
    found = {
        variant: [
            seed
            for seed in group.seeds(variant)
            if {(variant, seed), (baseline, seed)} <= measure.scores.keys()
        ]
        for variant in group.variants
        if variant != baseline
    }
    return {variant: seeds for variant, seeds in found.items() if seeds}


def _item_noises(
    measure: Measure, baseline: str, pairs: Mapping[str, list[Pairs] | None]
) -> dict[str, PairedNoise]:
    """Of a weighted sum of parts, whose items are independent."""
    there = {variant: of_parts for variant, of_parts in pairs.items() if of_parts is not None}
    of_parts = [
        (weight, part.noises(baseline, {variant: one[place] for variant, one in there.items()}))
        for place, (weight, part) in enumerate(measure.parts)
    ]
    return {
        variant: PairedNoise(
            of_models=combined([one[variant].of_models.scaled(weight) for weight, one in of_parts]),
            of_recipes=combined(
                [one[variant].of_recipes.scaled(weight) for weight, one in of_parts]
            ),
        )
        for variant in there
        if all(variant in one for _, one in of_parts)
    }


def _pairs_of_parts(
    group: Group, measure: Measure, names: tuple[str, str], seeds: Sequence[str]
) -> list[Pairs] | None:
    found = [_pairs(part, group, names, seeds) for _, part in measure.parts]
    there = [pairs for pairs in found if pairs is not None]
    return there if len(there) == len(found) else None


def _pairs(part: Part, group: Group, names: tuple[str, str], seeds: Sequence[str]) -> Pairs | None:
    found = []
    for seed in seeds:
        first, second = (part.items(group.phases[name, seed]) for name in names)
        if first is None or second is None:
            return None
        found.append((first, second))
    return found
