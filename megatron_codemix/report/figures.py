"""Figures of a report as SVG data URIs: the same bytes for the same records, readable on paper and
on a phone."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from megatron_codemix.files import Json
from megatron_codemix.obs.look import COLOURS, LOOK, UNDATED
from megatron_codemix.report.collect import StudyRecords

_STYLES = ("-", "--", ":", "-.")
_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_SMOOTHED_STEPS = 9
"""Steps in the running mean of a loss curve: single small batches scatter more than variants
differ."""

SIZE_INCHES = (6.0, 3.6)
"""Small, so that the text is still readable when a phone shrinks the figure."""


@dataclass(frozen=True)
class Picture:
    """A figure as an HTML image."""

    title: str
    alt: str
    """What it shows, for readers who do not see it."""
    uri: str


@dataclass(frozen=True)
class Curve:
    """Training loss of one source along a chain of phases."""

    tokens: list[float]
    nats: list[float]
    boundaries: list[float]
    """Tokens at which a phase of the chain begins, without the first."""


def draw_figures(records: StudyRecords, report: Mapping[str, Json]) -> list[Picture]:
    """Relative changes, then a loss figure for each source, for the first cell of the matrix."""
    pictures = []
    colours = {
        variant: COLOURS[number % len(COLOURS)]
        for number, variant in enumerate(records.tree.spec.variants)
    }
    cell = records.tree.cells[0]
    rows = [row for row in report["variants"] if row["cell"] == cell]
    suffix = f" ({cell})" if len(records.tree.cells) > 1 else ""
    if len(rows) > 1:
        pictures.append(_relative_picture(rows, report["baseline"], suffix, colours))
    curves = loss_curves(records, cell)
    pictures += [
        _loss_picture(source, curves[source], suffix, colours) for source in sorted(curves)
    ]
    return pictures


def loss_curves(records: StudyRecords, cell: str) -> dict[str, dict[str, Curve]]:
    """Source -> variant -> training loss over the tokens of the whole chain, smoothed within each
    phase."""
    curves: dict[str, dict[str, Curve]] = {}
    for variant in records.tree.spec.variants:
        start = 0.0
        boundaries: list[float] = []
        for phase in records.chain(cell, variant):
            if start:
                boundaries.append(start)
            for source in sorted(phase.node.config.data.sources):
                key = f"loss/source/{source}_nats"
                points = [
                    (start + line["tokens"], line[key])
                    for line in phase.metrics
                    if line.get(key) is not None
                ]
                if not points:
                    continue
                curve = curves.setdefault(source, {}).setdefault(variant, Curve([], [], boundaries))
                if curve.tokens:
                    curve.tokens.append(start)
                    curve.nats.append(float("nan"))  # a gap in the line where a phase ends
                curve.tokens.extend(tokens for tokens, _ in points)
                curve.nats.extend(_smoothed([nats for _, nats in points]))
            start += phase.metrics[-1]["tokens"] if phase.metrics else 0.0
    return curves


def _smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over the last few values; the first ones over as many as there are."""
    means = []
    for end in range(1, len(values) + 1):
        window = values[max(0, end - _SMOOTHED_STEPS) : end]
        means.append(sum(window) / len(window))
    return means


def _loss_picture(
    source: str, curves: Mapping[str, Curve], suffix: str, colours: Mapping[str, str]
) -> Picture:
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        for number, (variant, curve) in enumerate(curves.items()):
            colour = colours[variant]
            # Variants with common phases lie on one another there: dashes let both be seen.
            style = _STYLES[number % len(_STYLES)]
            axes.plot(curve.tokens, curve.nats, style, color=colour, linewidth=1.2, label=variant)
            for boundary in curve.boundaries:
                axes.axvline(boundary, color=colour, linewidth=0.6, linestyle=":", alpha=0.6)
        axes.set_xlabel("training tokens along the chain of phases")
        axes.set_ylabel("loss, nats per token")
        longest = max((max(curve.tokens) for curve in curves.values()), default=0.0)
        axes.xaxis.set_major_formatter(lambda tokens, _: tick_words(tokens, longest))
        figure.legend(fontsize=8, loc="outside lower center", ncols=2)
        title = f"Training loss on {source}{suffix}"
        alt = f"{title}: {', '.join(curves)}; dotted lines mark where a phase begins"
        return Picture(title=title, alt=alt, uri=data_uri(figure))


def tick_words(tokens: float, longest: float) -> str:
    """`7.5K`: every tick of an axis that ends at `longest` in the same unit."""
    unit, name = next(((unit, name) for unit, name in _UNITS if longest >= unit), (1.0, ""))
    return f"{tokens / unit:g}{name}"


def _relative_picture(
    rows: Sequence[Mapping[str, Json]], baseline: str, suffix: str, colours: Mapping[str, str]
) -> Picture:
    sources = list(rows[0]["heldout"])
    others = [row for row in rows if row["name"] != baseline]
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / max(1, len(others))
        for number, row in enumerate(others):
            changes = [row["heldout"].get(source, {}).get("relative") for source in sources]
            places = [i + (number - (len(others) - 1) / 2) * width for i in range(len(sources))]
            heights = [100 * change if change is not None else 0.0 for change in changes]
            colour = colours[row["name"]]
            axes.bar(places, heights, width=0.9 * width, color=colour, label=row["name"])
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(sources)), sources)
        axes.set_ylabel(f"bits per byte,\n% against {baseline}")
        figure.legend(fontsize=8, loc="outside lower center", ncols=2)
        title = f"Held-out loss against {baseline}{suffix}"
        alt = f"{title}, by source; bars below zero are better"
        return Picture(title=title, alt=alt, uri=data_uri(figure))


def data_uri(figure: Figure) -> str:
    """The figure as SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=UNDATED)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
