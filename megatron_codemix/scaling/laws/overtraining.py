"""Loss of models trained on more tokens than compute-optimal ones, from few cheap runs:
L = E + (a M^eta + b M^-eta) C^-eta with M = D / N and C = 6 N D."""

import numpy as np

from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.minimise import Box
from megatron_codemix.scaling.searched import Problem, SearchedLaw, linear_part

_EXPONENTS = np.geomspace(0.02, 1.0, 24)
_EXPONENT_EDGES = (1e-3, 2.0)
_SMALLEST_SHARE = 1e-6
"""Of the smallest loss: a term below it has no effect."""


class OverTraining(SearchedLaw):
    """Least squares of the loss. One exponent serves size and data, so that four cheap runs at one
    ratio of tokens to parameters and a fifth at another are enough."""

    name = "overtraining"
    title = "Over-training law: L = E + (a M^eta + b M^-eta) C^-eta, M = D / N, C = 6 N D"
    source = "Gadre et al. 2024, arXiv 2403.08540, eq. 4"
    inputs = ("parameters", "tokens")
    target = "loss_nats"
    parameter_names = ("E", "a", "b", "eta")
    vary = ("parameters", "tokens")

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Loss for each row, in the unit of the losses that were fitted."""
        e, a, b, eta = parameters
        ratio = inputs["tokens"] / inputs["parameters"]
        compute = 6 * inputs["parameters"] * inputs["tokens"]
        loss: FloatArray = e + (a * ratio**eta + b * ratio**-eta) * compute**-eta
        return loss

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches E, the logarithms of both terms at the runs' mean, and eta. M / C is 1 / (6 N^2)
        and 1 / (M C) is 1 / (6 D^2), so that the terms are powers of size and of data."""
        sizes = np.log(6) + 2 * np.log(inputs["parameters"])
        tokens = np.log(6) + 2 * np.log(inputs["tokens"])
        centre = np.array([sizes.mean(), tokens.mean()])
        x, y = sizes - centre[0], tokens - centre[1]

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            e, a, b, eta = search.T[..., None]
            size_term, data_term = np.exp(a - eta * x), np.exp(b - eta * y)
            columns = [
                np.ones_like(size_term), size_term, data_term, -size_term * x - data_term * y
            ]  # fmt: skip
            return e + size_term + data_term - target, np.stack(columns, axis=-1)

        def natural(search: FloatArray) -> FloatArray:
            found = search.copy()
            found[..., 1:3] = np.exp(search[..., 1:3] + search[..., 3:] * centre)
            return found

        def searched(parameters: FloatArray) -> FloatArray:
            search = parameters.copy()
            search[..., 1:3] = np.log(parameters[..., 1:3]) - parameters[..., 3:] * centre
            return search

        size_term, data_term = (np.exp(-_EXPONENTS[:, None] * values) for values in (x, y))
        columns = np.stack([np.ones_like(size_term), size_term, data_term], axis=-1)
        linear = linear_part(columns, target, np.full(3, 0.01 * target.min()))
        starts = np.column_stack([linear[:, 0], np.log(linear[:, 1:]), _EXPONENTS])
        least, most = np.log(_SMALLEST_SHARE * target.min()), np.log(100 * target.max())
        low, high = _EXPONENT_EDGES
        return Problem(
            residuals=residuals,
            starts=starts,
            box=Box(np.array([0, least, least, low]), np.array([target.max(), most, most, high])),
            natural=natural,
            searched=searched,
        )
