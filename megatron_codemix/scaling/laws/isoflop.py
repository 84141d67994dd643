"""IsoFLOP parabolas: at each of a few compute budgets, the size with the lowest loss."""

import contextlib
from dataclasses import dataclass

import numpy as np

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.law import FloatArray, Inputs, Solution
from megatron_codemix.scaling.laws.optimum import power_line
from megatron_codemix.scaling.points import require_points

SAME_BUDGET = 1.1
"""Runs within this factor of a budget's smallest compute belong to it."""
_FEWEST_SIZES, _FEWEST_BUDGETS = 3, 2


@dataclass(frozen=True)
class Budget:
    """Runs of one compute budget, with the parabola ln L = ln(loss) + curvature ln(N / size)^2."""

    compute_flops: float
    """Geometric mean."""
    size: float
    loss: float
    curvature: float
    problem: str
    """Why it cannot be used, with what follows from the runs NaN; else empty."""


class IsoFlop:
    """Approach 2: a parabola of the log loss in ln N for each budget, then power laws N = G (C/6)^a
    through the sizes at their lowest points and L = K (C/6)^-gamma through the losses there.

    It says which size is best. Its loss has no irreducible part: a budget or two beyond the runs
    that does not matter, far away it is too low.
    """

    name = "isoflop"
    title = "IsoFLOP: ln L = ln(K (C/6)^-gamma) + curvature ln(N / (G (C/6)^a))^2"
    source = "Hoffmann et al. 2022, arXiv 2203.15556, section 3.2"
    inputs = ("parameters", "tokens")
    target = "loss_nats"
    parameter_names = ("G", "a", "K", "gamma", "curvature")

    def fit(self, inputs: Inputs, target: FloatArray) -> Solution:
        """Raises FitError unless two budgets have three sizes and a lowest loss between them."""
        require_points(self, inputs, target, vary=("parameters", "tokens"))
        return self._fit(inputs, target, np.ones_like(target))

    def refit(
        self, inputs: Inputs, target: FloatArray, weights: FloatArray, start: FloatArray
    ) -> FloatArray:
        """See `Refits`; `start` is not needed."""
        found = np.full((len(weights), len(start)), np.nan)
        for number, row in enumerate(weights):
            with contextlib.suppress(FitError):
                found[number] = self._fit(inputs, target, row).parameters
        return found

    def _fit(self, inputs: Inputs, target: FloatArray, weights: FloatArray) -> Solution:
        budgets = find_budgets(inputs, target, weights)
        usable = [budget for budget in budgets if not budget.problem]
        if len(usable) < _FEWEST_BUDGETS:
            found = "; ".join(
                f"{budget.compute_flops:.3g} FLOPs: {budget.problem or 'usable'}"
                for budget in budgets[:6]
            )
            raise FitError(
                f"law {self.name} needs {_FEWEST_BUDGETS} budgets of 6 N D FLOPs with "
                f"{_FEWEST_SIZES} sizes each and the lowest loss between them; there are {found}"
            )
        compute = np.array([budget.compute_flops for budget in usable]) / 6
        factor, a = power_line(compute, np.array([budget.size for budget in usable]))
        k, gamma = power_line(compute, np.array([budget.loss for budget in usable]))
        curvature = float(np.mean([budget.curvature for budget in usable]))
        parameters = np.array([factor, a, k, -gamma, curvature])
        error = np.log(self.predict(parameters, inputs) / target)
        return Solution(
            parameters=parameters,
            objective=float((error**2).sum() / 2),
            starts=1,
            agreeing_starts=1,
            at_bounds=(),
        )

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Loss for each row, in the unit of the losses that were fitted."""
        factor, a, k, gamma, curvature = parameters
        compute = inputs["parameters"] * inputs["tokens"]
        off = np.log(inputs["parameters"]) - np.log(factor) - a * np.log(compute)
        loss: FloatArray = k * compute**-gamma * np.exp(curvature * off**2)
        return loss


def find_budgets(
    inputs: Inputs, target: FloatArray, weights: FloatArray | None = None
) -> list[Budget]:
    """The runs by their compute, smallest first, each with its parabola, for which a run counts by
    its weight."""
    weights = np.ones_like(target) if weights is None else weights
    compute = 6 * inputs["parameters"] * inputs["tokens"]
    rest = np.argsort(compute, kind="stable")
    rest = rest[weights[rest] > 0]
    budgets = []
    while len(rest):
        inside = compute[rest] <= SAME_BUDGET * compute[rest[0]]
        rows, rest = rest[inside], rest[~inside]
        mean = float(np.exp(np.log(compute[rows]).mean()))
        sizes, losses = np.log(inputs["parameters"][rows]), np.log(target[rows])
        budgets.append(_parabola(mean, sizes, losses, weights[rows]))
    return budgets


def _parabola(compute: float, sizes: FloatArray, losses: FloatArray, weights: FloatArray) -> Budget:
    """sizes and losses: logarithms."""
    distinct = len(np.unique(sizes))
    if distinct < _FEWEST_SIZES:
        return _unusable(compute, "1 size" if distinct == 1 else f"{distinct} sizes")
    centre = sizes.mean()
    curvature, slope, level = np.polyfit(sizes - centre, losses, 2, w=np.sqrt(weights))
    lowest = centre - slope / (2 * curvature) if curvature > 0 else np.inf
    if not sizes.min() <= lowest <= sizes.max():
        return _unusable(compute, "the lowest loss is not between its sizes")
    loss = level - slope**2 / (4 * curvature)
    return Budget(compute, float(np.exp(lowest)), float(np.exp(loss)), float(curvature), "")


def _unusable(compute: float, problem: str) -> Budget:
    return Budget(compute, np.nan, np.nan, np.nan, problem)
