"""From p values to verdicts, and how many runs a verdict would take."""

import math
from collections.abc import Sequence
from typing import Literal

from megatron_codemix.report.statistics.seeds import SeedSpread

Verdict = Literal["better", "worse", "cannot tell"]

SIGNIFICANCE = 0.05
"""Chance of any false verdict in a report."""

LEVEL = 0.95
"""Of intervals, each by itself."""

POWER = 0.8
"""Chance with which the number of runs that is asked for decides a difference of this size."""

_MOST_RUNS = 1000


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact p value, two-sided, that two models get items right equally often.

    only_first, only_second: items that only one of them gets right; those in which they agree say
    nothing (McNemar 1947, Psychometrika 12).
    """
    from scipy.special import bdtr  # here: slow to import

    fewer, total = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * float(bdtr(fewer, total, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for how many there are: with each below a level a finding, the chance that
    any finding is false stays below that level (Holm 1979, Scandinavian Journal of Statistics
    6)."""
    corrected = [1.0] * len(p_values)
    highest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def verdict(difference: float, corrected_p: float | None, *, lower_is_better: bool) -> Verdict:
    """Of a variant whose score is the baseline's plus `difference`."""
    if corrected_p is None or corrected_p >= SIGNIFICANCE:
        return "cannot tell"
    return "better" if (difference < 0) == lower_is_better else "worse"


def runs_to_decide(
    difference: float,
    spread: SeedSpread,
    *,
    num_variants: int,
    num_comparisons: int,
    item_variance: float,
    item_degrees: float,
) -> int | None:
    """Seeds of every variant after which a difference of this size would be found with a chance of
    POWER, if it is the true one. None where no number up to 1,000 is enough: then the items are too
    few, or the difference is next to none.

    num_comparisons: of the report; the strictest step of Holm's correction is asked for.
    item_variance: of the difference by the items alone, which more seeds leave as it is.
    """

    def is_enough(num_seeds: int) -> bool:
        seed_variance = 2 * spread.mean_square / num_seeds
        degrees = (num_variants - 1) * (num_seeds - 1)
        found = _power(
            difference,
            [(seed_variance, degrees), (item_variance, item_degrees)],
            SIGNIFICANCE / num_comparisons,
        )
        return found >= POWER

    if not is_enough(_MOST_RUNS):
        return None
    few, many = 1, _MOST_RUNS
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if is_enough(middle) else (middle, many)
    return many


def _power(difference: float, parts: Sequence[tuple[float, float]], significance: float) -> float:
    """Chance that Student's two-sided test finds `difference`, which has the noise of independent
    parts (variance, degrees of freedom)."""
    from scipy.special import nctdtr, stdtrit  # here: slow to import

    variance = math.fsum(one for one, _ in parts)
    if variance == 0:
        return float(difference != 0)
    degrees = variance**2 / math.fsum(one**2 / free for one, free in parts)
    shift = abs(difference) / math.sqrt(variance)
    edge = float(stdtrit(degrees, 1 - significance / 2))
    # What lies beyond the other edge is left out: below 1e-9 wherever the power is near POWER.
    missed = float(nctdtr(degrees, shift, edge))
    # scipy gives no number far out in the tail.
    return 1 - missed if math.isfinite(missed) else float(shift > edge)
