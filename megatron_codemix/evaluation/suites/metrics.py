"""Metrics of one item, beside those of the harness. Free of torch and of the harness."""

import math
from collections.abc import Sequence

HIGHER_IS_BETTER = {
    "bits_per_byte": False,
    "choice_probability": True,
    "choice_probability_per_byte": True,
}
"""Of the metrics of a single item that are averaged."""


def answer_metrics(
    log_likelihoods: Sequence[float], texts: Sequence[str], gold: int
) -> dict[str, float]:
    """How much a model favours the right one of some texts. They change before accuracy does.

    log_likelihoods: nats, of each text as it was scored, delimiter included.
    """
    sizes = [len(text.encode()) for text in texts]
    per_byte = [one / size for one, size in zip(log_likelihoods, sizes, strict=True)]
    return {
        "bits_per_byte": bits_per_byte(log_likelihoods[gold], texts[gold]),
        "choice_probability": _softmax_at(log_likelihoods, gold),
        "choice_probability_per_byte": _softmax_at(per_byte, gold),
    }


def bits_per_byte(log_likelihood: float, text: str) -> float:
    """Bits that the model needs for a byte of a text (nats in, UTF-8)."""
    return -log_likelihood / math.log(2) / len(text.encode())


def _softmax_at(scores: Sequence[float], index: int) -> float:
    highest = max(scores)
    return math.exp(scores[index] - highest) / sum(math.exp(one - highest) for one in scores)
