"""The best mixture at a point by stored fits, with its interval and how far away the point is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from megatron_codemix.errors import ConfigError, FitError
from megatron_codemix.scaling.analysis import FittedLaw
from megatron_codemix.scaling.best_shares import normalised
from megatron_codemix.scaling.compute_optimum import MixtureOptimum, best_mixture
from megatron_codemix.scaling.diagnosis import ENOUGH_DRAWS
from megatron_codemix.scaling.fit_file import StoredFit
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.populations import where_words
from megatron_codemix.scaling.registry import sources_of
from megatron_codemix.scaling.target import Point, point_inputs

Ends = dict[str, tuple[float, float]]
"""Interval of the share of each source; {} where there is none."""


@dataclass(frozen=True, kw_only=True)
class MixtureAnswer:
    """The best mixture, and how far to believe it."""

    optimum: MixtureOptimum
    weights: Mapping[str, float]
    """Of each evaluation's loss; they sum to 1."""
    level: float
    """Of the intervals."""
    intervals: Ends
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            **self.optimum.as_dict(),
            "weights": dict(self.weights),
            "level": self.level,
            "share_intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Search:
    """The search for the best mixture at a point."""

    laws: Mapping[str, MixtureAndScaleLaw]
    parts: Mapping[str, float]
    parameters: float
    tokens: float
    at_most: Mapping[str, float]

    def best(self, values: Mapping[str, FloatArray]) -> MixtureOptimum:
        """By the laws with these parameters."""
        return best_mixture(
            {name: (law, values[name]) for name, law in self.laws.items()},
            self.parts,
            parameters=self.parameters,
            tokens=self.tokens,
            at_most=self.at_most,
        )


def mixture_at(
    stored: Sequence[StoredFit],
    at: Point,
    weights: Mapping[str, float],
    at_most: Mapping[str, float],
) -> MixtureAnswer:
    """The best shares at the point, for weights of the targets' losses (none: all alike). Raises
    ConfigError where a weight is of no target, or there is no law of mixture and scale, or several
    of one target."""
    laws: dict[str, MixtureAndScaleLaw] = {}
    fits: dict[str, FittedLaw] = {}
    for one in stored:
        if isinstance(one.fitted.law, MixtureAndScaleLaw):
            name = one.target.partition(".")[2]
            if name in fits:
                raise ConfigError(
                    [
                        f"there are several fits to {one.target}, one of them to "
                        f"{where_words(one.where)}; fit the runs of one with --where"
                    ]
                )
            laws[name], fits[name] = one.fitted.law, one.fitted
    if not fits:
        raise ConfigError(
            ["the fits are of no law of mixture and scale; fit with --law mixture-and-scale"]
        )
    if at.parameters is None or at.tokens is None:
        raise ConfigError(["the target: give --tokens, and --parameters or --model"])
    given = {name.removeprefix("loss_nats."): weight for name, weight in weights.items()}
    parts = normalised(given or dict.fromkeys(fits, 1.0), list(fits))
    search = _Search(laws, parts, at.parameters, at.tokens, at_most)
    optimum = search.best({name: fit.values for name, fit in fits.items()})
    return MixtureAnswer(
        optimum=optimum,
        weights=parts,
        level=next(iter(fits.values())).level,
        intervals=_intervals(search, fits),
        warnings=_warnings(fits, at, optimum.best.shares),
    )


def _intervals(search: _Search, fits: Mapping[str, FittedLaw]) -> Ends:
    """From the best mixture by each draw. The resamples of all targets are of the same runs, so
    that their draws belong together."""
    count = min(len(fit.draws) for fit in fits.values())
    drawn = []
    for place in range(count):
        try:
            best = search.best({name: fit.draws[place] for name, fit in fits.items()})
        except FitError:
            continue
        drawn.append(best.best.shares)
    if not drawn or len(drawn) < ENOUGH_DRAWS * count:
        return {}
    shares = np.array([list(one.values()) for one in drawn])
    low, high = next(iter(fits.values())).interval_of(shares)
    return dict(zip(drawn[0], zip(low.tolist(), high.tolist(), strict=True), strict=True))


def _warnings(
    fits: Mapping[str, FittedLaw], at: Point, shares: Mapping[str, float]
) -> tuple[str, ...]:
    """What of the point or of the best mixture is far from the runs, each once."""
    found: dict[str, None] = {}
    for fit in fits.values():
        shares_of_law = {name: shares[name] for name in sources_of(fit.law.inputs)}
        inputs = point_inputs(fit.law, replace(at, shares=shares_of_law))
        found |= dict.fromkeys(fit.far_away(inputs))
    return tuple(found)
