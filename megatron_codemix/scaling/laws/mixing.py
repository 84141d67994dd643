"""The data-mixing law: loss on one evaluation against the shares of the sources, at one scale."""

from collections.abc import Sequence

import numpy as np

from megatron_codemix.scaling.best_shares import Objective
from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.chinchilla import log_sum
from megatron_codemix.scaling.minimise import Box
from megatron_codemix.scaling.searched import Problem, SearchedLaw
from megatron_codemix.scaling.shares import (
    require_different_mixtures,
    share_inputs,
    share_matrix,
)

_FLOORS = np.array([1e-3, 0.25, 0.5, 0.7, 0.85, 0.95, 0.99])
"""Where the search for c starts, as parts of the lowest loss."""
_HUBER_DELTA = 0.01
"""Runs further than 1% from the law count with their distance, not its square."""
_LARGEST_EXPONENT = 50.0


class MixingLaw(SearchedLaw):
    """L = c + k exp(sum of t_j r_j), for models of one size and one number of tokens.

    The shares r_j of a mixture sum to one, so adding the same number to all exponents t_j only
    changes k. The last source has no exponent; those of the others are relative to it.
    """

    name = "mixing"
    title = "Data mixing law: L = c + k exp(sum of t_j share_j)"
    source = "Ye et al. 2024, arXiv 2403.16952"
    target = "loss_nats"

    def __init__(self, sources: Sequence[str]) -> None:
        self.inputs = share_inputs(self.name, sources)
        self.sources = tuple(sources)
        self.parameter_names = ("c", "k", *(f"t_{name}" for name in sources[:-1]))

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Loss for each row, in the unit of the losses that were fitted."""
        exponents = share_matrix(self.name, self.sources, inputs)[:, :-1] @ parameters[2:]
        predicted: FloatArray = parameters[0] + parameters[1] * np.exp(exponents)
        return predicted

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches the logarithms of c and of the exponential at the runs' mean mixture.

        Raises FitError where the shares do not vary enough to tell the exponents apart.
        """
        shares = share_matrix(self.name, self.sources, inputs)
        require_different_mixtures(self.name, self.sources, shares)
        centre, log_loss = shares[:, :-1].mean(axis=0), np.log(target)
        x = shares[:, :-1] - centre

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            above = search[:, 1:2] + search[:, 2:] @ x.T
            value, parts = log_sum(np.stack(np.broadcast_arrays(search[:, :1], above)))
            columns = [parts[0], parts[1], *(parts[1] * column for column in x.T)]
            return value - log_loss, np.stack(columns, axis=-1)

        def natural(search: FloatArray) -> FloatArray:
            log_k = search[..., 1] - search[..., 2:] @ centre
            heads = np.exp(np.stack([search[..., 0], log_k], axis=-1))
            return np.concatenate([heads, search[..., 2:]], axis=-1)

        def searched(parameters: FloatArray) -> FloatArray:
            log_k = np.log(parameters[..., 1]) + parameters[..., 2:] @ centre
            heads = np.stack([np.log(parameters[..., 0]), log_k], axis=-1)
            return np.concatenate([heads, parameters[..., 2:]], axis=-1)

        edge = np.full(len(centre), _LARGEST_EXPONENT)
        least, most = np.log(1e-4 * target.min()), np.log(100 * target.max())
        return Problem(
            residuals=residuals,
            starts=_starts(x, target),
            box=Box(
                np.array([least, least, *-edge]),
                np.array([np.log(target.max()), most, *edge]),
            ),
            natural=natural,
            searched=searched,
            delta=_HUBER_DELTA,
        )

    def over_shares(self, parameters: FloatArray, sources: Sequence[str]) -> Objective:
        """The predicted loss as a function of the shares of `sources`, in any order; convex."""
        exponents = dict(zip(self.sources, [*parameters[2:], 0.0], strict=True))
        t = np.array([exponents[name] for name in sources])
        floor, scale = parameters[:2]

        def loss(shares: FloatArray) -> tuple[float, FloatArray]:
            above_floor = scale * np.exp(t @ shares)
            return float(floor + above_floor), above_floor * t

        return loss


def _starts(x: FloatArray, target: FloatArray) -> FloatArray:
    """For each of several c the others, in which ln(L - c) is linear."""
    columns = np.insert(x, 0, 1.0, axis=1)
    floors = _FLOORS * target.min()
    rest, *_ = np.linalg.lstsq(columns, np.log(target[:, None] - floors), rcond=None)
    return np.column_stack([np.log(floors), rest.T])
