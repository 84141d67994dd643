"""A law fitted to runs, and how much of it the runs determine.

Intervals are from a bootstrap: the law is fitted to resamples of the runs, those of one group (the
checkpoints of a run, say) together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.bootstrap import Rows, draw_fits, interval
from megatron_codemix.scaling.diagnosis import (
    ENOUGH_DRAWS,
    Parameter,
    condition_number,
    describe,
    finite_or_none,
    judge_parameters,
)
from megatron_codemix.scaling.law import FloatArray, Inputs, Law, Solution
from megatron_codemix.scaling.registry import build_law, sources_of

LEVEL = 0.9
EXTRAPOLATION = 10.0
"""So many times beyond what was fitted, or below it, a prediction comes with a warning."""

_SAME_SIZE = 0.99
"""Runs with this share of the largest compute are left out with the largest."""
_SAME_SHARE = 1e-6
_COUNTS = ("parameters", "tokens", "unique_tokens", "compute_flops")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The largest runs, predicted from a fit to all the others."""

    what: str
    """Which runs: "2 runs at 3.2e+20 FLOPs"."""
    measured: float
    """As `predicted` the mean over the runs left out."""
    predicted: float
    relative_error: float
    """Largest |predicted / measured - 1| of the runs left out."""
    runs: int = 1


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The law at some points, with an interval of the law itself; a single run scatters about it
    by `FittedLaw.residual_spread`."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    """NaN where the runs are too few for an interval."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FittedLaw:
    """A law, the parameters that fit best, and what the runs say of them."""

    law: Law
    solution: Solution
    parameters: tuple[Parameter, ...]
    draws: FloatArray
    """Parameters [draws, K] of the bootstrap's fits that converged."""
    bootstraps: int
    level: float
    runs: int
    groups: int
    residuals: FloatArray
    """measured / predicted - 1 of each run, in the order that was given."""
    condition_number: float
    """See `diagnosis.condition_number`."""
    left_out: LeftOut | None
    left_out_missing: str
    """Why there is no `left_out`; else empty."""
    fitted_range: Mapping[str, tuple[float, float]]
    """Least and largest value of each input, and of "compute_flops" (6 N D)."""
    diagnosis: tuple[str, ...]
    """What a reader must know, in sentences."""

    @property
    def values(self) -> FloatArray:
        """The parameters, as `Law.predict` takes them."""
        return self.solution.parameters

    @property
    def is_identified(self) -> bool:
        """Whether the runs determine every parameter, by itself or together with one that is."""
        return all(one.is_identified or one.together_with for one in self.parameters)

    @property
    def residual_spread(self) -> float:
        """Standard deviation of the residuals, for the degrees of freedom that are left; NaN where
        none is."""
        free = self.runs - len(self.parameters)
        return float(np.sqrt((self.residuals**2).sum() / free)) if free > 0 else float("nan")

    def parameter(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def predict(self, inputs: Inputs) -> Prediction:
        """The law at new points, with its interval, and a warning where that is far away."""
        value = self.law.predict(self.values, inputs)
        low = high = np.full(len(value), np.nan)
        if len(self.draws):
            drawn = np.stack([self.law.predict(draw, inputs) for draw in self.draws])
            low, high = self.interval_of(drawn)
        return Prediction(value=value, low=low, high=high, warnings=self.far_away(inputs))

    def interval_of(self, drawn: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Low and high ends [...] of what follows from the draws [draws, ...]."""
        return interval(
            drawn,
            self.level,
            self.groups,
            len(self.parameters),
            is_least_squares=self.solution.is_least_squares,
        )

    def far_away(self, inputs: Inputs) -> tuple[str, ...]:
        """What of the inputs is far from all that was fitted, in words."""
        warnings = []
        for name, values in _ranged(inputs).items():
            if name not in self.fitted_range:
                continue
            low, high = self.fitted_range[name]
            least, most = float(values.min()), float(values.max())
            if name not in _COUNTS:
                if least < low - _SAME_SHARE or most > high + _SAME_SHARE:
                    asked = f"{least:.3g} to {most:.3g}" if most > least else f"{most:.3g}"
                    warnings.append(
                        f"{name} of {asked} goes beyond what was fitted ({low:.3g} to {high:.3g})"
                    )
                continue
            if most > EXTRAPOLATION * high:
                warnings.append(
                    f"{name} of {most:.3g} is {most / high:,.0f} times the largest that was fitted "
                    f"({high:.3g})"
                )
            if least < low / EXTRAPOLATION:
                warnings.append(
                    f"{name} of {least:.3g} is 1/{low / least:.3g} of the smallest that was fitted "
                    f"({low:.3g})"
                )
        return tuple(warnings)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Everything, for a file; `from_dict` reads it."""
        return {
            "law": self.law.name,
            "title": self.law.title,
            "source": self.law.source,
            "inputs": list(self.law.inputs),
            "target": self.law.target,
            "runs": self.runs,
            "groups": self.groups,
            "level": self.level,
            "bootstraps": self.bootstraps,
            "parameters": [parameter.as_dict() for parameter in self.parameters],
            "is_identified": self.is_identified,
            "objective": self.solution.objective,
            "starts": self.solution.starts,
            "agreeing_starts": self.solution.agreeing_starts,
            "at_bounds": list(self.solution.at_bounds),
            "is_least_squares": self.solution.is_least_squares,
            "residual_spread": finite_or_none(self.residual_spread),
            "condition_number": finite_or_none(self.condition_number),
            "left_out": asdict(self.left_out) if self.left_out else None,
            "left_out_missing": self.left_out_missing,
            "fitted_range": {name: list(ends) for name, ends in self.fitted_range.items()},
            "diagnosis": list(self.diagnosis),
            "residuals": self.residuals.tolist(),
            "draws": self.draws.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FittedLaw":  # Any: JSON values
        """Raises ConfigError for a law that there is not."""
        law = build_law(values["law"], sources_of(values["inputs"]))
        parameters = tuple(Parameter.from_dict(one) for one in values["parameters"])
        return cls(
            law=law,
            solution=Solution(
                parameters=np.array([parameter.value for parameter in parameters]),
                objective=values["objective"],
                starts=values["starts"],
                agreeing_starts=values["agreeing_starts"],
                at_bounds=tuple(values["at_bounds"]),
                is_least_squares=values["is_least_squares"],
            ),
            parameters=parameters,
            draws=np.array(values["draws"], dtype=float).reshape(-1, len(parameters)),
            bootstraps=values["bootstraps"],
            level=values["level"],
            runs=values["runs"],
            groups=values["groups"],
            residuals=np.array(values["residuals"], dtype=float),
            condition_number=float(values["condition_number"] or "inf"),
            left_out=LeftOut(**values["left_out"]) if values["left_out"] else None,
            left_out_missing=values["left_out_missing"],
            fitted_range={
                name: (low, high) for name, (low, high) in values["fitted_range"].items()
            },
            diagnosis=tuple(values["diagnosis"]),
        )


def analyse(
    law: Law,
    inputs: Inputs,
    target: FloatArray,
    *,
    groups: Sequence[str] | None = None,
    bootstraps: int = 200,
    seed: int = 0,
    level: float = LEVEL,
) -> FittedLaw:
    """Fits `law` and says how sure it is; the same for any order of the rows.

    groups: a label for each row; rows with the same one are drawn and left out together.
    Raises FitError where the law cannot be fitted.
    """
    rows = Rows.sorted(inputs, target, groups)
    solution = law.fit(rows.inputs, rows.target)
    found = draw_fits(law, rows, solution.parameters, bootstraps, seed)
    draws = found if len(found) >= ENOUGH_DRAWS * bootstraps else found[:0]
    ends = interval(
        draws,
        level,
        rows.num_groups,
        len(law.parameter_names),
        is_least_squares=solution.is_least_squares,
    )
    parameters = judge_parameters(law, solution, draws, ends, len(found), bootstraps, level)
    residuals = rows.target / law.predict(solution.parameters, rows.inputs) - 1
    left_out = _leave_largest_out(law, rows)
    return FittedLaw(
        law=law,
        solution=solution,
        parameters=parameters,
        draws=draws,
        bootstraps=bootstraps,
        level=level,
        runs=len(target),
        groups=rows.num_groups,
        residuals=residuals[rows.place_of_given],
        condition_number=condition_number(law, solution.parameters, rows.inputs),
        left_out=left_out if isinstance(left_out, LeftOut) else None,
        left_out_missing=left_out if isinstance(left_out, str) else "",
        fitted_range={
            name: (float(values.min()), float(values.max()))
            for name, values in _ranged(rows.inputs).items()
        },
        diagnosis=describe(solution, parameters, residuals, rows.inputs, len(found), bootstraps),
    )


def _ranged(inputs: Inputs) -> dict[str, FloatArray]:
    """The inputs, and the compute where it follows from them."""
    ranged = dict(inputs)
    if "parameters" in inputs and "tokens" in inputs:
        ranged["compute_flops"] = 6 * inputs["parameters"] * inputs["tokens"]
    return ranged


def _leave_largest_out(law: Law, rows: Rows) -> LeftOut | str:
    """The error of predicting the largest runs from the others, or why there is none."""
    size, words = _size(rows.inputs)
    largest = np.flatnonzero(size >= _SAME_SIZE * size.max())
    is_kept = ~np.isin(rows.group_of_row, rows.group_of_row[largest])
    kept: NDArray[np.intp] = np.flatnonzero(is_kept)
    try:
        parameters = law.fit(*rows.take(kept)).parameters
    except FitError as error:
        return f"without the largest of {rows.num_groups} runs: {error}"
    inputs, measured = rows.take(largest)
    predicted = law.predict(parameters, inputs)
    number = f"{len(largest)} runs" if len(largest) > 1 else "1 run"
    return LeftOut(
        what=f"{number} {words(largest[-1])}",
        runs=len(largest),
        measured=float(measured.mean()),
        predicted=float(predicted.mean()),
        relative_error=float(np.abs(predicted / measured - 1).max()),
    )


def _size(inputs: Inputs) -> tuple[FloatArray, Callable[[int], str]]:
    """What makes a run large, and words for it: compute, parameters, a low loss, or the first
    quantity that there is."""
    ranged = _ranged(inputs)
    if "compute_flops" in ranged:
        return ranged["compute_flops"], lambda row: f"at {ranged['compute_flops'][row]:.3g} FLOPs"
    if "parameters" in inputs:
        return inputs["parameters"], lambda row: f"of {inputs['parameters'][row]:.3g} parameters"
    name = next((name for name in ("loss_nats", "bits_per_byte") if name in inputs), None)
    if name is not None:
        return 1 / inputs[name], lambda row: f"with {name} of {inputs[name][row]:.4g}"
    first = next(iter(inputs))
    return inputs[first], lambda row: f"with {first} of {inputs[first][row]:.3g}"
