"""Documents with duplicates planted among them, whose similarity is known."""

import math
from random import Random

from megatron_codemix.corpus.document import Document

NGRAM = 5
_VOCABULARY = 5000


def document(text: str, name: str, source: str = "text", origin: str | None = None) -> Document:
    return Document(f"{source}/{name}", source, name, origin or name, None, text)


def random_words(rng: Random, count: int) -> list[str]:
    """Some words often and most seldom, as in texts (Zipf)."""
    return [f"w{math.floor(_VOCABULARY ** rng.random())}" for _ in range(count)]


def jaccard(one: list[str], other: list[str]) -> float:
    """Of the sets of 5-grams, exactly."""
    sets = [
        {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}
        for words in (one, other)
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def with_jaccard(words: list[str], wanted: float, rng: Random) -> list[str]:
    """A copy, edited here and there until its similarity is as near to `wanted` as may be."""
    copies = [list(words)]
    for place in rng.sample(range(len(words)), len(words)):
        copies.append(list(copies[-1]))
        copies[-1][place] = f"edited{rng.randrange(10**9)}"
        if jaccard(words, copies[-1]) <= wanted:
            break
    return min(copies[-2:], key=lambda copy: abs(jaccard(words, copy) - wanted))


def with_other_end(words: list[str], wanted: float, rng: Random) -> list[str]:
    """A copy whose end is another, with a similarity as near to `wanted` as may be."""
    shingles = len(words) - NGRAM + 1
    kept = round(shingles * 2 * wanted / (1 + wanted)) + NGRAM - 1
    return words[:kept] + random_words(rng, len(words) - kept)
