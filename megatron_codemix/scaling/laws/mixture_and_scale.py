"""A law of size, tokens and mixture together, for the loss on one evaluation, such as code or text.

    L = E + A / (N n)^alpha + B / (D d)^beta,    n = sum of nu_j r_j,    d = sum of tau_j r_j

N parameters, D tokens, r_j the share of source j. Each evaluation has a source of its own (code for
the loss on code), whose nu and tau are 1. Of the others, nu_j says how much of the parameters that
serve source j serves the evaluation too, and tau_j how many tokens of its own source one of theirs
is worth.

Why this form:

- The mixture changes the factors of a scaling law and not its exponents, as if each part of it had
  parameters of its own (Fernandes et al. 2023, arXiv 2302.09650): n.
- A token of another source is worth a part of one's own (effective data transferred, Hernandez et
  al. 2021, arXiv 2102.01293; summed over sources, Longpre et al. 2025, arXiv 2510.22037): d.
- E belongs to the text that is predicted; no mixture that holds its source changes it.
- With r fixed it is Chinchilla's law. A mixture without the source has a finite loss. All mixtures
  together have 5 + 2 (sources - 1) parameters, instead of 5 for each mixture.
- Each term is the exponential of a convex function of (ln N, ln D, r). So the loss is convex in
  them, and so is any weighted sum of losses: the best mixture is the only minimum.
"""

from collections.abc import Sequence

import numpy as np

from megatron_codemix.scaling.best_shares import Objective
from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.chinchilla import log_sum
from megatron_codemix.scaling.minimise import Box
from megatron_codemix.scaling.searched import Problem, SearchedLaw, linear_part
from megatron_codemix.scaling.shares import (
    require_different_mixtures,
    share_inputs,
    share_matrix,
)

_EXPONENTS = (0.15, 0.3, 0.6)
_WORTHS = (0.03, 0.3)
"""Where the search starts, for nu and tau."""
_HUBER_DELTA = 0.01
"""Runs further than 1% from the law count with their distance, not its square."""
_EXPONENT_EDGES = (1e-2, 3.0)
_WORTH_EDGES = (1e-4, 10.0)


