"""Decisions between the mixtures of a table of runs, and how good such ones have been in it."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.columns import PARAMETERS
from megatron_codemix.scaling.decisions import (
    Decision,
    DecisionAccuracy,
    Predicted,
    decide,
    decision_accuracy,
    seed_noise,
)
from megatron_codemix.scaling.fits import FitRequest, RunFit, fit_runs, where_words
from megatron_codemix.scaling.registry import build_law
from megatron_codemix.scaling.table import RunTable
from megatron_codemix.scaling.target import Point, point_inputs

_SHARE_DIGITS = 6
_CORPUS = "training_set"
"""Column of runs that are told apart by their corpus, besides its shares."""


@dataclass(frozen=True, kw_only=True)
class ScaleAccuracy:
    """How often runs of one scale rank two mixtures as the largest scale does."""

    parameters: float
    tokens: float
    against: tuple[float, float]
    """Parameters and tokens of the largest scale that has some of its mixtures."""
    mixtures: int
    """Which both have."""
    accuracy: DecisionAccuracy


@dataclass(frozen=True, kw_only=True)
class TargetDecision:
    """About one loss."""

    target: str
    decision: Decision | None
    no_decision: str
    """Why there is none; else empty."""
    noise_is_known: bool
    """Whether the noise between seeds was given or measured; else it counts as none."""
    scales: tuple[ScaleAccuracy, ...]
    """Smallest compute first."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "target": self.target,
            "decision": None if self.decision is None else self.decision.as_dict(),
            "no_decision": self.no_decision,
            "seed_noise_is_known": self.noise_is_known,
            "decision_accuracy": [asdict(scale) for scale in self.scales],
        }


def decide_mixtures(
    table: RunTable, request: FitRequest, at: Point, noise_nats: float | None
) -> list[TargetDecision]:
    """For each target: the mixture with the lowest predicted loss at `at` (without size and tokens
    only the accuracy), by a law fitted to each mixture.

    noise_nats: standard deviation between seeds; None: from runs that differ in nothing else.
    Raises DataError where the runs are of fewer than two mixtures, ConfigError for a noise that is
    no deviation, and for a law that takes mixtures together: its errors are common to all, and say
    nothing of how they differ.
    """
    if noise_nats is not None and not 0 <= noise_nats < math.inf:
        raise ConfigError([f"--noise-nats {noise_nats}: must be a finite number, 0 or above"])
    columns = _choice(table)
    if not columns or len(table.frame[columns].drop_duplicates()) < 2:
        raise DataError(
            f"{table.where}: a decision needs runs of two mixtures, by share.<source> or {_CORPUS}"
        )
    law = build_law(request.law or "chinchilla", table.sources)
    if any(name.startswith("share_") for name in law.inputs):
        raise ConfigError(
            [f"--law {law.name}: takes all mixtures together; a decision compares a law of each"]
        )
    is_asked = at.parameters is not None and at.tokens is not None
    if not is_asked and (at.parameters, at.tokens) != (None, None):
        raise ConfigError(["the target: give --tokens, and --parameters or --model"])
    fits = fit_runs(table, request).fits if is_asked else ()
    targets = dict.fromkeys([fit.target for fit in fits]) or _targets(table, request)
    return [
        _decision(table, target, [fit for fit in fits if fit.target == target], at, noise_nats)
        for target in targets
    ]


def _targets(table: RunTable, request: FitRequest) -> dict[str, None]:
    names = [name if "." in name else f"loss_nats.{name}" for name in request.targets]
    return dict.fromkeys(names or table.columns("loss_nats"))


def _decision(
    table: RunTable, target: str, fits: list[RunFit], at: Point, noise_nats: float | None
) -> TargetDecision:
    usable = table.usable_for(target)
    noise, is_known = _noise(usable, target, noise_nats)
    decision, reason = None, "no target: give --tokens, and --parameters or --model"
    if fits:
        try:
            predicted = {where_words(fit.where): _predicted(fit, at) for fit in fits}
            decision, reason = decide(predicted, seed_noise_nats=noise), ""
        except DataError as error:
            reason = str(error)
    return TargetDecision(
        target=target,
        decision=decision,
        no_decision=reason,
        noise_is_known=is_known,
        scales=_accuracies(usable, target),
    )


def _predicted(fit: RunFit, at: Point) -> Predicted:
    inputs = point_inputs(fit.fitted.law, at)
    draws = [fit.fitted.law.predict(draw, inputs)[0] for draw in fit.fitted.draws]
    value = fit.fitted.law.predict(fit.fitted.values, inputs)[0]
    return Predicted(loss_nats=float(value), draws_nats=np.array(draws, dtype=float))


def _choice(table: RunTable) -> list[str]:
    """Columns that say what is decided about."""
    return [c for c in (_CORPUS, *table.columns("share")) if c in table.frame]


def _settings(table: RunTable) -> list[str]:
    """Columns that say all but the seed."""
    return [c for c in (*PARAMETERS, "tokens") if c in table.frame] + _choice(table)


def _noise(table: RunTable, target: str, given: float | None) -> tuple[float, bool]:
    if given is not None:
        return given, True
    if "seed" not in table.frame:
        return 0.0, False
    groups = table.frame.groupby(_settings(table), dropna=False)
    settings = [
        rows[target].to_numpy(dtype=float) for _, rows in groups if rows["seed"].nunique() > 1
    ]
    if not settings:
        return 0.0, False
    return seed_noise(settings).standard_deviation_nats, True


def _accuracies(table: RunTable, target: str) -> tuple[ScaleAccuracy, ...]:
    """Each scale beside the largest one that has two of its mixtures."""
    column = next((name for name in PARAMETERS if name in table.frame), None)
    if column is None or "tokens" not in table.frame:
        return ()
    by_scale = {
        (float(size), float(tokens)): _losses(table, rows, target)
        for (size, tokens), rows in table.frame.groupby([column, "tokens"])
    }
    scales = sorted(by_scale, key=lambda scale: scale[0] * scale[1])
    found = []
    for place, scale in enumerate(scales):
        for larger in reversed(scales[place + 1 :]):
            common = sorted(by_scale[scale].keys() & by_scale[larger].keys())
            if len(common) < 2:
                continue
            losses = (np.array([by_scale[one][m] for m in common]) for one in (scale, larger))
            accuracy = decision_accuracy(*losses)
            found.append(
                ScaleAccuracy(
                    parameters=scale[0],
                    tokens=scale[1],
                    against=larger,
                    mixtures=len(common),
                    accuracy=accuracy,
                )
            )
            break
    return tuple(found)


def _losses(table: RunTable, rows: pd.DataFrame, target: str) -> dict[tuple[str, ...], float]:
    """Mixture -> mean loss over its runs."""
    named = rows[_choice(table)].round(_SHARE_DIGITS).astype(str)
    keys = pd.Series([tuple(row) for row in named.to_numpy()], index=rows.index)
    return {key: float(values.mean()) for key, values in rows[target].groupby(keys)}
