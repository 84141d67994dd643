"""`comparisons` of a report: each variant beside the baseline by each measure, with a verdict.

What every number means, and the methods behind it: docs/reports.md.
"""

from collections.abc import Iterable, Mapping, Sequence

from megatron_codemix.files import Json
from megatron_codemix.report.comparison import Comparison, comparisons_of
from megatron_codemix.report.measures import Measured
from megatron_codemix.report.statistics.decisions import (
    LEVEL,
    POWER,
    SIGNIFICANCE,
    Verdict,
    holm,
    runs_to_decide,
    verdict,
)
from megatron_codemix.report.statistics.noise import DRAWS, interval


def compare(measured: Iterable[Measured], baseline: str) -> list[dict[str, Json]]:
    """By point of the matrix, measure and variant."""
    found = [
        comparison
        for one in measured
        for measure in one.measures.values()
        for comparison in comparisons_of(one.group, measure, baseline)
    ]
    corrected = _corrected(one.p for one in found)
    of_models = _corrected(one.p_of_models for one in found)
    num_tested = sum(value is not None for value in corrected)
    return [
        _row(one, p, p_of_models, num_tested)
        for one, p, p_of_models in zip(found, corrected, of_models, strict=True)
    ]


def settings(comparisons: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """`statistics` of the report: what all verdicts of it have in common."""
    return {
        "level": LEVEL,
        "significance": SIGNIFICANCE,
        "power": POWER,
        "draws": DRAWS,
        "correction": "holm",
        "comparisons": len(comparisons),
        "tested": sum(row["p"] is not None for row in comparisons),
    }


def _corrected(p_values: Iterable[float | None]) -> list[float | None]:
    """By Holm, over those that there are."""
    given = list(p_values)
    corrected = iter(holm([value for value in given if value is not None]))
    return [None if value is None else next(corrected) for value in given]


def _row(
    one: Comparison, p: float | None, p_of_models: float | None, num_tested: int
) -> dict[str, Json]:
    """In the order in which a reader asks."""
    base, is_lower = one.mean(one.baseline), one.measure.lower_is_better
    low, high = (None, None) if one.noise is None else interval(one.difference, one.noise, LEVEL)
    found = verdict(one.difference, p, lower_is_better=is_lower)
    runs = _runs(one, num_tested) if found == "cannot tell" else None
    return {
        "cell": one.group.cell,
        "variant": one.variant,
        "baseline": one.baseline,
        "metric": one.measure.name,
        "lower_is_better": is_lower,
        "value": one.mean(one.variant),
        "baseline_value": base,
        "difference": one.difference,
        "low": low,
        "high": high,
        "relative": _share(one.difference, base),
        "relative_low": _share(low, base),
        "relative_high": _share(high, base),
        "level": LEVEL,
        "method": one.method,
        "seeds": len(one.seeds),
        "items": one.num_items,
        "floor": None if one.spread is None else one.spread.floor(LEVEL),
        "p": one.p,
        "p_corrected": p,
        "verdict": found,
        "reason": _reason(one, found, num_tested),
        "runs_to_decide": runs,
        "models_verdict": verdict(one.difference, p_of_models, lower_is_better=is_lower),
        "models_p": one.p_of_models,
    }


def _share(value: float | None, base: float) -> float | None:
    """Of the baseline's value, which may be 0: no change is relative to that."""
    return None if value is None or base == 0 else value / base


def _runs(one: Comparison, num_tested: int) -> int | None:
    if one.spread is None:
        return None
    items = None if one.items is None else one.items.of_recipes
    return runs_to_decide(
        one.difference,
        one.spread,
        num_variants=len(one.group.variants),
        num_comparisons=num_tested,
        item_variance=0.0 if items is None else items.variance,
        item_degrees=1.0 if items is None else items.degrees,
    )


def _reason(one: Comparison, found: Verdict, num_tested: int) -> str | None:
    """Why nothing can be told."""
    if found != "cannot tell":
        return None
    if one.p is None:
        return "one seed: what another seed would change is not known"
    if one.p < SIGNIFICANCE:
        return f"chance would make one such difference among {num_tested} comparisons"
    return "no larger than what chance makes"
