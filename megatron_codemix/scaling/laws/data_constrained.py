"""Loss when tokens are repeated: what the epochs after the first, and parameters beyond what the
unique tokens deserve, are worth."""

from typing import NamedTuple

import numpy as np

from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.minimise import HUBER_DELTA, Box
from megatron_codemix.scaling.searched import Problem, SearchedLaw

MUENNIGHOFF_2023 = np.array(
    [
        np.exp(0.6254804),
        np.exp(6.255414),
        np.exp(7.3049974),
        0.3526596,
        0.3526596,
        15.387756,
        5.309743,
    ]
)
"""E, A, B, alpha, beta, R_D, R_N of arXiv 2305.16264, with the digits of its code."""

_HALVINGS = (1.0, 5.0, 25.0)
"""Starts of R_D and R_N, in epochs."""
_HALVING_EDGES = (0.05, 1e4)
_ROUNDS, _POINTS = 12, 101


class Allocation(NamedTuple):
    """The best use of a compute budget with so many unique tokens."""

    parameters: float
    tokens: float
    epochs: float
    loss: float


class DataConstrained(SearchedLaw):
    """L = E + A / N'^alpha + B / D'^beta with N' and D' what size and tokens are worth:

    D' = U_D (1 + R_D (1 - exp(-r / R_D))) for r = D / U_D - 1 repetitions of U_D unique tokens, and
    N' likewise from U_N, the size that is compute-optimal for U_D tokens (or N, if smaller), and
    R_N. Huber loss of the log loss.
    """

    name = "data-constrained"
    title = "Data-constrained law: L = E + A / N'^alpha + B / D'^beta"
    source = "Muennighoff et al. 2023, arXiv 2305.16264, eq. 5, 6 and 10"
    inputs = ("parameters", "tokens", "unique_tokens")
    target = "loss_nats"
    parameter_names = ("E", "A", "B", "alpha", "beta", "R_D", "R_N")
    vary = ("parameters", "tokens")

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Loss for each row, in the unit of the losses that were fitted."""
        e, a, b, alpha, beta = parameters[:5]
        size, data = (np.exp(worth) for worth in effective_logs(parameters, inputs)[:2])
        loss: FloatArray = e + a * size**-alpha + b * data**-beta
        return loss

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches as `Chinchilla` does, and the logarithms of R_D and R_N. Its own problem at
        these runs, as if nothing were repeated, gives the centre and the starts."""
        base = Chinchilla().problem(inputs, target)
        log_loss = np.log(target)
        x, y = (np.log(inputs[name]).mean() for name in ("parameters", "tokens"))

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            parameters = natural(search)
            e, a, b, alpha, beta = parameters[:, :5].T[..., None]
            size, data, by = effective_logs(parameters[..., None], inputs)
            size_term, data_term = a * np.exp(-alpha * size), b * np.exp(-beta * data)
            loss = e + size_term + data_term
            through_size, through_data = -size_term * alpha, -data_term * beta
            columns = [
                np.ones_like(loss),
                size_term + through_size * by["ln_A"],
                data_term + through_size * by["ln_B"],
                # What is searched is ln A - alpha x: alpha moves ln A as well.
                size_term * (x - size) + through_size * (by["alpha"] + by["ln_A"] * x),
                data_term * (y - data) + through_size * (by["beta"] + by["ln_B"] * y),
                through_data * by["ln_R_D"],
                through_size * by["ln_R_N"],
            ]
            return np.log(loss) - log_loss, np.stack(columns, axis=-1) / loss[..., None]

        def natural(search: FloatArray) -> FloatArray:
            return np.concatenate([base.natural(search[..., :5]), np.exp(search[..., 5:])], axis=-1)

        def searched(parameters: FloatArray) -> FloatArray:
            halvings = np.log(parameters[..., 5:])
            return np.concatenate([base.searched(parameters[..., :5]), halvings], axis=-1)

        low, high = (np.full(2, np.log(edge)) for edge in _HALVING_EDGES)
        halvings = np.log(np.array([(d, n) for d in _HALVINGS for n in _HALVINGS]))
        few = base.starts[:: max(1, len(base.starts) // 6)]
        starts = np.hstack([np.repeat(few, len(halvings), 0), np.tile(halvings, (len(few), 1))])
        return Problem(
            residuals=residuals,
            starts=starts,
            box=Box(np.append(base.box.low, low), np.append(base.box.high, high)),
            natural=natural,
            searched=searched,
            delta=HUBER_DELTA,
        )


def effective_logs(
    parameters: FloatArray, inputs: Inputs
) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
    """ln N', ln D', and the derivatives of ln N' by ln A, ln B, alpha, beta and ln R_N and of ln D'
    by ln R_D.

    parameters: [7] for rows [N], or [P, 7, 1] for [P, N].
    """
    axis = 0 if parameters.ndim == 1 else 1
    _, a, b, alpha, beta, worth_data, worth_size = np.moveaxis(parameters, axis, 0)
    size, tokens = np.log(inputs["parameters"]), np.log(inputs["tokens"])
    unique = np.minimum(np.log(inputs["unique_tokens"]), tokens)
    # ln of the size that is compute-optimal for the unique tokens: N = G (G U)^(beta / alpha).
    total, ratio = alpha + beta, beta / alpha
    scale = (np.log(alpha * a) - np.log(beta * b)) / total
    deserved = scale + ratio * (scale + unique)
    base = np.minimum(size, deserved)
    data_gain, by_worth_data, _ = _gain(tokens - unique, worth_data)
    size_gain, by_worth_size, by_excess = _gain(size - base, worth_size)
    # ln N' = base + gain(size - base): it moves with the base where that is not the size itself.
    through = np.where(size > deserved, 1 - by_excess, 0.0) * (1 + ratio)
    other = np.where(size > deserved, 1 - by_excess, 0.0) * (scale + unique)
    derivatives = {
        "ln_A": through / total,
        "ln_B": -through / total,
        "alpha": through * (1 / alpha - scale) / total - other * ratio / alpha,
        "beta": through * (-1 / beta - scale) / total + other / alpha,
        "ln_R_N": by_worth_size,
        "ln_R_D": by_worth_data,
    }
    return base + size_gain, unique + data_gain, derivatives


def _gain(excess: FloatArray, worth: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ln(1 + R (1 - exp(-r / R))) for r = exp(excess) - 1, and its derivatives by ln R and by the
    excess."""
    repetitions = np.expm1(excess)
    fall = np.exp(-repetitions / worth)
    gained = 1 + worth * -np.expm1(-repetitions / worth)
    by_worth = (gained - 1 - repetitions * fall) / gained
    return np.log(gained), by_worth, fall * (repetitions + 1) / gained


def optimal_allocation(
    parameters: FloatArray, compute_flops: float, unique_tokens: float
) -> Allocation:
    """Size and tokens with the lowest loss for 6 N D FLOPs and so many unique tokens, by a grid
    over ln N that closes in on the least loss (the loss has one minimum in ln N)."""
    law = DataConstrained()
    low, high = np.log(1e3), np.log(compute_flops / 6 / 1e3)
    for _ in range(_ROUNDS):
        sizes = np.linspace(low, high, _POINTS)
        tokens = compute_flops / 6 / np.exp(sizes)
        losses = law.predict(
            parameters,
            {
                "parameters": np.exp(sizes),
                "tokens": tokens,
                "unique_tokens": np.full(_POINTS, unique_tokens),
            },
        )
        best = int(losses.argmin())
        low, high = sizes[max(0, best - 1)], sizes[min(_POINTS - 1, best + 1)]
    used = float(tokens[best])
    return Allocation(
        parameters=float(np.exp(sizes[best])),
        tokens=used,
        epochs=used / min(unique_tokens, used),
        loss=float(losses[best]),
    )
