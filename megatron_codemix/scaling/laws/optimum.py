"""The best size for a compute budget, from laws that are about nothing else."""

from typing import NamedTuple

import numpy as np

from megatron_codemix.scaling.law import FloatArray


class Optimum(NamedTuple):
    """The best use of a compute budget of 6 N D FLOPs."""

    parameters: float
    tokens: float


def power_optimum(parameters: FloatArray, compute_flops: float) -> Optimum:
    """From a law whose first two parameters are G and a: N = G (C / 6)^a."""
    size = float(parameters[0] * (compute_flops / 6) ** parameters[1])
    return Optimum(size, compute_flops / 6 / size)


def power_line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """(factor, exponent) of y = factor x^exponent, by least squares of the logarithms."""
    exponent, log_factor = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(log_factor)), float(exponent)
