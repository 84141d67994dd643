"""Differences from the baseline with their intervals, as marks on one axis for each measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from megatron_codemix.files import Json
from megatron_codemix.report.comparison_words import (
    bounds_words,
    difference_words,
    floor_words,
    over_words,
)
from megatron_codemix.report.page.scales import Scale, scale_over, signed_words
from megatron_codemix.report.page.summary import title_of
from megatron_codemix.report.page.verdicts import change_words

Row = Mapping[str, Json]
Place = float
"""On the axis, in percent of its length."""

_MOST_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One variant at one point of the matrix."""

    variant: str
    verdict: str
    models_verdict: str
    place: Place
    low: Place | None
    high: Place | None
    floor: tuple[Place, Place] | None
    """What seeds alone make of two single runs, to both sides of no difference."""
    change: str
    difference: str
    bounds: str
    over: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ForestGroup:
    """All variants at one point of the matrix."""

    cell: str
    floor: str
    """A dash where too few seeds are repeated."""
    over: str | None
    """What all intervals are over; None where they differ."""
    rows: list[ForestRow]


@dataclass(frozen=True, kw_only=True)
class Forest:
    """All variants by one measure."""

    metric: str
    title: str
    unit: str
    better_side: str
    """`left` or `right`."""
    zero: Place
    ticks: list[tuple[Place, str]]
    groups: list[ForestGroup]

    @property
    def num_rows(self) -> int:
        """Of all groups."""
        return sum(len(group.rows) for group in self.groups)


def forests(comparisons: Sequence[Row], metrics: Sequence[str]) -> list[Forest]:
    """One for each of these measures that something is compared by, in this order: the cells of a
    measure are brought together."""
    gathered: dict[str, list[Row]] = {metric: [] for metric in metrics}
    for row in comparisons:
        if row["metric"] in gathered:
            gathered[row["metric"]].append(row)
    return [_forest(metric, rows) for metric, rows in gathered.items() if rows]


def _forest(metric: str, rows: Sequence[Row]) -> Forest:
    is_relative = all(row["relative"] is not None for row in rows)
    scale = scale_over(
        [0.0]
        + [
            _factor(row, is_relative=is_relative) * value
            for row in rows
            for value in (row["difference"], row["low"], row["high"])
            if value is not None
        ]
    )
    ticks = scale.ticks(_MOST_TICKS)
    words = signed_words(ticks, "%" if is_relative else "")
    return Forest(
        metric=metric,
        title=title_of(metric),
        unit=_unit(rows[0], is_relative=is_relative),
        better_side="left" if rows[0]["lower_is_better"] else "right",
        zero=scale.percent(0.0),
        ticks=list(zip(map(scale.percent, ticks), words, strict=True)),
        groups=[
            _group(
                cell,
                [row for row in rows if row["cell"] == cell],
                partial(_factor, is_relative=is_relative),
                scale,
            )
            for cell in dict.fromkeys(row["cell"] for row in rows)
        ],
    )


def _group(
    cell: str, rows: Sequence[Row], factor_of: Callable[[Row], float], scale: Scale
) -> ForestGroup:
    over = list(dict.fromkeys(over_words(row) for row in rows))
    return ForestGroup(
        cell=cell,
        floor=floor_words(rows[0]),  # of all variants together
        over=over[0] if len(over) == 1 else None,
        rows=[_row(row, scale, factor_of(row)) for row in rows],
    )


def _factor(row: Row, *, is_relative: bool) -> float:
    """From differences to what the axis shows."""
    return 100.0 / row["baseline_value"] if is_relative else 1.0


def _unit(row: Row, *, is_relative: bool) -> str:
    if is_relative:
        return f"change in % of {row['baseline']}"
    return f"difference from {row['baseline']}"


def _row(row: Row, scale: Scale, factor: float) -> ForestRow:
    def place(value: float | None) -> Place | None:
        return None if value is None else scale.percent(factor * value)

    return ForestRow(
        variant=row["variant"],
        verdict=row["verdict"],
        models_verdict=row["models_verdict"],
        place=scale.percent(factor * row["difference"]),
        low=place(row["low"]),
        high=place(row["high"]),
        floor=_floor_places(row, scale, factor),
        change=change_words(row),
        difference=difference_words(row),
        bounds=bounds_words(row),
        over=over_words(row),
        why=_why_words(row),
    )


def _why_words(row: Row) -> str:
    """What would tell, or why nothing would; nothing where a verdict stands, or all wait for a
    second seed."""
    if row["reason"] is None or row["p"] is None:
        return ""
    runs = row["runs_to_decide"]
    return str(row["reason"]) if runs is None else f"{runs} seeds would decide"


def _floor_places(row: Row, scale: Scale, factor: float) -> tuple[Place, Place] | None:
    """Cut at the ends of the axis, which the floor of few seeds may exceed by far."""
    if row["floor"] is None:
        return None
    width = factor * row["floor"]
    left, right = (scale.percent(end) for end in (-width, width))
    return max(0.0, left), min(100.0, right)
