"""The envelope of training curves: which size has the lowest loss at each compute."""

import numpy as np

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.law import FloatArray, Inputs, Solution
from megatron_codemix.scaling.laws.optimum import power_line
from megatron_codemix.scaling.points import require_points

_POINTS = 1500
"""Of compute, evenly in the logarithm, as in the source."""
_FEWEST_SIZES = 2


class Envelope:
    """Approach 1: over a grid of compute the size whose curve (runs of one size, log loss against
    log compute, straight between them) is lowest, then power laws N = G (C/6)^a through these sizes
    and L = K (C/6)^-gamma through these losses.

    The smallest and the largest size win where no other one is there to beat them, so the first
    power law leaves them out. The loss that is predicted is that of the best size at the compute.
    """

    name = "envelope"
    title = "Envelope of training curves: L = K (C/6)^-gamma at the best size N = G (C/6)^a"
    source = "Hoffmann et al. 2022, arXiv 2203.15556, section 3.1"
    inputs = ("parameters", "tokens")
    target = "loss_nats"
    parameter_names = ("G", "a", "K", "gamma")

    def fit(self, inputs: Inputs, target: FloatArray) -> Solution:
        """Raises FitError unless at least two sizes between the smallest and the largest win."""
        require_points(self, inputs, target, vary=("parameters", "tokens"))
        compute, sizes, losses = lowest_curve(inputs, target)
        is_inner = (sizes > inputs["parameters"].min()) & (sizes < inputs["parameters"].max())
        winners = len(np.unique(sizes[is_inner]))
        if winners < _FEWEST_SIZES:
            raise FitError(
                f"law {self.name} needs {_FEWEST_SIZES} sizes, besides the smallest and the "
                f"largest, which have the lowest loss at some compute; {winners} have. Give runs "
                "of more sizes, each with several numbers of tokens"
            )
        factor, a = power_line(compute[is_inner] / 6, sizes[is_inner])
        k, gamma = power_line(compute / 6, losses)
        parameters = np.array([factor, a, k, -gamma])
        error = np.log(k * (compute / 6) ** gamma / losses)
        return Solution(
            parameters=parameters,
            objective=float((error**2).mean() / 2),
            starts=1,
            agreeing_starts=1,
            at_bounds=(),
        )

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """The lowest loss at each row's compute."""
        _, _, k, gamma = parameters
        loss: FloatArray = k * (inputs["parameters"] * inputs["tokens"]) ** -gamma
        return loss


def lowest_curve(inputs: Inputs, target: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute (FLOPs), the size whose curve is lowest there, and its loss, wherever at least two
    curves are; empty where there is no such place."""
    log_compute = np.log(6 * inputs["parameters"] * inputs["tokens"])
    grid = np.linspace(log_compute.min(), log_compute.max(), _POINTS)
    sizes = np.unique(inputs["parameters"])
    curves = np.full((len(sizes), _POINTS), np.inf)
    for curve, size in zip(curves, sizes, strict=True):
        rows = np.flatnonzero(inputs["parameters"] == size)
        places, index = np.unique(log_compute[rows], return_inverse=True)
        # Runs at one place, such as seeds, count by their mean.
        heights = np.bincount(index, np.log(target[rows])) / np.bincount(index)
        curve[:] = np.interp(grid, places, heights, left=np.inf, right=np.inf)
    is_there = np.isfinite(curves).sum(axis=0) >= _FEWEST_SIZES
    curves, grid = curves[:, is_there], grid[is_there]
    best = curves.argmin(axis=0)
    return np.exp(grid), sizes[best], np.exp(curves[best, np.arange(len(grid))])
