"""Figures by what a study varies: an axis of its matrix, or the number in its variants' names."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.files import Json
from megatron_codemix.report.environment import short_count
from megatron_codemix.report.page.chart import Chart, Point, Series, draw
from megatron_codemix.report.page.summary import SummaryRow, Value, metrics_of, title_of

Row = Mapping[str, Json]

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmbt](?![a-z]))?", re.IGNORECASE)
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_NONE = re.compile(r"\bno (?=[a-z])", re.IGNORECASE)
_FEWEST = 3
"""Points that make a line of variants: two are a comparison, which the differences show."""
_LOG_RATIO = 5.0
_NORMAL = 1.96
"""Standard errors to each side of a 95% interval."""


@dataclass(frozen=True, kw_only=True)
class AxisFigures:
    """All charts that share an x axis."""

    label: str
    charts: list[Chart]

    @property
    def has_bars(self) -> bool:
        """Whether some point has an interval."""
        lines = [line for chart in self.charts for line in chart.series]
        return any(mark.low is not None for line in lines for mark in line.marks)


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """A name taken apart: `25% code` is 25 and `#% code`."""

    template: str
    number: float
    has_unit: bool
    """Of counts: `470m`."""


def numbered(name: str) -> Numbered | None:
    """By the last number of a name; `no code` counts as `0% code`. None without a number."""
    text = _NONE.sub("0% ", name)
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    last = found[-1]
    unit = (last[2] or "").lower()
    return Numbered(
        template=f"{text[: last.start()]}#{text[last.end() :]}",
        number=float(last[1]) * _UNITS.get(unit, 1.0),
        has_unit=bool(unit),
    )


def axis_figures(report: Row, rows: Sequence[SummaryRow]) -> list[AxisFigures]:
    """Of every axis of the matrix besides seeds, then of the variants' numbers, if any."""
    points = {cell["group"]: cell["point"] for cell in report["cells"].values()}
    axes = list(dict.fromkeys(axis for point in points.values() for axis in point))
    found = [_matrix_figures(axis, points, rows) for axis in axes]
    found.append(_variant_figures(rows))
    return [figures for figures in found if figures is not None and figures.charts]


def _matrix_figures(
    axis: str, points: Mapping[str, Mapping[str, str]], rows: Sequence[SummaryRow]
) -> AxisFigures | None:
    values = list(dict.fromkeys(point[axis] for point in points.values()))
    if len(values) < 2:
        return None
    places, is_log = _places(values)
    lines: dict[str, dict[float, SummaryRow]] = {}
    for row in rows:
        others = [value for one, value in points[row.cell].items() if one != axis]
        name = ", ".join([row.variant, *others])
        lines.setdefault(name, {})[places[points[row.cell][axis]]] = row
    label = axis.rpartition(".")[2]
    ticks = [(places[value], value) for value in values]
    return AxisFigures(label=label, charts=_charts(label, lines, ticks, None, is_log=is_log))


