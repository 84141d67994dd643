"""Constants of the time model from measured steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import Cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time.constants import AT_MOST_ONE, Constants, spreads
from megatron_codemix.planner.time.estimate import estimate_time

STEP_SPREAD = 0.03
"""How far a measured step may be from the truth of the model: standard deviation of the
logarithm."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How long a step of `job` took."""

    job: Job
    cluster: Cluster
    step_seconds: float
    weight: float = 1.0
    """As of so many measurements."""


def fit_constants(measurements: Sequence[Measurement], start: Constants) -> Constants:
    """The most probable constants: log-normal around `start` with the spreads of the table, and
    steps log-normal around the model's. What the measurements do not tell stays as in `start`, so
    one run is enough.

    Raises ConfigError if a measurement is no positive number of seconds, or there is none.
    """
    from scipy.optimize import least_squares  # slow to import

    _check(measurements)
    free = {name: spread for name, spread in spreads().items() if spread > 0}
    names = list(free)

    def constants_at(logs: Sequence[float]) -> Constants:
        changes = {}
        for name, log in zip(names, logs, strict=True):
            value = getattr(start, name) * math.exp(log * free[name])
            changes[name] = min(value, 1.0) if name in AT_MOST_ONE else value
        return start.with_(**changes)

    def residuals(logs: Sequence[float]) -> list[float]:
        constants = constants_at(logs)
        return [*(_residual(item, constants) for item in measurements), *logs]

    solution = least_squares(residuals, [0.0] * len(names), x_scale=1.0, xtol=1e-10, ftol=1e-10)
    return constants_at(solution.x)


def relative_errors(measurements: Sequence[Measurement], constants: Constants) -> list[float]:
    """Predicted over measured speed, less 1."""
    return [
        item.step_seconds / estimate_time(item.job, item.cluster, constants).step_seconds - 1
        for item in measurements
    ]


def changed(start: Constants, fitted: Constants) -> Mapping[str, tuple[float, float]]:
    """Constants that the fit moved: (before, after)."""
    before, after = start.as_dict(), fitted.as_dict()
    return {
        name: (before[name], after[name])
        for name in before
        if not math.isclose(before[name], after[name], rel_tol=1e-3)
    }


def _residual(item: Measurement, constants: Constants) -> float:
    predicted = estimate_time(item.job, item.cluster, constants).step_seconds
    return math.sqrt(item.weight) * math.log(predicted / item.step_seconds) / STEP_SPREAD


def _check(measurements: Sequence[Measurement]) -> None:
    if not measurements:
        raise ConfigError(["no measured step to fit the constants to; give a run that has some"])
    wrong = [item.step_seconds for item in measurements if not 0 < item.step_seconds < math.inf]
    if wrong:
        raise ConfigError([f"a measured step cannot take {wrong[0]} s; leave that run out"])
