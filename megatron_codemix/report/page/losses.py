"""Training loss of each source along a variant's chain of phases."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.files import Json
from megatron_codemix.report.collect import PhaseRecord, StudyRecords
from megatron_codemix.report.environment import short_count
from megatron_codemix.report.page.chart import Chart, Point, Series, draw

_SMOOTHED_STEPS = 9
"""Steps in the running mean of a loss curve: single small batches scatter more than variants
differ."""

_MOST_POINTS = 160
"""Of a phase's curve: more than a phone has pixels for, and a page of some hundred curves stays
small."""


@dataclass(frozen=True)
class Curve:
    """Training loss of one source along a chain of phases."""

    tokens: list[float]
    nats: list[float]
    boundaries: list[float]
    """Tokens at which a phase of the chain begins, without the first."""


def loss_charts(records: StudyRecords, cells: Mapping[str, Mapping[str, Json]]) -> list[Chart]:
    """One for each source at each point of the matrix: of the first of its seeds.

    cells: of the report.
    """
    firsts: dict[str, str] = {}
    for cell, place in cells.items():
        firsts.setdefault(place["group"], cell)
    charts = []
    for cell in firsts.values():
        curves = loss_curves(records, cell)
        for source in sorted(curves):
            finite = {
                name: curve
                for name, curve in curves[source].items()
                if any(map(math.isfinite, curve.nats))
            }
            words = f", {cell}" if len(cells) > 1 else ""
            if finite:
                charts.append(_chart(records, f"{source}{words}", finite))
    return charts


def loss_curves(records: StudyRecords, cell: str) -> dict[str, dict[str, Curve]]:
    """Source -> variant -> training loss over the tokens of the whole chain, smoothed within each
    phase."""
    curves: dict[str, dict[str, Curve]] = {}
    read: dict[tuple[str, int | None], _PhaseLosses] = {}  # variants share phases
    for variant in records.tree.spec.variants:
        start = 0.0
        boundaries: list[float] = []
        for phase in records.chain(cell, variant):
            if start:
                boundaries.append(start)
            key = (phase.node.key, phase.last_step)
            if key not in read:
                read[key] = _losses_of(phase)
            for source, points in read[key].points.items():
                curve = curves.setdefault(source, {}).setdefault(variant, Curve([], [], boundaries))
                if curve.tokens:
                    curve.tokens.append(start)
                    curve.nats.append(float("nan"))  # a gap in the line where a phase ends
                curve.tokens.extend(start + tokens for tokens, _ in points)
                curve.nats.extend(nats for _, nats in points)
            start += read[key].tokens
    return curves


@dataclass(frozen=True)
class _PhaseLosses:
    """What a page shows of the metrics of one phase."""

    tokens: float
    """That it has trained on."""
    points: dict[str, list[tuple[float, float]]]
    """Source -> (tokens since its start, smoothed nats), thinned; of sources that it has seen."""


def _losses_of(phase: PhaseRecord) -> _PhaseLosses:
    lines = phase.read_metrics()
    found = {}
    for source in sorted(phase.node.config.data.sources):
        key = f"loss/source/{source}_nats"
        seen = [(line["tokens"], line[key]) for line in lines if line.get(key) is not None]
        smooth = _smoothed([nats for _, nats in seen])
        if seen:
            found[source] = [(seen[place][0], smooth[place]) for place in _thinned(len(seen))]
    return _PhaseLosses(lines[-1]["tokens"] if lines else 0.0, found)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over the last few values; the first ones over as many as there are."""
    means = []
    for end in range(1, len(values) + 1):
        window = values[max(0, end - _SMOOTHED_STEPS) : end]
        means.append(sum(window) / len(window))
    return means


def _thinned(number: int) -> list[int]:
    """Places of at most `_MOST_POINTS` of `number` points, evenly spread, the first and last
    included."""
    if number <= _MOST_POINTS:
        return list(range(number))
    return [round(i * (number - 1) / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS)]


def _chart(records: StudyRecords, title: str, curves: Mapping[str, Curve]) -> Chart:
    numbers = {variant: number for number, variant in enumerate(records.tree.spec.variants)}
    longest = max(max(curve.tokens) for curve in curves.values())
    return draw(
        [
            Series(
                name=variant,
                number=numbers[variant],
                points=[
                    Point(x=tokens, y=nats)
                    for tokens, nats in zip(curve.tokens, curve.nats, strict=True)
                ],
                has_marks=False,
                # Later phases of the chain may not read the source.
                starts=[start for start in curve.boundaries if start <= longest],
            )
            for variant, curve in curves.items()
        ],
        title=title,
        x_label="training tokens",
        y_label="nats per token",
        x_ticks=[(share * longest, short_count(share * longest)) for share in (0.0, 0.5, 1.0)],
    )
