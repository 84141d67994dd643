"""Pictures of fitted ladders, as PNG and SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from megatron_codemix.files import atomic_path
from megatron_codemix.obs.look import COLOURS, LOOK, UNDATED
from megatron_codemix.scaling.fits import RunFit
from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.mixture_optimum import SharePath
from megatron_codemix.scaling.next_run import FLOPS_PER_PARAMETER_AND_TOKEN
from megatron_codemix.scaling.populations import where_words

_PANEL_INCHES = (4.2, 3.4)
_DOTS_PER_INCH = 130
_CURVE_POINTS = 60
_SIZES_SEARCHED = 240
_BEYOND = 10.0
"""How far beyond the largest run the curve is drawn, in compute."""
_SAME_COMPUTE = 1.25
"""Runs within this factor are drawn as one IsoFLOP curve."""
_BANDED_DRAWS = 200

Panel = Callable[[Axes], None]


@dataclass(frozen=True)
class Drawing:
    """A figure: its name as a file, and what it shows."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def draw_all(fits: Sequence[RunFit], paths: Sequence[SharePath], out: Path) -> list[Path]:
    """Writes every figure that these fits allow below `out`; the files."""
    scaled = [fit for fit in fits if {"parameters", "tokens"} <= set(fit.inputs)]
    drawings = []
    if scaled:
        drawings += [
            Drawing("loss_against_compute", "Loss against compute", _panels(scaled, _loss_panel)),
            Drawing("isoflop", "Loss against size at equal compute", _panels(scaled, _iso_panel)),
        ]
    held_out = [fit for fit in scaled if fit.held_out]
    if held_out:
        title = "The largest size, predicted from the smaller ones"
        drawings.append(Drawing("held_out", title, _panels(held_out, _held_out_panel)))
    if paths:
        panel: Panel = lambda axes: _share_panel(axes, paths)  # noqa: E731  # one of a list
        title = f"Share of {paths[0].source} with the lowest loss"
        drawings.append(Drawing("best_share", title, (panel,)))
    return [file for drawing in drawings for file in _draw(drawing, out)]


def _panels(
    fits: Sequence[RunFit], panel: Callable[[Axes, Sequence[RunFit]], None]
) -> tuple[Panel, ...]:
    """One panel for each target, whatever number of fits it has."""
    by_target: dict[str, list[RunFit]] = {}
    for fit in fits:
        by_target.setdefault(fit.target, []).append(fit)

    def bind(own: Sequence[RunFit]) -> Panel:
        return lambda axes: panel(axes, own)

    return tuple(bind(own) for own in by_target.values())


def _draw(drawing: Drawing, out: Path) -> list[Path]:
    columns = min(3, len(drawing.panels))
    rows = -(-len(drawing.panels) // columns)
    width, height = _PANEL_INCHES
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(width * columns, height * rows + 0.3), layout="constrained")
        grid = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
        for axes, panel in zip(grid, drawing.panels, strict=False):
            panel(axes)
        for axes in grid[len(drawing.panels) :]:
            axes.set_visible(False)
        figure.suptitle(drawing.title, fontsize=11)
        files = []
        for suffix in ("png", "svg"):
            file = out / f"{drawing.name}.{suffix}"
            metadata = UNDATED if suffix == "svg" else {"Software": ""}
            with atomic_path(file) as temporary:
                figure.savefig(temporary, format=suffix, dpi=_DOTS_PER_INCH, metadata=metadata)
            files.append(file)
    return files


@dataclass(frozen=True)
class _Mixture:
    """Runs of one mixture, of one fit."""

    fit: RunFit
    words: str
    rows: FloatArray
    """bool: which of the fit's runs."""
    rest: dict[str, float]
    """Inputs other than size and tokens, which these runs share."""

    def at(self, parameters: FloatArray, tokens: FloatArray) -> Inputs:
        """The law's inputs for these sizes and tokens."""
        others = {name: np.full(len(parameters), value) for name, value in self.rest.items()}
        return {**others, "parameters": parameters, "tokens": tokens, "unique_tokens": tokens}


def _mixtures(fits: Sequence[RunFit]) -> list[_Mixture]:
    """The runs of all fits by their mixtures."""
    found = []
    for fit in fits:
        names = sorted(name for name in fit.inputs if name.startswith("share_"))
        if not names:
            rows = np.ones(len(fit.measured), dtype=bool)
            found.append(_Mixture(fit, where_words(fit.where) or "runs", rows, {}))
            continue
        shares = np.column_stack([fit.inputs[name] for name in names])
        for row in np.unique(shares, axis=0):
            rows = (shares == row).all(axis=1)
            rest = dict(zip(names, row.tolist(), strict=True))
            found.append(_Mixture(fit, _share_words(rest), rows, rest))
    return found


