"""Decisions between the mixtures of a table of runs, and how good such ones have been in it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.columns import PARAMETERS
from megatron_codemix.scaling.decisions import Decision, Predicted, decide, seed_noise
from megatron_codemix.scaling.fits import Failure, FitRequest, RunFit, fit_runs
from megatron_codemix.scaling.populations import Where, mixtures, takes_shares, where_words
from megatron_codemix.scaling.registry import build_law
from megatron_codemix.scaling.scale_accuracy import (
    CORPUS,
    ScaleAccuracy,
    mixture_columns,
    scale_accuracies,
)
from megatron_codemix.scaling.table import RunTable
from megatron_codemix.scaling.target import Point, point_inputs


@dataclass(frozen=True, kw_only=True)
class TargetDecision:
    """About one loss."""

    target: str
    decision: Decision | None
    no_decision: str
    """Why there is none; else empty."""
    not_fitted: Mapping[str, str]
    """Mixture -> why no law could be fitted to its runs; the decision is between the others."""
    noise_is_known: bool
    """Whether the noise between seeds was given or measured; else it counts as none."""
    scales: tuple[ScaleAccuracy, ...]
    """Smallest compute first."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "target": self.target,
            "decision": None if self.decision is None else self.decision.as_dict(),
            "no_decision": self.no_decision,
            "not_fitted": dict(self.not_fitted),
            "seed_noise_is_known": self.noise_is_known,
            "decision_accuracy": [asdict(scale) for scale in self.scales],
        }


@dataclass(frozen=True, kw_only=True)
class MixtureDecisions:
    """About each loss that was asked about."""

    targets: tuple[TargetDecision, ...]
    excluded: tuple[tuple[str, str], ...]
    """(run, reason) of the runs that were not used."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "decisions": [one.as_dict() for one in self.targets],
            "excluded": [{"run": name, "reason": reason} for name, reason in self.excluded],
        }


def decide_mixtures(
    table: RunTable, request: FitRequest, at: Point, noise_nats: float | None
) -> MixtureDecisions:
    """For each target: the mixture with the lowest predicted loss at `at` (without size and tokens
    only the accuracy), by a law fitted to each mixture, or by one of mixture and scale that is
    fitted to all, whose errors they then have in common.

    noise_nats: standard deviation between seeds; None: from runs that differ in nothing else.
    Raises DataError where the runs are of fewer than two mixtures, ConfigError for a noise that is
    no deviation, and for a law that knows nothing of size and tokens.
    """
    _check(table, request, at, noise_nats)
    if at.tokens is None:
        names = _targets(table, request)
        excluded = {name: table.usable_for(name).excluded for name in names}
        fits: tuple[RunFit, ...] = ()
        failures: tuple[Failure, ...] = ()
        gone = dict.fromkeys((one.name, one.reason) for some in excluded.values() for one in some)
    else:
        found = fit_runs(table, request)
        fits, failures, gone = found.fits, found.failures, dict.fromkeys(found.excluded)
        told = [*(fit.target for fit in fits), *(failure.target for failure in failures)]
        names = list(dict.fromkeys(told))
    return MixtureDecisions(
        targets=tuple(
            _decision(
                table.usable_for(name),
                name,
                [fit for fit in fits if fit.target == name],
                [failure for failure in failures if failure.target == name],
                at,
                noise_nats,
            )
            for name in names
        ),
        excluded=tuple(gone),
    )


def _check(table: RunTable, request: FitRequest, at: Point, noise_nats: float | None) -> None:
    if noise_nats is not None and not 0 <= noise_nats < math.inf:
        raise ConfigError([f"--noise-nats {noise_nats}: must be a finite number, 0 or above"])
    columns = mixture_columns(table)
    if not columns or len(table.frame[columns].drop_duplicates()) < 2:
        raise DataError(
            f"{table.where}: a decision needs runs of two mixtures, by share.<source> or {CORPUS}"
        )
    law = build_law(request.law or "chinchilla", table.sources)
    if not {"parameters", "tokens"} <= set(law.inputs):
        raise ConfigError(
            [f"--law {law.name}: knows nothing of size and tokens, which the target is one of"]
        )
    if (at.parameters is None) != (at.tokens is None):
        raise ConfigError(["the target: give --tokens, and --parameters or --model"])


def _targets(table: RunTable, request: FitRequest) -> list[str]:
    names = [name if "." in name else f"loss_nats.{name}" for name in request.targets]
    return list(dict.fromkeys(names or table.columns("loss_nats")))


def _decision(
    usable: RunTable,
    target: str,
    fits: Sequence[RunFit],
    failures: Sequence[Failure],
    at: Point,
    noise_nats: float | None,
) -> TargetDecision:
    noise, is_known = _noise(usable, target, noise_nats)
    decision, reason = None, "no target: give --tokens, and --parameters or --model"
    is_joint = any(takes_shares(fit.fitted.law) for fit in fits)
    if fits or failures:
        try:
            predicted = _by_mixture(usable, fits, at) if is_joint else _by_fit(fits, at)
            decision = decide(predicted, seed_noise_nats=noise, of_one_fit=is_joint)
            reason = ""
        except DataError as error:
            reason = str(error)
    return TargetDecision(
        target=target,
        decision=decision,
        no_decision=reason,
        not_fitted={where_words(one.where) or "all": one.reason for one in failures},
        noise_is_known=is_known,
        scales=scale_accuracies(usable, target),
    )


def _by_fit(fits: Sequence[RunFit], at: Point) -> dict[str, Predicted]:
    """Of laws that are fitted to each mixture by itself."""
    return {where_words(fit.where): _predicted(fit, at) for fit in fits}


def _by_mixture(usable: RunTable, fits: Sequence[RunFit], at: Point) -> dict[str, Predicted]:
    """Each mixture that was run, by the one law that was fitted to all."""
    if len(fits) > 1:
        kinds = "; ".join(where_words(fit.where) for fit in fits)
        raise DataError(
            f"law {fits[0].fitted.law.name} is fitted to {kinds} by themselves, whose mixtures "
            "cannot be compared so; choose a law that takes no shares"
        )
    return {
        where_words(shares): _predicted(fits[0], _with_shares(at, shares))
        for shares in mixtures(usable)
    }


def _with_shares(at: Point, shares: Where) -> Point:
    parts = {name.partition(".")[2]: float(share) for name, share in shares.items()}
    return Point(parameters=at.parameters, tokens=at.tokens, shares=parts)


def _predicted(fit: RunFit, at: Point) -> Predicted:
    inputs = point_inputs(fit.fitted.law, at)
    draws = [fit.fitted.law.predict(draw, inputs)[0] for draw in fit.fitted.draws]
    value = fit.fitted.law.predict(fit.fitted.values, inputs)[0]
    return Predicted(loss_nats=float(value), draws_nats=np.array(draws, dtype=float))


def _settings(table: RunTable) -> list[str]:
    """Columns that say all but the seed."""
    return [c for c in (*PARAMETERS, "tokens") if c in table.frame] + mixture_columns(table)


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
