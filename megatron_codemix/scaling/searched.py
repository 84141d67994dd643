"""Laws whose parameters are searched for: what they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from megatron_codemix.scaling.law import FloatArray, Inputs, Solution
from megatron_codemix.scaling.minimise import Box, Residuals, best_of_starts, minimise
from megatron_codemix.scaling.points import require_points


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A search: parameters in it are the law's own, one for one, in units that suit the search
    (logarithms, centred on the runs)."""

    residuals: Residuals
    starts: FloatArray
    """[S, K]."""
    box: Box
    natural: Callable[[FloatArray], FloatArray]
    """From the search's parameters [..., K] to the law's."""
    searched: Callable[[FloatArray], FloatArray]
    """And back."""
    delta: float = np.inf
    """Residuals above it count linearly; infinite: least squares."""
    anchors: int = 0
    """Residuals at the end that belong to no run, and are in every resample."""


class SearchedLaw(ABC):
    """A law whose `fit` is the best of many starts, and which can be fitted to many resamples at
    once. A child gives the attributes of `Law`, `problem` and `predict`."""

    name: str
    title: str
    source: str
    inputs: tuple[str, ...]
    target: str
    parameter_names: tuple[str, ...]
    vary: Sequence[str] = ()
    """Quantities that need at least two values."""
    refit_starts: int = 2
    """Of the law's own starts that each resample tries, beside the fit to all rows."""

    @abstractmethod
    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """The search for these rows, which have passed `require_points`."""

    @abstractmethod
    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """The target for each row of `inputs`."""

    def fit(self, inputs: Inputs, target: FloatArray) -> Solution:
        """Raises FitError: too few points, one size only, no convergence."""
        require_points(self, inputs, target, vary=self.vary)
        problem = self.problem(inputs, target)
        found = best_of_starts(
            problem.residuals,
            problem.starts,
            problem.box,
            self.parameter_names,
            delta=problem.delta,
            what=f"law {self.name}",
        )
        return replace(found, parameters=problem.natural(found.parameters))

    def refit(
        self, inputs: Inputs, target: FloatArray, weights: FloatArray, start: FloatArray
    ) -> FloatArray:
        """Parameters [resamples, K] for weights [resamples, rows]; see `Refits`."""
        problem = self.problem(inputs, target)
        # Evenly over the grid of starts, whose neighbours lead to the same place.
        few = (np.arange(self.refit_starts) + 0.5) * len(problem.starts) / self.refit_starts
        starts = np.vstack([problem.searched(start)[None], problem.starts[few.astype(int)]])
        resamples, tries = len(weights), len(starts)
        weights = np.pad(weights, ((0, 0), (0, problem.anchors)), constant_values=1.0)
        minima = minimise(
            problem.residuals,
            np.tile(starts, (resamples, 1)),
            problem.box,
            weights=np.repeat(weights, tries, axis=0),
            delta=problem.delta,
        )
        objectives = np.where(minima.converged, minima.objectives, np.inf)
        objectives = objectives.reshape(resamples, tries)
        best = np.arange(resamples) * tries + objectives.argmin(axis=1)
        found = problem.natural(minima.parameters[best])
        return np.where(np.isfinite(objectives.min(axis=1))[:, None], found, np.nan)


def linear_part(columns: FloatArray, target: FloatArray, least: FloatArray) -> FloatArray:
    """Coefficients [S, J] of the least squares of columns [S, N, J] on a target [N], none below
    `least` [J]: starts for what enters a law linearly."""
    gram = columns.swapaxes(1, 2) @ columns
    scale = np.einsum("sjj->sj", gram)
    ridge = 1e-9 * scale[..., None] * np.eye(columns.shape[-1])
    sides = np.einsum("snj,n->sj", columns, target)
    return np.maximum(np.linalg.solve(gram + ridge, sides[..., None])[..., 0], least)