def _share_words(shares: dict[str, float]) -> str:
    """`25% code`; of two sources the one that is not always there says it."""
    code = {name.removeprefix("share_"): share for name, share in shares.items()}
    if len(code) == 2 and "code" in code:
        code = {"code": code["code"]}
    return ", ".join(f"{100 * share:.3g}% {name}" for name, share in code.items())


def _loss_panel(axes: Axes, fits: Sequence[RunFit]) -> None:
    """Runs, and for each mixture the lowest loss that the law has for each compute, with its
    band."""
    for number, mixture in enumerate(_mixtures(fits)):
        colour = COLOURS[number % len(COLOURS)]
        fit, rows = mixture.fit, mixture.rows
        compute = _compute(fit.inputs)[rows]
        axes.plot(compute, fit.measured[rows], "o", color=colour, markersize=3.5, alpha=0.7)
        grid = np.geomspace(compute.min(), _BEYOND * compute.max(), _CURVE_POINTS)
        best = _best_inputs(mixture, grid)
        axes.plot(grid, fit.fitted.law.predict(fit.fitted.values, best), color=colour,
                  linewidth=1.3, label=mixture.words)  # fmt: skip
        low, high = _band(fit, best)
        axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    _log_losses(axes)
    axes.set_xlabel("training compute 6 N D, FLOPs")
    axes.set_ylabel(_target_words(fits[0]))
    if len(_mixtures(fits)) > 1:
        axes.legend(fontsize=7, title="curves: the law at the best size", title_fontsize=7)


def _best_inputs(mixture: _Mixture, compute: FloatArray) -> Inputs:
    """The law's inputs at the best size for each compute."""
    fit = mixture.fit
    sizes, tokens = fit.inputs["parameters"], fit.inputs["tokens"]
    searched = np.geomspace(sizes.min() / 30, sizes.max() * 1000, _SIZES_SEARCHED)
    grid_c, grid_n = (a.ravel() for a in np.meshgrid(compute, searched, indexing="ij"))
    grid_d = grid_c / (FLOPS_PER_PARAMETER_AND_TOKEN * grid_n)
    losses = fit.fitted.law.predict(fit.fitted.values, mixture.at(grid_n, grid_d))
    # Not far beyond the ratios of tokens to size that were run: laws are not to be believed there.
    ratio, known = grid_d / grid_n, tokens / sizes
    is_near = (ratio >= known.min() / 3) & (ratio <= known.max() * 3)
    losses = np.where(is_near, losses, np.inf).reshape(len(compute), -1)
    best = searched[losses.argmin(axis=1)]
    return mixture.at(best, compute / (FLOPS_PER_PARAMETER_AND_TOKEN * best))


def _band(fit: RunFit, at: Inputs) -> tuple[FloatArray, FloatArray]:
    """The interval of the law at these inputs; NaN where there is none."""
    fitted = fit.fitted
    nothing = np.full(len(at["parameters"]), np.nan)
    if not len(fitted.draws):
        return nothing, nothing
    drawn = np.stack([fitted.law.predict(draw, at) for draw in fitted.draws[:_BANDED_DRAWS]])
    return fitted.interval_of(drawn)


