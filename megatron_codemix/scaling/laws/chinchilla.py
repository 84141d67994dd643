"""Loss of a model of N parameters after D tokens: L = E + A / N^alpha + B / D^beta."""

import numpy as np

from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.optimum import Optimum
from megatron_codemix.scaling.minimise import HUBER_DELTA, Box
from megatron_codemix.scaling.searched import Problem, SearchedLaw, linear_part

HOFFMANN_2022 = np.array(
    [np.exp(0.5267228), np.exp(6.0073404), np.exp(6.0179186), 0.33917084, 0.2849083]
)
"""E, A, B, alpha, beta of arXiv 2203.15556, with the digits of its TeX source."""

BESIROGLU_2024 = np.array([1.8172, 482.01, 2085.43, 0.3478, 0.3658])
"""The same from the same runs, fitted again (arXiv 2404.10102, table 1)."""

_EXPONENTS = np.array([0.08, 0.15, 0.25, 0.4, 0.65, 1.0])
_EXPONENT_EDGES = (1e-3, 4.0)
_SMALLEST_SHARE = 1e-4
"""Of the smallest loss: a term below it has no effect."""


class Chinchilla(SearchedLaw):
    """Huber loss of the log loss over a grid of starts (approach 3)."""

    name = "chinchilla"
    title = "Chinchilla's parametric law: L = E + A / N^alpha + B / D^beta"
    source = "Hoffmann et al. 2022, arXiv 2203.15556, eq. 2 and appendix D.3"
    inputs = ("parameters", "tokens")
    target = "loss_nats"
    parameter_names = ("E", "A", "B", "alpha", "beta")
    vary = ("parameters", "tokens")

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Loss for each row, in the unit of the losses that were fitted."""
        e, a, b, alpha, beta = parameters
        loss: FloatArray = e + a * inputs["parameters"] ** -alpha + b * inputs["tokens"] ** -beta
        return loss

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches E, the logarithms of both terms at the runs' mean size and tokens (with A and B
        themselves the exponents would move them by many orders), and the exponents."""
        sizes, tokens = np.log(inputs["parameters"]), np.log(inputs["tokens"])
        centre = np.array([sizes.mean(), tokens.mean()])
        x, y, log_loss = sizes - centre[0], tokens - centre[1], np.log(target)

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            e, a, b, alpha, beta = search.T[..., None]
            size_term, data_term = np.exp(a - alpha * x), np.exp(b - beta * y)
            loss = e + size_term + data_term
            columns = [
                np.ones_like(loss), size_term, data_term, -size_term * x, -data_term * y
            ]  # fmt: skip
            return np.log(loss) - log_loss, np.stack(columns, axis=-1) / loss[..., None]

        def natural(search: FloatArray) -> FloatArray:
            found = search.copy()
            found[..., 1:3] = np.exp(search[..., 1:3] + search[..., 3:5] * centre)
            return found

        def searched(parameters: FloatArray) -> FloatArray:
            search = parameters.copy()
            search[..., 1:3] = np.log(parameters[..., 1:3]) - parameters[..., 3:5] * centre
            return search

        least, most = np.log(_SMALLEST_SHARE * target.min()), np.log(100 * target.max())
        low, high = _EXPONENT_EDGES
        return Problem(
            residuals=residuals,
            starts=_starts(x, y, target),
            box=Box(
                np.array([0.0, least, least, low, low]),
                np.array([target.max(), most, most, high, high]),
            ),
            natural=natural,
            searched=searched,
            delta=HUBER_DELTA,
        )


def log_sum(terms: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logarithm of the sum of exp(terms) over the first axis, and each term's share of it."""
    largest = terms.max(axis=0)
    shares = np.exp(terms - largest)
    total = shares.sum(axis=0)
    return np.log(total) + largest, shares / total


def _starts(x: FloatArray, y: FloatArray, target: FloatArray) -> FloatArray:
    """For each pair of exponents on a grid, the E, A and B with the least relative squares."""
    alpha, beta = (grid.ravel() for grid in np.meshgrid(_EXPONENTS, _EXPONENTS))
    size_term, data_term = np.exp(-alpha[:, None] * x), np.exp(-beta[:, None] * y)
    columns = np.stack([np.ones_like(size_term), size_term, data_term], axis=-1) / target[:, None]
    least = np.full(3, 0.01 * target.min())
    linear = linear_part(columns, np.ones_like(target), least)
    return np.column_stack([linear[:, 0], np.log(linear[:, 1:]), alpha, beta])


def compute_optimal(parameters: FloatArray, compute_flops: float) -> Optimum:
    """Size and tokens with the lowest loss for a budget of 6 N D FLOPs: N = G (C / 6)^a with
    a = beta / (alpha + beta) and G = (alpha A / (beta B))^(1 / (alpha + beta)) (eq. 4)."""
    _, a, b, alpha, beta = parameters
    total = alpha + beta
    scale = (alpha * a / (beta * b)) ** (1 / total)
    size = scale * (compute_flops / 6) ** (beta / total)
    return Optimum(float(size), float(compute_flops / 6 / size))
