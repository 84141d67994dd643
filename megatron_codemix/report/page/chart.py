"""Line charts as places in percent of the plot: the page draws them, so that they fit any width,
and their text is text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from megatron_codemix.report.page.scales import Scale, scale_over, tick_words

NUM_COLOURS = 7
"""Of the page's style, which readers with any colour vision can tell apart."""
_NUM_DASHES = 4
_NUM_MARKS = 4

_MOST_TICKS = 5

_CHARACTER = 3.0
"""Percent of the width that the narrowest plot has: 6.5 of 229 pixels."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value with its interval, if one is known."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """What has one colour, one dash and one mark in all charts of a page's section."""

    name: str
    number: int
    """Decides how it looks."""
    points: list[Point]
    """By x. A y that is not a number breaks the line."""
    has_marks: bool = True
    scattered: list[Point] = field(default_factory=list)
    """Single runs, shown small."""
    starts: list[float] = field(default_factory=list)
    """Where on x something begins that a thin line marks."""

    @property
    def look(self) -> str:
        """Classes in the page's style."""
        return look_of(self.number)

    @property
    def mark(self) -> int:
        """Shape of its marks."""
        return self.number % _NUM_MARKS


def look_of(number: int) -> str:
    """Colour and dash: all of the first 28 differ, neighbours in both."""
    return f"s{number % NUM_COLOURS} d{number % _NUM_DASHES}"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point in percent of the plot, from its left and from its top."""

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A series in places."""

    name: str
    number: int
    look: str
    mark: int
    lines: list[str]
    """`points` of SVG polylines in a box of 100 x 100."""
    marks: list[Mark]
    scattered: list[Mark]
    starts: list[float]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything that the page draws."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    series: list[Drawn]
    description: str
    """What it shows, for readers who do not see it."""


def draw(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    is_log_x: bool = False,
) -> Chart:
    """x_ticks: value and word, which the axis holds, shown where there is room; absent: round
    values, on a linear axis alone. `series` have at least one finite point."""
    points = [point for one in series for point in (*one.points, *one.scattered)]
    x_values = [p.x for p in points] + [value for value, _ in x_ticks or []]
    x_scale = scale_over(x_values, is_log=is_log_x, margin=0.04)
    y_scale = scale_over(
        value
        for point in points
        for value in (point.y, point.low, point.high)
        if value is not None and math.isfinite(value)
    )
    if x_ticks is None:
        places = x_scale.ticks(_MOST_TICKS)
        x_ticks = list(zip(places, tick_words(places), strict=True))
    y_places = y_scale.ticks(_MOST_TICKS)
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=_with_room([(x_scale.percent(value), word) for value, word in x_ticks]),
        y_ticks=[
            (round(100 - y_scale.percent(value), 1), word)
            for value, word in zip(y_places, tick_words(y_places), strict=True)
        ],
        series=[_drawn(one, x_scale, y_scale) for one in series],
        description=f"{title}: {y_label} by {x_label}; {', '.join(one.name for one in series)}",
    )


def _with_room(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """By place, without those whose words would lie on the next one's; the last one stays."""
    kept: list[tuple[float, str]] = []
    for place, word in sorted(ticks, reverse=True):
        if kept:
            next_place, next_word = kept[-1]
            width = (len(word) + len(next_word)) / 2 + 1
            if next_place - place < _CHARACTER * width:
                continue
        kept.append((place, word))
    return kept[::-1]


def _drawn(series: Series, x_scale: Scale, y_scale: Scale) -> Drawn:
    marks = [_mark(point, x_scale, y_scale) for point in series.points if math.isfinite(point.y)]
    stretches = _stretches(series.points, x_scale, y_scale)
    # A phase of one logged step has a point and no line.
    alone = [] if series.has_marks else [stretch[0] for stretch in stretches if len(stretch) == 1]
    return Drawn(
        name=series.name,
        number=series.number,
        look=series.look,
        mark=series.mark,
        lines=[
            " ".join(f"{mark.x:g},{mark.y:g}" for mark in stretch)
            for stretch in stretches
            if len(stretch) > 1
        ],
        marks=marks if series.has_marks else [],
        scattered=[_mark(point, x_scale, y_scale) for point in series.scattered] + alone,
        starts=[x_scale.percent(start) for start in series.starts],
    )


def _stretches(points: Sequence[Point], x_scale: Scale, y_scale: Scale) -> list[list[Mark]]:
    """Points between which no value is missing."""
    found: list[list[Mark]] = [[]]
    for point in points:
        if math.isfinite(point.y):
            found[-1].append(_mark(point, x_scale, y_scale))
        else:
            found.append([])
    return [stretch for stretch in found if stretch]


def _mark(point: Point, x_scale: Scale, y_scale: Scale) -> Mark:
    def from_top(value: float | None) -> float | None:
        return None if value is None else round(100 - y_scale.percent(value), 1)

    top = from_top(point.y)
    assert top is not None
    return Mark(
        x=x_scale.percent(point.x), y=top, low=from_top(point.low), high=from_top(point.high)
    )