def _iso_panel(axes: Axes, fits: Sequence[RunFit]) -> None:
    """Runs of about equal compute, and the law along that compute: of the middle mixture."""
    mixtures = _mixtures(fits)
    mixture = mixtures[len(mixtures) // 2]
    fit = mixture.fit
    compute, sizes = _compute(fit.inputs)[mixture.rows], fit.inputs["parameters"][mixture.rows]
    losses = fit.measured[mixture.rows]
    norm = LogNorm(compute.min() / 1.5, compute.max() * 1.5)
    colours = mpl.colormaps["viridis"]
    for budget in _budgets(compute):
        colour = colours(norm(compute[budget].mean()))
        mean = float(np.exp(np.log(compute[budget]).mean()))
        axes.plot(sizes[budget], losses[budget], "o", color=colour, markersize=4)
        if len(budget) < 2:
            continue
        span = np.geomspace(sizes[budget].min() / 1.6, sizes[budget].max() * 1.6, _CURVE_POINTS)
        at = mixture.at(span, mean / (FLOPS_PER_PARAMETER_AND_TOKEN * span))
        curve = fit.fitted.law.predict(fit.fitted.values, at)
        axes.plot(span, curve, color=colour, linewidth=1.2, label=f"{mean:.1e}")
        lowest = int(curve.argmin())
        if 0 < lowest < len(span) - 1:
            axes.plot(span[lowest], curve[lowest], "v", color=colour, markersize=6, mec="black")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda count, _: count_words(count))
    axes.xaxis.set_minor_locator(NullLocator())
    _log_losses(axes)
    axes.set_xlabel(f"{(fit.parameters_column or 'parameters').replace('_', ' ')}")
    axes.set_ylabel(_target_words(fit))
    if len(mixtures) > 1:
        axes.set_title(mixture.words, fontsize=8)
    axes.legend(
        fontsize=6.5,
        title="FLOPs; triangles: best size",
        title_fontsize=6.5,
        ncols=4,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
    )


def _budgets(compute: FloatArray) -> list[FloatArray]:
    """Rows of about equal compute, smallest first."""
    rest = np.argsort(compute)
    budgets = []
    while len(rest):
        inside = compute[rest] <= _SAME_COMPUTE * compute[rest[0]]
        budgets.append(rest[inside])
        rest = rest[~inside]
    return budgets


def _held_out_panel(axes: Axes, fits: Sequence[RunFit]) -> None:
    """Measured against predicted, for runs that the fit has not seen."""
    values = [v for fit in fits for run in fit.held_out for v in (run.measured, run.predicted)]
    ends = np.array([min(values) * 0.995, max(values) * 1.005])
    axes.plot(ends, ends, color="grey", linewidth=0.8)
    axes.fill_between(ends, ends * 0.99, ends * 1.01, color="grey", alpha=0.15, linewidth=0)
    number = 0
    for fit in fits:
        measured = np.array([run.measured for run in fit.held_out])
        predicted = np.array([run.predicted for run in fit.held_out])
        is_largest = fit.inputs["parameters"] >= 0.99 * fit.inputs["parameters"].max()
        of_largest = np.flatnonzero(is_largest)
        for mixture in _mixtures([fit]):
            chosen = mixture.rows[of_largest]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(measured[chosen], predicted[chosen], "o", color=colour, markersize=4.5,
                      label=mixture.words)  # fmt: skip
            number += 1
    errors = [abs(run.predicted / run.measured - 1) for fit in fits for run in fit.held_out]
    axes.set_title(f"mean error {np.mean(errors):.2%}, worst {np.max(errors):.2%}", fontsize=8)
    axes.set_xlabel(f"measured {_target_words(fits[0])}")
    axes.set_ylabel("predicted (grey: within 1%)")
    if number > 1:
        axes.legend(fontsize=7)


def _share_panel(axes: Axes, paths: Sequence[SharePath]) -> None:
    """The best share against compute, for several weights of the evaluations."""
    for number, path in enumerate(paths):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(path.compute_flops, 100 * path.share, color=colour, label=path.words)
        axes.fill_between(
            path.compute_flops, 100 * path.low, 100 * path.high, color=colour, alpha=0.15,
            linewidth=0,
        )  # fmt: skip
    axes.axvspan(*paths[0].fitted_compute, color="grey", alpha=0.1, linewidth=0)
    axes.set_xscale("log")
    axes.set_ylim(0, 100)
    axes.set_xlabel("training compute 6 N D, FLOPs (grey: of the runs)")
    axes.set_ylabel(f"% {paths[0].source}")
    axes.legend(fontsize=7, title="weights of the losses", title_fontsize=7)


def _log_losses(axes: Axes) -> None:
    """A logarithmic axis with plain numbers, several also where it spans less than a decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def count_words(count: float) -> str:
    """`200M`."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:g}{suffix}"
    return f"{count:g}"


def _target_words(fit: RunFit) -> str:
    family, _, name = fit.target.partition(".")
    units = {"loss_nats": "nats per token", "bits_per_byte": "bits per byte"}
    return f"{name}, {units.get(family, family)}"


def _compute(inputs: Inputs) -> FloatArray:
    flops: FloatArray = FLOPS_PER_PARAMETER_AND_TOKEN * inputs["parameters"] * inputs["tokens"]
    return flops
