"""The best mixture, size and tokens for an amount of compute, by mixture-and-scale laws."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.best_shares import BestShares, best_shares, weighted_mean
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw

Fits = Mapping[str, tuple[MixtureAndScaleLaw, FloatArray]]
"""By evaluation: the law and its parameters."""

FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
"""Training compute C = 6 N D (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""

TOKENS_PER_PARAMETER_SEARCHED = (0.01, 1e6)


@dataclass(frozen=True, kw_only=True)
class MixtureOptimum:
    """The mixture with the lowest weighted loss of a model."""

    parameters: float
    tokens: float
    compute_flops: float
    best: BestShares
    loss_nats: dict[str, float]
    """Of each evaluation."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def best_mixture(
    fits: Fits,
    weights: Mapping[str, float],
    *,
    parameters: float,
    tokens: float,
    at_most: Mapping[str, float] | None = None,
) -> MixtureOptimum:
    """weights: of each evaluation in the mean that is minimised. at_most: caps on shares."""
    sources = _sources(fits)
    objectives = {
        name: law.over_shares(fitted, sources, parameters, tokens)
        for name, (law, fitted) in fits.items()
    }
    best = best_shares(weighted_mean(objectives, weights), sources, at_most)
    return MixtureOptimum(
        parameters=parameters,
        tokens=tokens,
        compute_flops=FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens,
        best=best,
        loss_nats={
            name: objective(np.array(list(best.shares.values())))[0]
            for name, objective in objectives.items()
        },
    )


def best_mixture_against_compute(
    fits: Fits,
    weights: Mapping[str, float],
    computes_flops: Sequence[float],
    *,
    tokens_per_parameter: float | None = None,
    at_most: Mapping[str, float] | None = None,
) -> list[MixtureOptimum]:
    """The optimum for each amount of compute.

    tokens_per_parameter: None for the best, found together with the mixture. The weighted loss is
    convex in the logarithm of the size and the shares, so there is one minimum.
    Raises FitError where the best lies outside of what is searched: an exponent is not known then.
    """

    def at(compute: float, ratio: float) -> MixtureOptimum:
        parameters = math.sqrt(compute / FLOPS_PER_PARAMETER_AND_TOKEN / ratio)
        return best_mixture(
            fits, weights, parameters=parameters, tokens=parameters * ratio, at_most=at_most
        )

    if tokens_per_parameter is not None:
        return [at(compute, tokens_per_parameter) for compute in computes_flops]
    return [at(compute, _best_ratio(at, compute)) for compute in computes_flops]


def _best_ratio(at: Callable[[float, float], MixtureOptimum], compute: float) -> float:
    from scipy.optimize import minimize_scalar

    edges = tuple(math.log(ratio) for ratio in TOKENS_PER_PARAMETER_SEARCHED)
    found = minimize_scalar(
        lambda log_ratio: at(compute, math.exp(log_ratio)).best.loss_nats,
        bounds=edges,
        method="bounded",
        options={"xatol": 1e-4},
    )
    if min(found.x - edges[0], edges[1] - found.x) < 1e-2:
        raise FitError(
            f"the best number of tokens per parameter at {compute:.3g} FLOPs would be beyond "
            f"{math.exp(found.x):.3g}: the runs do not determine how the loss depends on size and "
            "tokens; give the number of tokens per parameter"
        )
    return math.exp(found.x)


def _sources(fits: Fits) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for law, _ in fits.values() for name in law.sources))
