"""The shares of the sources at which a convex loss is lowest, with a proof of how low it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from megatron_codemix.errors import ConfigError, FitError
from megatron_codemix.scaling.law import FloatArray

Objective = Callable[[FloatArray], tuple[float, FloatArray]]
"""Shares [sources] -> loss, and its gradient [sources]. Convex on the simplex."""

GAP_NATS = 1e-6
"""An answer that may be further than this from the lowest loss is refused."""


@dataclass(frozen=True, kw_only=True)
class BestShares:
    """The shares with the lowest loss."""

    shares: dict[str, float]
    loss_nats: float
    gap_nats: float
    """The loss is at most this far above the lowest one that the caps allow."""
    at_cap: tuple[str, ...]
    """Sources that would get more if their cap allowed it."""


def normalised(weights: Mapping[str, float], evaluations: Sequence[str]) -> dict[str, float]:
    """The weights of the evaluations' losses, as parts of 1; 0 for one that is not named.

    Raises ConfigError where they do not fit the evaluations, one is negative or not finite, or
    none is above 0.
    """
    problems = [
        f"weight of {name!r}: there is a fit for {', '.join(evaluations)}"
        for name in weights
        if name not in evaluations
    ]
    problems += [
        f"weight of {name!r} is {weight}; write a number that is not negative"
        for name, weight in weights.items()
        if not 0 <= weight < np.inf
    ]
    if not problems and not any(weights.values()):
        problems.append("no evaluation has a weight above 0")
    if problems:
        raise ConfigError(problems)
    largest = max(weights.values())  # the sum itself may overflow
    parts = {name: weights.get(name, 0.0) / largest for name in evaluations}
    total = sum(parts.values())
    return {name: part / total for name, part in parts.items()}


def weighted_mean(objectives: Mapping[str, Objective], weights: Mapping[str, float]) -> Objective:
    """Mean of the losses of several evaluations by weights, see `normalised`."""
    parts = {name: part for name, part in normalised(weights, list(objectives)).items() if part}

    def loss(shares: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = 0.0, np.zeros_like(shares)
        for name, weight in parts.items():
            one, its_gradient = objectives[name](shares)
            value += weight * one
            gradient += weight * its_gradient
        return value, gradient

    return loss


def best_shares(
    objective: Objective, sources: Sequence[str], at_most: Mapping[str, float] | None = None
) -> BestShares:
    """at_most: cap on the share of a source, such as what it can give in four epochs.

    Raises ConfigError where the caps leave no mixture, FitError where the search fails.
    """
    caps = _caps(sources, at_most or {})
    shares = _search(objective, caps)
    value, gradient = objective(shares)
    # f(shares) - f(x) <= gradient @ (shares - x) for a convex function, and the right side is
    # largest at a corner of what is allowed (the gap of Frank and Wolfe 1956).
    gap = float(gradient @ (shares - _steepest_corner(gradient, caps)))
    if not gap <= GAP_NATS * max(1.0, abs(value)):
        raise FitError(
            f"the search for the best shares of {', '.join(sources)} stopped {gap:.3g} nats from "
            "what may be the lowest loss; narrow the caps on the shares"
        )
    capped = [
        name
        for name, share, cap in zip(sources, shares, caps, strict=True)
        if cap < 1 and share > cap * (1 - 1e-6)
    ]
    return BestShares(
        shares=dict(zip(sources, shares.tolist(), strict=True)),
        loss_nats=value,
        gap_nats=max(gap, 0.0),
        at_cap=tuple(capped),
    )


def _caps(sources: Sequence[str], at_most: Mapping[str, float]) -> FloatArray:
    problems = [
        f"the cap on the share of {name!r}: the mixture has {', '.join(sources)}"
        for name in at_most
        if name not in sources
    ]
    problems += [
        f"the cap on the share of {name!r} is {cap}; write a number from 0 to 1"
        for name, cap in at_most.items()
        if not 0 <= cap <= 1
    ]
    caps = np.array([at_most.get(name, 1.0) for name in sources])
    if not problems and caps.sum() < 1:
        problems.append(f"the caps on the shares sum to {caps.sum():g}; no mixture keeps them all")
    if problems:
        raise ConfigError(problems)
    return caps


def _search(objective: Objective, caps: FloatArray) -> FloatArray:
    from scipy.optimize import minimize

    found = minimize(
        objective,
        caps / caps.sum(),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, cap) for cap in caps],
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    shares: FloatArray = np.clip(found.x, 0, caps)
    shares /= shares.sum()
    return shares


def _steepest_corner(gradient: FloatArray, caps: FloatArray) -> FloatArray:
    """The allowed shares with the smallest gradient @ shares: the caps, cheapest source first."""
    corner = np.zeros_like(caps)
    left = 1.0
    for place in np.argsort(gradient, kind="stable"):
        corner[place] = min(left, caps[place])
        left -= corner[place]
    return corner
