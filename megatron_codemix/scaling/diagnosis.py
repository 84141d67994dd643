"""What the runs do not determine, in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from megatron_codemix.scaling.law import FloatArray, Inputs, Law, Solution

DETERMINED_FACTOR = 10**0.5
"""A parameter is determined if its interval stays within this factor, half an order of magnitude,
of its value."""
ENOUGH_DRAWS = 0.5
"""Of the bootstrap's draws; with fewer fits there is no interval."""

_TRADE_OFF = 0.98
"""Rank correlation over the draws from which two parameters are one: a factor and its exponent."""
_FEW_FOR_TREND = 8
"""Runs; fewer do not show a form."""
_OUTLIER_SPREADS = 6.0
_EXACT = 1e-5
"""Relative residuals below this are rounding errors: of losses with five digits after the point, or
of the search. Seeds scatter a hundred times as much."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a fitted law. `low` and `high` are NaN where there is no interval."""

    name: str
    value: float
    low: float
    high: float
    is_identified: bool
    """Whether the runs determine it."""
    reason: str
    """Why not; else empty."""
    together_with: str = ""
    """A parameter that is determined and leaves this one no freedom: A, once alpha is known."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        ends = {"low": finite_or_none(self.low), "high": finite_or_none(self.high)}
        return {**asdict(self), **ends}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Parameter":  # Any: JSON values
        ends = {end: np.nan if values[end] is None else values[end] for end in ("low", "high")}
        return cls(**{**values, **ends})


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if np.isfinite(value) else None


def judge_parameters(
    law: Law,
    solution: Solution,
    draws: FloatArray,
    ends: tuple[FloatArray, FloatArray],
    fitted: int,
    bootstraps: int,
    level: float,
) -> tuple[Parameter, ...]:
    """Each parameter with its interval, and whether the runs determine it.

    draws: those that the interval is from; fitted: how many of the `bootstraps` converged.
    """
    judged = []
    for name, value, low, high in zip(law.parameter_names, solution.parameters, *ends, strict=True):
        reason = ""
        if name in solution.at_bounds:
            reason = f"it lies at the edge of what was searched, at {value:.3g}"
        elif not np.isfinite(low):
            reason = f"{fitted} of {bootstraps} resamples could be fitted: the runs are too few"
        elif doubt := _doubt(value, low, high):
            reason = f"{level:.0%} interval {low:.3g} to {high:.3g} about {value:.3g}, {doubt}"
        judged.append(
            Parameter(
                name=name,
                value=float(value),
                low=float(low),
                high=float(high),
                is_identified=not reason,
                reason=reason,
            )
        )
    return _with_partners(judged, draws)


def _doubt(value: float, low: float, high: float) -> str:
    """What is wrong with an interval; empty for one that determines the value."""
    if low < 0 < high:
        return "which leaves its sign open"
    if low == 0 or high == 0:
        return "which reaches zero"
    size, ends = abs(value), sorted((abs(low), abs(high)))
    if ends[1] > DETERMINED_FACTOR * size or ends[0] < size / DETERMINED_FACTOR:
        return "more than half an order of magnitude"
    return ""


def _with_partners(judged: Sequence[Parameter], draws: FloatArray) -> tuple[Parameter, ...]:
    """The same, where those that are open say with which other one they trade off."""
    if len(draws) < 3:
        return tuple(judged)
    correlations = rank_correlations(draws)
    np.fill_diagonal(correlations, 0.0)
    found = []
    for one, row in zip(judged, correlations, strict=True):
        other = judged[int(np.argmax(np.abs(row)))]
        if one.is_identified or np.abs(row).max() < _TRADE_OFF:
            found.append(one)
            continue
        reason = f"{one.reason}; it trades off against {other.name}"
        partner = other.name if other.is_identified else ""
        found.append(replace(one, reason=reason, together_with=partner))
    return tuple(found)


def rank_correlations(columns: FloatArray) -> FloatArray:
    """Spearman's, between all columns; 0 for a column that does not vary."""
    ranks = columns.argsort(axis=0).argsort(axis=0).astype(float)
    ranks[:, np.ptp(columns, axis=0) == 0] = 0.0
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    correlations: FloatArray = ranks.T @ ranks / np.maximum(np.outer(length, length), 1e-300)
    return correlations


def condition_number(law: Law, parameters: FloatArray, inputs: Inputs) -> float:
    """Of the law's derivatives by its parameters at the runs, columns of length one: 1 where the
    parameters act apart, above about 1e3 where some can hardly be told apart."""
    columns = []
    for number, value in enumerate(parameters):
        step = np.zeros(len(parameters))
        step[number] = 1e-5 * max(abs(value), 1e-8)
        difference = law.predict(parameters + step, inputs) - law.predict(parameters - step, inputs)
        columns.append(difference / max(float(np.linalg.norm(difference)), 1e-300))
    return float(np.linalg.cond(np.stack(columns, axis=1)))


def describe(
    solution: Solution,
    parameters: Sequence[Parameter],
    residuals: FloatArray,
    inputs: Inputs,
    fitted: int,
    bootstraps: int,
) -> tuple[str, ...]:
    """What a reader must know of the fit, in sentences."""
    said = [
        f"{one.name} is not determined by these runs: {one.reason}"
        for one in parameters
        if not (one.is_identified or one.together_with)
    ]
    if solution.starts > 3 and solution.agreeing_starts == 1:
        said.append(f"one of {solution.starts} starts found this fit: there may be a better one")
    if fitted < 0.9 * bootstraps:
        said.append(f"{fitted} of {bootstraps} resamples could be fitted")
    said += _residual_words(residuals, inputs)
    return tuple(said)


def _residual_words(residuals: FloatArray, inputs: Inputs) -> list[str]:
    said = []
    centred = np.abs(residuals - np.median(residuals))
    if centred.max() < _EXACT:
        return []
    # Of a normal distribution with that median.
    spread = max(1.4826 * float(np.median(centred)), _EXACT)
    far = int((centred > _OUTLIER_SPREADS * spread).sum())
    if far and len(residuals) >= _FEW_FOR_TREND:
        said.append(f"{far} of {len(residuals)} runs lie far from the law")
    if len(residuals) >= _FEW_FOR_TREND:
        for name, values in inputs.items():
            ratio, least = _von_neumann(residuals[np.argsort(values, kind="stable")])
            if ratio < least:
                said.append(
                    f"runs with neighbouring {name} lie on the same side of the law (von Neumann's "
                    f"ratio {ratio:.2f}, 2 for independent runs): its form does not follow them"
                )
    return said


def _von_neumann(residuals: FloatArray) -> tuple[float, float]:
    """Mean square of successive differences over the mean square, and the value below which
    independent residuals come in one of 200 cases (normal approximation; von Neumann 1941)."""
    number = len(residuals)
    total = max(float((residuals**2).sum()), 1e-300)
    ratio = float((np.diff(residuals) ** 2).sum()) / total * number / (number - 1)
    return ratio, 2 - 2.576 * 2 * float(np.sqrt((number - 2) / (number**2 - 1)))
