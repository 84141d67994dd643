"""The run that would tell most about a prediction: a linearised design (c-optimal; Fedorov 1972).

Near the fit the logarithm of the loss is linear in the parameters. Runs that scatter by the fit's
residuals then give the parameters' covariance, and one more run shrinks the variance of the
prediction by an amount that does not depend on what it will measure.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from megatron_codemix.scaling.analysis import FittedLaw
from megatron_codemix.scaling.law import OUTCOMES, FloatArray, Inputs

COMPUTE_STEPS = (1.0, 4.0, 16.0)
"""Of the most expensive run so far: what the next one may cost."""
_LARGER = (2.0, 4.0, 8.0)
"""Sizes and tokens beyond the largest ones, in multiples of them."""
_PRIOR_SPREAD = 10.0
"""Of each parameter in multiples of its value: hardly anything is known without runs, but a
direction that no run has seen must not make the variance infinite."""
_RATIO_SLACK = 2.0
"""Tokens for each parameter of a candidate: at most so far beyond those of the runs and of the
target. A law is not to be believed elsewhere, though a design would like it."""
_STEP = 1e-4
FLOPS_PER_PARAMETER_AND_TOKEN = 6.0


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """The best run that costs at most so much."""

    compute_flops: float
    """6 N D of this run."""
    times_largest: float
    """Its cost, in multiples of the most expensive run so far."""
    inputs: dict[str, float]
    spread_before: float
    """Standard deviation of the prediction at the target, as a part of it."""
    spread_after: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def next_runs(fitted: FittedLaw, inputs: Inputs, at: Inputs) -> list[NextRun]:
    """The most informative run about the prediction at `at` (one row) for each of `COMPUTE_STEPS`,
    without those that a cheaper one equals; [] for laws without size and tokens, or where the
    scatter of the runs is not known.

    inputs: of the runs that the law was fitted to.
    """
    spread = fitted.residual_spread
    if not {"parameters", "tokens"} <= set(inputs) or not np.isfinite(spread) or spread <= 0:
        return []
    candidates = _candidates(inputs, at)
    of_runs, of_candidates, of_target = (
        _sensitivities(fitted, rows) for rows in (inputs, candidates, at)
    )
    information = of_runs.T @ of_runs / spread**2
    information += np.eye(information.shape[0]) / _PRIOR_SPREAD**2
    covariance = np.linalg.inv(information)
    target = of_target[0]
    before = float(target @ covariance @ target)
    shared = of_candidates @ covariance @ target
    own = np.einsum("ck,kl,cl->c", of_candidates, covariance, of_candidates)
    after = before - shared**2 / (spread**2 + own)
    compute, largest = _compute(candidates), float(_compute(inputs).max())
    found: list[NextRun] = []
    for step in COMPUTE_STEPS:
        allowed = np.flatnonzero(compute <= step * largest * (1 + 1e-9))
        best = int(allowed[np.argmin(after[allowed])])
        if found and after[best] >= 0.99 * found[-1].spread_after ** 2:
            continue
        found.append(
            NextRun(
                compute_flops=float(compute[best]),
                times_largest=float(compute[best]) / largest,
                inputs={name: float(values[best]) for name, values in candidates.items()},
                spread_before=float(np.sqrt(before)),
                spread_after=float(np.sqrt(max(0.0, after[best]))),
            )
        )
    return found


def _compute(inputs: Inputs) -> FloatArray:
    flops: FloatArray = FLOPS_PER_PARAMETER_AND_TOKEN * inputs["parameters"] * inputs["tokens"]
    return flops


def _candidates(inputs: Inputs, at: Inputs) -> dict[str, FloatArray]:
    """Every size with every number of tokens, the runs' own and larger ones, with each of the runs'
    combinations of all else that can be chosen; in ratios of tokens to size that are known."""
    own = ("parameters", "tokens", "unique_tokens", *OUTCOMES)
    others = [name for name in inputs if name not in own]
    rest = np.unique(np.column_stack([inputs[name] for name in others]), axis=0) if others else None
    sizes, tokens = (_levels(inputs[name]) for name in ("parameters", "tokens"))
    places = np.meshgrid(
        np.arange(len(sizes)),
        np.arange(len(tokens)),
        np.arange(1 if rest is None else len(rest)),
    )
    of_size, of_tokens, of_rest = (grid.ravel() for grid in places)
    columns = {"parameters": sizes[of_size], "tokens": tokens[of_tokens]}
    if "unique_tokens" in inputs:
        columns["unique_tokens"] = columns["tokens"]
    if rest is not None:
        columns |= {name: rest[of_rest, number] for number, name in enumerate(others)}
    known = np.append(inputs["tokens"] / inputs["parameters"], at["tokens"] / at["parameters"])
    ratio = columns["tokens"] / columns["parameters"]
    is_near = (ratio >= known.min() / _RATIO_SLACK) & (ratio <= known.max() * _RATIO_SLACK)
    return {name: columns[name][is_near] for name in inputs if name in columns}


def _levels(values: FloatArray) -> FloatArray:
    """The values that differ by more than a tenth, and larger ones."""
    levels: list[float] = []
    for value in np.unique(values):
        if not levels or value > 1.1 * levels[-1]:
            levels.append(float(value))
    return np.array([*levels, *(times * levels[-1] for times in _LARGER)])


def _sensitivities(fitted: FittedLaw, inputs: Mapping[str, FloatArray]) -> FloatArray:
    """Derivatives of the logarithm of the law by relative changes of the parameters [rows, K]."""
    values = fitted.values
    columns = []
    for number, value in enumerate(values):
        step = np.zeros(len(values))
        step[number] = _STEP * max(abs(float(value)), 1e-12)
        up, down = (fitted.law.predict(values + sign * step, inputs) for sign in (1, -1))
        columns.append(np.log(up / down) / (2 * _STEP))
    return np.stack(columns, axis=1)
