"""Least squares and Huber fits from many starts at once, on many resamples at once.

All problems of a batch take their steps together, in numpy: two hundred resamples of a law with
five parameters cost about as much as one fit by a general optimiser. Shapes: P problems (starts or
resamples), N rows, K parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.law import FloatArray, Solution

Residuals = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Parameters [P, K] -> residuals [P, N] and their derivatives [P, N, K]."""

HUBER_DELTA = 1e-3
"""Of residuals in log loss: Hoffmann et al. 2022 (arXiv 2203.15556), appendix D.3."""

_MAX_ITERATIONS = 300
_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-12, 1e12
_GRADIENT_TOLERANCE = 1e-5
"""Of the cosine between the residuals and a column of their derivatives, 0 at a minimum."""
_AGREEMENT = 1e-3
_PROBE, _MOST_BEND = 0.1, 0.75


@dataclass(frozen=True)
class Box:
    """The least and largest value of every parameter."""

    low: FloatArray
    high: FloatArray

    def clip(self, parameters: FloatArray) -> FloatArray:
        return np.clip(parameters, self.low, self.high)

    def edges(self, parameters: FloatArray) -> NDArray[np.bool_]:
        """Which parameters lie on an edge."""
        near = 1e-6 * (self.high - self.low)
        return (parameters <= self.low + near) | (parameters >= self.high - near)


@dataclass(frozen=True)
class Minima:
    """Where each problem of a batch ended."""

    parameters: FloatArray  # [P, K]
    objectives: FloatArray  # [P]
    converged: NDArray[np.bool_]  # [P]


def best_of_starts(
    residuals: Residuals,
    starts: FloatArray,
    box: Box,
    names: Sequence[str],
    *,
    delta: float = np.inf,
    what: str,
) -> Solution:
    """The lowest minimum that the starts [P, K] lead to.

    delta: residuals above it count linearly (Huber); infinite: least squares.
    what: the law, for the message. Raises FitError where no start converges.
    """
    minima = minimise(residuals, starts, box, delta=delta)
    objectives = np.where(minima.converged, minima.objectives, np.inf)
    best = int(np.argmin(objectives))
    if not np.isfinite(objectives[best]):
        raise FitError(
            f"{what}: none of {len(starts)} starts converged; look at the runs' losses for a unit "
            "or a run that does not belong, or use a law with fewer parameters"
        )
    lowest = float(objectives[best])
    # Beside zero, a fit without residuals, two ends differ by rounding alone.
    agreeing = objectives <= lowest * (1 + _AGREEMENT) + 1e-18
    edges = box.edges(minima.parameters[best])
    values, _ = residuals(minima.parameters[best : best + 1])
    return Solution(
        parameters=minima.parameters[best],
        objective=lowest,
        starts=len(starts),
        agreeing_starts=int(agreeing.sum()),
        at_bounds=tuple(name for name, on in zip(names, edges, strict=True) if on),
        is_least_squares=bool((np.abs(values) <= delta).mean() > 0.5),
    )


def minimise(
    residuals: Residuals,
    starts: FloatArray,
    box: Box,
    *,
    weights: FloatArray | None = None,
    delta: float = np.inf,
) -> Minima:
    """Minimises the sum over rows of weight x Huber(residual) for each start [P, K] by itself.

    weights: [P, N] or None for ones.

    Levenberg's and Marquardt's method with two curvatures of Huber's loss: the true one, which is
    zero for rows beyond delta and converges fast but only nearby, and that of the parabola which
    touches the loss from above (iterated reweighting), which always leads down. The damping mixes
    them.
    """
    problems = _Problems(residuals, box, weights, delta, box.clip(starts))
    for _ in range(_MAX_ITERATIONS):
        if problems.is_done.all():
            break
        problems.step()
    return problems.minima()


