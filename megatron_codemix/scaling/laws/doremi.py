"""DoReMi: weights of domains from the excess loss of a proxy model over a reference model.

Xie et al. 2023 (arXiv 2305.10429), algorithm 1. Two small models are trained: the reference on the
mixture at hand, and the proxy, whose loss is reweighted by the weights that are sought. Its
minibatches are drawn uniformly from the domains.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from megatron_codemix.scaling.law import FloatArray

STEP_SIZE = 1.0
SMOOTHING = 1e-3
"""Both as in the paper, section 2."""

SUM_TOLERANCE = 1e-9


def excess_losses(
    proxy_nats: FloatArray, reference_nats: FloatArray, domains: NDArray[np.int64], num_domains: int
) -> FloatArray:
    """Mean of max(proxy - reference, 0) over the tokens of each domain [domains].

    proxy_nats, reference_nats: loss of each token of a minibatch [tokens]. domains: number of the
    domain of each token [tokens]. NaN for a domain without tokens.
    """
    if not proxy_nats.shape == reference_nats.shape == domains.shape:
        raise ValueError(
            f"losses {proxy_nats.shape} and {reference_nats.shape} of domains {domains.shape}: "
            "one value of each for every token"
        )
    excess = np.maximum(proxy_nats - reference_nats, 0)
    tokens = np.bincount(domains, minlength=num_domains)
    sums = np.bincount(domains, weights=excess, minlength=num_domains)
    means = np.full(num_domains, np.nan)
    np.divide(sums, tokens, out=means, where=tokens > 0)
    return means


def doremi_step(
    weights: FloatArray,
    excess_nats: FloatArray,
    *,
    step_size: float = STEP_SIZE,
    smoothing: float = SMOOTHING,
) -> FloatArray:
    """The weights after one step of exponentiated gradient ascent, smoothed towards uniform.

    Raises ValueError where the weights are no distribution or an excess loss is negative.
    """
    if weights.min() < 0 or abs(weights.sum() - 1) > SUM_TOLERANCE:
        raise ValueError(f"weights {weights.tolist()} do not sum to 1")
    if not excess_nats.min() >= 0:
        raise ValueError(f"excess losses {excess_nats.tolist()} are not all at least 0")
    # The largest excess is taken out before exp(), which changes nothing after the division.
    raised = weights * np.exp(step_size * (excess_nats - excess_nats.max()))
    step: FloatArray = (1 - smoothing) * raised / raised.sum() + smoothing / len(weights)
    return step


def doremi_path(
    excess_nats_by_step: Iterable[FloatArray],
    num_domains: int,
    *,
    step_size: float = STEP_SIZE,
    smoothing: float = SMOOTHING,
) -> Iterator[FloatArray]:
    """The weights after each step, from uniform ones.

    A domain whose excess loss is NaN, as no token of it was in the minibatch, keeps its last one;
    0 before its first.
    """
    weights = np.full(num_domains, 1 / num_domains)
    known = np.zeros(num_domains)
    for excess in excess_nats_by_step:
        known = np.where(np.isnan(excess), known, excess)
        weights = doremi_step(weights, known, step_size=step_size, smoothing=smoothing)
        yield weights


def average_weights(path: Iterable[FloatArray]) -> FloatArray:
    """What DoReMi returns: the mean of the weights over all steps. Raises ValueError without
    steps."""
    steps = list(path)
    if not steps:
        raise ValueError("there is no step to average over")
    mean: FloatArray = np.mean(steps, axis=0)
    return mean
