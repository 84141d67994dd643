"""Corpus BLEU-4 as a function of sums over items, so that it can be resampled without a look at the
texts again.

Papineni et al. 2002 (ACL), with one added to the matches and to the n-grams of each order (Lin and
Och 2004), as `evaluation/suites/metrics.py` has it. D = 10 counts of an item: matches of 1 to
4-grams, n-grams of the answer, tokens of the answer, tokens of the reference.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from megatron_codemix.report.statistics.noise import FloatArray

_ORDER = 4


def bleu_counts(reference: Sequence[str], answer: Sequence[str]) -> list[int]:
    """Of one item's tokens; an n-gram matches as often as the reference has it."""
    matches, totals = [], []
    for order in range(1, _ORDER + 1):
        of_answer, of_reference = _ngrams(answer, order), _ngrams(reference, order)
        matches.append((of_answer & of_reference).total())
        totals.append(of_answer.total())
    return [*matches, *totals, len(answer), len(reference)]


def bleu_of_sums(sums: FloatArray) -> FloatArray:
    """From 0 to 100, of sums [..., D] over items."""
    matches, totals = sums[..., :_ORDER], sums[..., _ORDER : 2 * _ORDER]
    answer, reference = sums[..., -2], sums[..., -1]
    precision = np.exp(np.log((matches + 1) / (totals + 1)).mean(axis=-1))
    # An answer of no tokens has no score at all, whatever is divided by.
    brevity = np.exp(np.minimum(0.0, 1 - reference / np.maximum(answer, 1)))
    score: FloatArray = np.where(answer > 0, 100 * brevity * precision, 0.0)
    return score


def bleu_shares(counts_ND: FloatArray) -> FloatArray:
    """What each item adds to the score, to first order, [N]; their mean is the score."""
    sums = counts_ND.sum(axis=0)
    score = float(bleu_of_sums(sums))
    answer, reference = sums[-2], sums[-1]
    slopes = np.zeros_like(sums)
    slopes[:_ORDER] = score / _ORDER / (sums[:_ORDER] + 1)
    slopes[_ORDER : 2 * _ORDER] = -score / _ORDER / (sums[_ORDER : 2 * _ORDER] + 1)
    if 0 < answer < reference:
        slopes[-2], slopes[-1] = score * reference / answer**2, -score / answer
    shares: FloatArray = score + (len(counts_ND) * counts_ND - sums) @ slopes
    return shares


def _ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))