class _Problems:
    """A batch under way: where each problem stands, and how much its next step is damped."""

    def __init__(
        self,
        residuals: Residuals,
        box: Box,
        weights: FloatArray | None,
        delta: float,
        parameters: FloatArray,
    ) -> None:
        self.residuals, self.box, self.delta = residuals, box, delta
        self.parameters = parameters
        self.values, self.jacobians = residuals(parameters)
        self.weights = np.ones_like(self.values) if weights is None else weights
        self.objectives = self._objective(self.values)
        self.damping = np.full(len(parameters), 1e-2)
        self.is_done = ~np.isfinite(self.objectives)

    def _objective(
        self, values: FloatArray, rows: slice | NDArray[np.intp] = slice(None)
    ) -> FloatArray:
        size = np.abs(values)
        inside = np.minimum(size, self.delta)
        # inside^2 / 2 + delta (size - inside), where an infinite delta must not meet a zero.
        beyond = 0.0 if np.isinf(self.delta) else self.delta * (size - inside)
        total: FloatArray = (self.weights[rows] * (inside**2 / 2 + beyond)).sum(axis=1)
        return total

    def step(self) -> None:
        """One step of every problem that is not done."""
        rows = np.flatnonzero(~self.is_done)
        gradient, curvature, scale = self._system(rows)
        damping = self.damping[rows, None, None]
        matrix = curvature + damping * scale
        np.einsum("pkk->pk", matrix)[:] += damping[:, 0] * np.einsum("pkk->pk", scale)
        move, inverse = self._move(rows, matrix, gradient)
        move = move + self._bend(rows, move, inverse)
        there = self.box.clip(self.parameters[rows] + move)
        with np.errstate(all="ignore"):  # a step too far may overflow; it is then refused
            values, jacobians = self.residuals(there)
            objectives = self._objective(values, rows)
        is_finite = np.isfinite(objectives) & np.isfinite(jacobians).all(axis=(1, 2))
        better = is_finite & (objectives < self.objectives[rows])
        gain = self.objectives[rows] - np.where(better, objectives, self.objectives[rows])
        small = better & (gain <= 1e-14 * self.objectives[rows])
        taken = rows[better]
        self.parameters[taken] = there[better]
        self.values[taken] = values[better]
        self.jacobians[taken] = jacobians[better]
        self.objectives[taken] = objectives[better]
        self.damping[rows] *= np.where(better, 0.3, 3.0)
        self.damping[rows] = np.maximum(self.damping[rows], _SMALLEST_DAMPING)
        self.is_done[rows] = small | (self.damping[rows] > _LARGEST_DAMPING)

    def _move(
        self, rows: NDArray[np.intp], matrix: FloatArray, gradient: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Newton's step [P, K] inside the box, and the inverse of what was solved: parameters that
        would leave the box go to its edge, and the others take the step that is best then."""
        parameters = self.parameters[rows]
        fixed = np.zeros(parameters.shape, dtype=bool)
        to_edge = np.zeros_like(parameters)
        while True:
            is_free = ~(fixed[:, :, None] | fixed[:, None, :])
            solved = np.linalg.inv(_regular(np.where(is_free, matrix, 0.0)))
            inverse: FloatArray = np.where(is_free, solved, 0.0).astype(np.float64, copy=False)
            force = -gradient - (matrix @ to_edge[..., None])[..., 0]
            move = np.where(fixed, to_edge, (inverse @ force[..., None])[..., 0])
            there = self.box.clip(parameters + move)
            beyond = (there != parameters + move) & ~fixed
            if not beyond.any():
                return move, inverse
            fixed |= beyond
            to_edge = np.where(fixed, there - parameters, 0.0)

    def _bend(self, rows: NDArray[np.intp], move: FloatArray, inverse: FloatArray) -> FloatArray:
        """What follows a curved valley: half the acceleration of the path whose velocity is `move`,
        as far as it is no larger than that (Transtrum and Sethna 2012, arXiv 1201.5885)."""
        velocity = np.einsum("pnk,pk->pn", self.jacobians[rows], move)
        with np.errstate(all="ignore"):
            ahead, _ = self.residuals(self.box.clip(self.parameters[rows] + _PROBE * move))
            second = 2 / _PROBE * ((ahead - self.values[rows]) / _PROBE - velocity)
        above, true = self._curvatures(rows)
        weights = true + self.damping[rows, None] * above
        force = np.einsum("pn,pnk->pk", weights * second, self.jacobians[rows])
        bend = -(inverse @ force[..., None])[..., 0] / 2
        size = np.einsum("pkk->pk", self.jacobians[rows].swapaxes(1, 2) @ self.jacobians[rows])
        length, bent = ((size * part**2).sum(axis=1) for part in (move, bend))
        return np.where((bent <= _MOST_BEND**2 * length)[:, None], bend, 0.0)

    def _curvatures(self, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Weights of the rows: of the parabola that touches the loss from above, and the true."""
        size = np.maximum(np.abs(self.values[rows]), 1e-300)
        above = self.weights[rows] * np.minimum(1.0, self.delta / size)
        return above, self.weights[rows] * (size <= self.delta)

    def _system(self, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Gradient [P, K] and both curvatures [P, K, K], without the parameters that an edge
        holds."""
        values, jacobians = self.values[rows], self.jacobians[rows]
        above, true = self._curvatures(rows)
        gradient = np.einsum("pn,pnk->pk", above * values, jacobians)
        parameters = self.parameters[rows]
        near = 1e-9 * (self.box.high - self.box.low)
        held = ((parameters <= self.box.low + near) & (gradient > 0)) | (
            (parameters >= self.box.high - near) & (gradient < 0)
        )
        gradient = np.where(held, 0.0, gradient)
        jacobians = np.where(held[:, None, :], 0.0, jacobians)
        return gradient, _gram(jacobians, true), _gram(jacobians, above)

    def minima(self) -> Minima:
        """Converged where the residuals are at right angles to their derivatives, or are gone."""
        rows = np.flatnonzero(np.isfinite(self.objectives))
        converged = np.zeros(len(self.parameters), dtype=bool)
        gradient, _, scale = self._system(rows)
        length = np.sqrt(np.einsum("pkk->pk", scale) * 2 * self.objectives[rows, None])
        is_flat = (np.abs(gradient) <= _GRADIENT_TOLERANCE * length).all(axis=1)
        total = self.weights[rows].sum(axis=1)
        converged[rows] = is_flat | (self.objectives[rows] <= 1e-20 * total)
        return Minima(self.parameters, self.objectives, converged)


def _gram(jacobians: FloatArray, weights: FloatArray) -> FloatArray:
    """J' W J for each problem: [P, N, K], [P, N] -> [P, K, K]."""
    return (jacobians * weights[..., None]).swapaxes(1, 2) @ jacobians


def _regular(matrices: FloatArray) -> FloatArray:
    """The matrices, with ones on the diagonal where a row is empty (a parameter that is held)."""
    diagonal = np.einsum("pkk->pk", matrices)
    matrices = matrices.copy()
    np.einsum("pkk->pk", matrices)[:] = np.where(diagonal > 1e-290, diagonal, 1.0)
    return matrices