class MixtureAndScaleLaw(SearchedLaw):
    """The law for one evaluation, from its own source, which comes first, and all others."""

    name = "mixture-and-scale"
    title = "Mixture and scale: L = E + A / (N n(shares))^alpha + B / (D d(shares))^beta"
    source = "effective parameters of arXiv 2302.09650, effective tokens of arXiv 2102.01293"
    target = "loss_nats"
    vary = ("parameters", "tokens")

    def __init__(self, sources: Sequence[str]) -> None:
        self.inputs = ("parameters", "tokens", *share_inputs(self.name, sources))
        self.sources = tuple(sources)
        worths = [f"{letter}_{name}" for letter in ("nu", "tau") for name in sources[1:]]
        self.parameter_names = ("E", "A", "B", "alpha", "beta", *worths)

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """Loss for each row, in the unit of the losses that were fitted."""
        e, a, b, alpha, beta = parameters[:5]
        nu, tau = self._worths(parameters)
        shares = share_matrix(self.name, self.sources, inputs)
        size_term = a * (inputs["parameters"] * (shares @ nu)) ** -alpha
        data_term = b * (inputs["tokens"] * (shares @ tau)) ** -beta
        predicted: FloatArray = e + size_term + data_term
        return predicted

    def problem(self, inputs: Inputs, target: FloatArray) -> Problem:
        """Searches the logarithms of E, of both terms at the runs' mean size and tokens, and of nu
        and tau.

        Raises FitError where the shares do not sum to one, or do not vary.
        """
        shares = share_matrix(self.name, self.sources, inputs)
        require_different_mixtures(self.name, self.sources, shares)
        sizes, tokens = np.log(inputs["parameters"]), np.log(inputs["tokens"])
        centre = np.array([sizes.mean(), tokens.mean()])
        x, y, log_loss = sizes - centre[0], tokens - centre[1], np.log(target)
        own, others = shares[:, 0], shares[:, 1:]
        count = others.shape[1]

        def effective(log_worths: FloatArray) -> tuple[FloatArray, FloatArray]:
            """Logarithm of n or d [P, N], and its derivatives [P, N, others]."""
            worths = np.exp(log_worths)
            total = own + worths @ others.T
            return np.log(total), worths[:, None] * others / total[..., None]

        def residuals(search: FloatArray) -> tuple[FloatArray, FloatArray]:
            e, a, b, alpha, beta = search[:, :5].T[..., None]
            log_n, by_nu = effective(search[:, 5 : 5 + count])
            log_d, by_tau = effective(search[:, 5 + count :])
            terms = np.broadcast_arrays(e, a - alpha * (x + log_n), b - beta * (y + log_d))
            value, parts = log_sum(np.stack(terms))
            columns = [*parts, -parts[1] * (x + log_n), -parts[2] * (y + log_d)]
            worths = [
                -(parts[1] * alpha)[..., None] * by_nu,
                -(parts[2] * beta)[..., None] * by_tau,
            ]
            return value - log_loss, np.concatenate([np.stack(columns, axis=-1), *worths], axis=-1)

        def natural(search: FloatArray) -> FloatArray:
            shifted = search.copy()
            shifted[..., 1:3] += search[..., 3:5] * centre
            shifted[..., :3] = np.exp(shifted[..., :3])
            shifted[..., 5:] = np.exp(shifted[..., 5:])
            return shifted

        def searched(parameters: FloatArray) -> FloatArray:
            search = parameters.copy()
            search[..., :3] = np.log(parameters[..., :3])
            search[..., 1:3] -= parameters[..., 3:5] * centre
            search[..., 5:] = np.log(parameters[..., 5:])
            return search

        return Problem(
            residuals=residuals,
            starts=_starts(x, y, shares, target),
            box=self._box(target),
            natural=natural,
            searched=searched,
            delta=_HUBER_DELTA,
        )

    def over_shares(
        self, parameters: FloatArray, sources: Sequence[str], model_parameters: float, tokens: float
    ) -> Objective:
        """The predicted loss of a model as a function of the shares of `sources`; convex.

        A source that the law does not know is worth nothing to the evaluation.
        """
        known = dict(zip(self.sources, self._worths(parameters).T, strict=True))
        worths = np.stack([known.get(name, np.zeros(2)) for name in sources], axis=1)
        floor, factors, exponents = parameters[0], parameters[1:3], parameters[3:5]
        amounts = np.array([model_parameters, tokens])

        def loss(shares: FloatArray) -> tuple[float, FloatArray]:
            effective = np.maximum(worths @ shares, 1e-12)
            terms = factors * (amounts * effective) ** -exponents
            return float(floor + terms.sum()), -(exponents * terms / effective) @ worths

        return loss

    def _worths(self, parameters: FloatArray) -> FloatArray:
        """nu and tau of all sources [2, sources]."""
        return np.insert(parameters[5:].reshape(2, -1), 0, 1.0, axis=1)

    def _box(self, target: FloatArray) -> Box:
        least, most = np.log(1e-4 * target.min()), np.log(100 * target.max())
        worths = 2 * (len(self.sources) - 1)
        edges = [(least, most)] * 3 + [_EXPONENT_EDGES] * 2 + [np.log(_WORTH_EDGES)] * worths
        return Box(*np.array(edges).T)


def _starts(x: FloatArray, y: FloatArray, shares: FloatArray, target: FloatArray) -> FloatArray:
    """For each point of a grid of exponents and worths, the same worths for all other sources, the
    E, A and B with the least relative squares."""
    grids = np.meshgrid(_EXPONENTS, _EXPONENTS, _WORTHS, _WORTHS)
    alpha, beta, nu, tau = (grid.ravel()[:, None] for grid in grids)
    own, rest = shares[:, 0], shares[:, 1:].sum(axis=1)
    size_term = np.exp(-alpha * (x + np.log(own + nu * rest)))
    data_term = np.exp(-beta * (y + np.log(own + tau * rest)))
    columns = np.stack([np.ones_like(size_term), size_term, data_term], axis=-1) / target[:, None]
    linear = linear_part(columns, np.ones_like(target), np.full(3, 0.01 * target.min()))
    others = shares.shape[1] - 1
    worths = [np.repeat(np.log(worth), others, axis=1) for worth in (nu, tau)]
    return np.concatenate([np.log(linear), alpha, beta, *worths], axis=1)
