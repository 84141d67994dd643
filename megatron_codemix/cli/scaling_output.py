"""What `codemix scaling` prints for people."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from megatron_codemix.cli.scaling_ladder import short
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.scaling.analysis import LeftOut
from megatron_codemix.scaling.choices import MixtureDecisions
from megatron_codemix.scaling.fit_file import PointPrediction
from megatron_codemix.scaling.fits import RunFit, RunFits
from megatron_codemix.scaling.law import Law
from megatron_codemix.scaling.mixture_answer import MixtureAnswer
from megatron_codemix.scaling.mixture_optimum import SharePath
from megatron_codemix.scaling.next_run import NextRun
from megatron_codemix.scaling.populations import where_words
from megatron_codemix.scaling.readers.doremi import ImportedMixture
from megatron_codemix.scaling.scale_accuracy import ScaleAccuracy
from megatron_codemix.scaling.simulated_mixture import SimulatedMixture

_SHOWN = 12
"""Excluded runs and failed fits that are told one by one."""


def print_json(value: Any) -> None:  # Any: JSON values
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def fit_lines(found: RunFits, paths: Sequence[SharePath]) -> None:
    """Each fit, then what was left out."""
    console = Console()
    for fit in found.fits:
        _say(console, f"{fit.label}\n{fit.fitted.law.title}")
        console.print(_parameter_table(fit))
        for line in _fit_words(fit):
            _say(console, line)
    for path in paths:
        _say(console, _path_words(path))
    for failure in found.failures[:_SHOWN]:
        where = f" ({where_words(failure.where)})" if failure.where else ""
        _say(console, f"no fit to {failure.target}{where}: {failure.reason}")
    _more(console, len(found.failures), "fits that failed")
    _excluded(console, found.excluded)


def _parameter_table(fit: RunFit) -> WholeTable:
    fitted = fit.fitted
    table = WholeTable()
    for name in ("parameter", "value", f"{fitted.level:.0%} interval", "determined"):
        table.add_column(name, justify="left" if name in ("parameter", "determined") else "right")
    for one in fitted.parameters:
        ends = "-" if np.isnan(one.low) else f"{one.low:.4g} to {one.high:.4g}"
        table.add_row(one.name, f"{one.value:.5g}", ends, "yes" if one.is_identified else "no")
    return table


def _fit_words(fit: RunFit) -> list[str]:
    fitted = fit.fitted
    counted = f", {fit.parameters_column}" if fit.parameters_column else ""
    lines = [
        f"{fitted.runs} runs{counted}; relative scatter {fitted.residual_spread:.2%}; intervals by "
        f"{len(fitted.draws)} of {fitted.bootstraps} resamples of {fit.groups}"
    ]
    if fitted.left_out is not None:
        lines.append(_left_out_words(fitted.left_out))
    else:
        lines.append(f"largest left out: {fitted.left_out_missing}")
    if fit.held_out:
        errors = [abs(run.predicted / run.measured - 1) for run in fit.held_out]
        lines.append(
            f"largest size left out ({len(errors)} of the runs): mean error {np.mean(errors):.2%}, "
            f"worst {np.max(errors):.2%}"
        )
    lines += [f"note: {text}" for text in fitted.diagnosis]
    lines += [_next_words(run) for run in fit.next_runs]
    if fit.next_runs:
        lines.append(f"  (about the prediction at {_quantities(fit.next_at)})")
    return lines


def _left_out_words(out: LeftOut) -> str:
    mean, error = ("mean ", "largest error of a run") if out.runs > 1 else ("", "error")
    return (
        f"largest left out ({out.what}): {mean}measured {out.measured:.5g}, {mean}predicted "
        f"{out.predicted:.5g}; {error} {out.relative_error:.2%}"
    )


def _next_words(run: NextRun) -> str:
    return (
        f"next run for {run.times_largest:.2g} times the largest one's compute: "
        f"{_quantities(run.inputs)}; the prediction's error shrinks from {run.spread_before:.2%} "
        f"to {run.spread_after:.2%}"
    )


def _quantities(inputs: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name.replace('share_', 'share ')} {value:g}"
        if name.startswith("share_")
        else f"{short(value)} {name.replace('_', ' ')}"
        for name, value in inputs.items()
    )


def _path_words(path: SharePath) -> str:
    ends = [0, len(path.compute_flops) - 1]
    words = [
        f"{path.share[end]:.0%} at {path.compute_flops[end]:.2g} FLOPs"
        + ("" if np.isnan(path.low[end]) else f" ({path.low[end]:.0%} to {path.high[end]:.0%})")
        for end in ends
    ]
    return f"best share of {path.source} for losses weighted {path.words}: {' -> '.join(words)}"


def _excluded(console: Console, excluded: Sequence[tuple[str, str]]) -> None:
    """Runs that were not used, those with a common reason in one line."""
    common = Counter(reason for _, reason in excluded)
    for reason, count in common.items():
        names = [name for name, why in excluded if why == reason]
        shown = ", ".join(names[:3]) + (f" and {count - 3} more" if count > 3 else "")
        _say(console, f"not used: {shown}: {reason}")


def prediction_lines(found: Sequence[PointPrediction]) -> None:
    console = Console()
    for one in found:
        where = f" ({where_words(one.where)})" if one.where else ""
        ends = "no interval" if np.isnan(one.low) else f"{one.low:.4g} to {one.high:.4g}"
        scatter = "" if np.isnan(one.run_spread) else f"; runs scatter by {one.run_spread:.2%}"
        _say(console, f"{one.target}{where}: {one.value:.5g} ({ends}) by {one.law}{scatter}")
        for warning in one.warnings:
            _say(console, f"  warning: {warning}")


def mixture_lines(found: MixtureAnswer) -> None:
    console = Console()
    best = found.optimum.best
    shares = []
    for name, share in best.shares.items():
        low, high = found.intervals.get(name, (None, None))
        ends = "no interval" if low is None else f"{low:.1%} to {high:.1%}"
        shares.append(f"{name} {share:.1%} ({ends})")
    _say(console, f"best mixture: {', '.join(shares)}")
    for name, loss in found.optimum.loss_nats.items():
        _say(console, f"loss on {name}: {loss:.4f} nats, weight {found.weights[name]:.3g}")
    if best.at_cap:
        _say(console, f"at their cap: {', '.join(best.at_cap)}")
    for warning in found.warnings:
        _say(console, f"  warning: {warning}")


def decision_lines(found: MixtureDecisions) -> None:
    """Each loss, then what was left out."""
    console = Console()
    for one in found.targets:
        _say(console, f"{one.target}:")
        if one.decision is None:
            _say(console, f"  no decision: {one.no_decision}")
        else:
            choice = one.decision
            noise = f"{choice.seed_noise_nats:.4f}" if one.noise_is_known else "unknown, 0"
            _say(
                console,
                f"  {choice.winner} wins with {choice.loss_nats:.4f} nats; chance of being "
                f"wrong {choice.chance_wrong:.1%}, regret {choice.expected_regret_nats:.4f} nats "
                f"(noise between seeds: {noise} nats)",
            )
            for rival in choice.rivals:
                _say(
                    console,
                    f"  {rival.name}: {rival.behind_nats:+.4f} nats, better with a chance of "
                    f"{rival.chance_better:.1%}",
                )
        for name, reason in one.not_fitted.items():
            _say(console, f"  not compared: {name}: {reason}")
        for words, scales in groupby(one.scales, key=_accuracy_words):
            _say(console, f"  decisions at {_scales_words(list(scales))}: {words}")
    _excluded(console, found.excluded)


def _accuracy_words(scale: ScaleAccuracy) -> str:
    accuracy = scale.accuracy
    return (
        f"{accuracy.accuracy:.1%} of {accuracy.pairs} pairs as at {short(scale.against[0])}, "
        f"{short(scale.against[1])} ({accuracy.low:.1%} to {accuracy.high:.1%})"
    )


def _scales_words(scales: Sequence[ScaleAccuracy]) -> str:
    """One scale, or the first and the last of several."""
    first, last = scales[0], scales[-1]
    words = f"{short(first.parameters)} parameters, {short(first.tokens)} tokens"
    if len(scales) == 1:
        return words
    return f"{len(scales)} scales from {words} to {short(last.parameters)}, {short(last.tokens)}"


def laws_table(laws: Sequence[Law]) -> None:
    table = WholeTable(title="laws")
    for name in ("name", "formula", "takes", "source"):
        table.add_column(name)
    for law in laws:
        table.add_row(law.name, escape(law.title), ", ".join(law.inputs), escape(law.source))
    Console().print(table)


def weight_lines(found: ImportedMixture) -> None:
    console = Console()
    weights = ", ".join(f"{name}: {share:.6g}" for name, share in found.weights.items())
    _say(console, f"data.mixture.weights: {{{weights}}}")
    for name, share in found.left_out.items():
        _say(console, f"left out: {name}, {share:.4g}")


def simulated_lines(found: SimulatedMixture) -> None:
    console = Console()
    table = WholeTable()
    table.add_column("source")
    table.add_column("share", justify="right")
    for name, share in sorted(found.shares.items(), key=lambda item: -item[1]):
        table.add_row(escape(name), f"{share:.4f}")
    console.print(table)
    _say(
        console,
        f"{found.target}: {found.predicted_loss:.4f} nats predicted for the scale of {found.runs} "
        f"runs, of which the lowest is {found.best_run_loss:.4f} ({found.best_run})",
    )
    _say(
        console,
        f"runs that were left out are ranked with a Spearman correlation of "
        f"{found.spearman_held_out:.3f}; what carries over to large models is the ranking",
    )
    for warning in found.warnings:
        _say(console, f"warning: {warning}")
    _excluded(console, [(one.name, one.reason) for one in found.excluded])


def _more(console: Console, count: int, what: str) -> None:
    if count > _SHOWN:
        _say(console, f"and {count - _SHOWN} more {what}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
