"""Metrics of one item and of many, beside those of the harness. Free of torch and the harness."""

import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

HIGHER_IS_BETTER = {
    "bits_per_byte": False,
    "loss_per_token": False,
    "choice_probability": True,
    "choice_probability_per_byte": True,
    "acc_per_token": True,
}
_RESAMPLES = 200


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


def best_per(log_likelihoods: Sequence[float], counts: Sequence[int]) -> int:
    """The text of the least perplexity, given the tokens of each; of equals the first."""
    return max(range(len(counts)), key=lambda one: log_likelihoods[one] / counts[one])


def bits(log_likelihood: float) -> float:
    """What a model needs to store what it gives this likelihood (nats)."""
    return -log_likelihood / math.log(2)


def bits_per_byte(log_likelihood: float, text: str) -> float:
    """Bits that the model needs for a byte of a text (nats in, UTF-8)."""
    return bits(log_likelihood) / len(text.encode())


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Sum of the firsts over sum of the seconds."""
    return sum(one for one, _ in pairs) / sum(size for _, size in pairs)


def bleu(pairs: Sequence[tuple[str, str]]) -> float:
    """Corpus BLEU-4 of (reference, answer), tokens joined by spaces, from 0 to 100; one is added to
    the matches and to the n-grams of each order (Lin and Och 2004), as in CodeXGLUE's script."""
    from sacrebleu.metrics.bleu import BLEU  # comes with the harness

    references, answers = zip(*pairs, strict=True)
    if not any(answers):
        return 0.0
    scorer = BLEU(tokenize="none", smooth_method="none", force=True)
    found = scorer.corpus_score(list(answers), [list(references)])
    counted = zip(found.counts, found.totals, strict=True)
    precisions = [(matches + 1) / (total + 1) for matches, total in counted]
    return 100 * float(found.bp) * math.exp(fmean(map(math.log, precisions)))


def standard_error(values: Sequence[Any]) -> float | None:
    """Of the metric that these items add up to: their mean, or the ratio of sums of pairs (by
    linearisation), or BLEU (by 200 resamples with a fixed seed). None for a single item."""
    if len(values) < 2:
        return None
    first = values[0]
    if not isinstance(first, tuple | list):
        return float(stdev(values)) / math.sqrt(len(values))
    if isinstance(first[0], str):
        return _bootstrap(bleu, values)
    value, mean_size = ratio(values), fmean(size for _, size in values)
    residuals = [(one - value * size) / mean_size for one, size in values]
    return float(stdev(residuals)) / math.sqrt(len(values))


def _bootstrap(metric: Callable[[Sequence[Any]], float], values: Sequence[Any]) -> float:
    generator = random.Random(0)
    found = [metric(generator.choices(values, k=len(values))) for _ in range(_RESAMPLES)]
    return stdev(found)


def _softmax_at(scores: Sequence[float], index: int) -> float:
    highest = max(scores)
    return math.exp(scores[index] - highest) / sum(math.exp(one - highest) for one in scores)