def _places(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Where the values stand, and whether on a logarithmic axis: by their numbers if they differ in
    nothing else, evenly otherwise."""
    parts = [numbered(value) for value in values]
    known = [part for part in parts if part is not None]
    numbers = [part.number for part in known]
    if len({part.template for part in known}) != 1 or len(set(numbers)) != len(values):
        return {value: float(place) for place, value in enumerate(values)}, False
    return dict(zip(values, numbers, strict=True)), _is_log(known)


def _is_log(parts: Sequence[Numbered]) -> bool:
    """Of counts that lie far apart."""
    numbers = [part.number for part in parts]
    return (
        any(part.has_unit for part in parts)
        and min(numbers) > 0
        and max(numbers) / min(numbers) >= _LOG_RATIO
    )


def _variant_figures(rows: Sequence[SummaryRow]) -> AxisFigures | None:
    lines: dict[tuple[str, str], dict[float, SummaryRow]] = {}
    parts = {row.variant: part for row in rows if (part := numbered(row.variant)) is not None}
    for row in rows:
        if row.variant in parts:
            part = parts[row.variant]
            lines.setdefault((part.template, row.cell), {})[part.number] = row
    lines = {key: line for key, line in lines.items() if len(line) >= _FEWEST}
    if not lines:
        return None
    templates = list(dict.fromkeys(template for template, _ in lines))
    cells = list(dict.fromkeys(cell for _, cell in lines))
    named = {
        _line_name(template, cell, len(templates), len(cells)): line
        for (template, cell), line in lines.items()
    }
    shown = {row.variant for line in lines.values() for row in line.values()}
    baseline = next((row for row in rows if row.is_baseline and row.variant not in shown), None)
    label = _label(templates)
    charts = _charts(
        label,
        named,
        _ticks([parts[name] for name in shown]),
        baseline if len(cells) == 1 else None,
        is_log=_is_log([parts[name] for name in shown]),
    )
    return AxisFigures(label=label, charts=charts)


def _ticks(parts: Sequence[Numbered]) -> list[tuple[float, str]]:
    """Counts with their unit: `10B`."""
    is_count = any(part.has_unit for part in parts)
    numbers = sorted({part.number for part in parts})
    return [(number, short_count(number) if is_count else f"{number:g}") for number in numbers]


def _line_name(template: str, cell: str, num_templates: int, num_cells: int) -> str:
    """What tells a line from the others."""
    parts = [_without_number(template)] if num_templates > 1 else []
    parts += [cell] if num_cells > 1 else []
    return ", ".join(parts) or _without_number(template) or "variants"


def _without_number(template: str) -> str:
    return template.partition("#")[0].strip(" ,") or template.replace("#", "").strip(" ,%")


def _label(templates: Sequence[str]) -> str:
    """What all names end with behind the number: `code, %`."""
    ends = [template.partition("#")[2][::-1] for template in templates]
    shared = os.path.commonprefix(ends)[::-1].strip(" ,")  # noqa: RUF071 - characters are meant
    if any(map(str.isalpha, shared)):
        return f"{shared[1:].strip()}, %" if shared.startswith("%") else shared
    return f"number in the variant's name{', ' if shared else ''}{shared}"


def _charts(
    label: str,
    lines: Mapping[str, Mapping[float, SummaryRow]],
    ticks: Sequence[tuple[float, str]],
    baseline: SummaryRow | None,
    *,
    is_log: bool,
) -> list[Chart]:
    """One for each average and held-out source; for each task where there is neither.

    lines: what each shows -> place on x -> its row.
    """
    rows = [row for line in lines.values() for row in line.values()]
    metrics = metrics_of(rows, "average") + metrics_of(rows, "heldout")
    charts = []
    for metric in metrics or metrics_of(rows, "task"):
        series = [
            _series(name, number, metric, line) for number, (name, line) in enumerate(lines.items())
        ]
        series = [one for one in series if one.points]
        if baseline is not None and metric in baseline.values:
            series.append(_level(baseline, metric, len(lines), ticks))
        charts.append(
            draw(
                series,
                title=title_of(metric),
                x_label=label,
                y_label=_unit(metric),
                x_ticks=ticks,
                is_log_x=is_log,
            )
        )
    return charts


def _unit(metric: str) -> str:
    kind = metric.partition("/")[0]
    return {"heldout": "bits per byte", "average": "score, %"}.get(kind, "score")


def _series(name: str, number: int, metric: str, line: Mapping[float, SummaryRow]) -> Series:
    factor = 100.0 if metric.startswith("average/") else 1.0
    places = [place for place in sorted(line) if metric in line[place].values]
    values = {place: line[place].values[metric] for place in places}
    return Series(
        name=name,
        number=number,
        points=[_point(place, value, factor) for place, value in values.items()],
        scattered=[
            Point(x=place, y=factor * run)
            for place, value in values.items()
            if len(value.runs) > 1
            for run in value.runs
        ],
    )


def _point(place: float, value: Value, factor: float) -> Point:
    low, high = value.low, value.high
    if low is None and value.error is not None:
        low, high = value.mean - _NORMAL * value.error, value.mean + _NORMAL * value.error
    return Point(
        x=place,
        y=factor * value.mean,
        low=None if low is None else factor * low,
        high=None if high is None else factor * high,
    )


def _level(row: SummaryRow, metric: str, number: int, ticks: Sequence[tuple[float, str]]) -> Series:
    """A variant without a number, as a line from side to side."""
    factor = 100.0 if metric.startswith("average/") else 1.0
    y = factor * row.values[metric].mean
    places = [place for place, _ in ticks]
    return Series(
        name=f"{row.variant} (baseline)",
        number=number,
        points=[Point(x=place, y=y) for place in (min(places), max(places))],
        has_marks=False,
    )
