"""Copies of documents, edited to a similarity that is known exactly."""

from collections.abc import Sequence
from random import Random

from megatron_codemix.corpus.duplicates.fingerprints import NGRAM
from megatron_codemix.ops import join_words

LEAST_WORDS, MOST_WORDS = 100, 2000
"""Shorter texts cannot be edited to a similarity near the wanted one; longer ones take long."""
TOLERANCE = 0.01


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """Of the sets of five words in a row."""
    sets = [
        {tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}
        for words in (one, other)
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def edited_copy(text: str, wanted: float, rng: Random) -> str | None:
    """A copy with other words here and there, whose similarity is within TOLERANCE of `wanted`;
    None where the text is too short, too long, or repeats itself too much for that."""
    words = join_words(text).split(" ")
    if not LEAST_WORDS <= len(words) <= MOST_WORDS:
        return None
    places = rng.sample(range(len(words)), len(words))
    new = [f"edited{rng.randrange(10**9)}" for _ in places]
    # The more edits, the less alike: the number of edits is found by halving.
    least, most = 0, len(words)
    while least < most:
        middle = (least + most) // 2
        if jaccard(words, _edited(words, places[:middle], new)) <= wanted:
            most = middle
        else:
            least = middle + 1
    copy = _edited(words, places[:least], new)
    return " ".join(copy) if abs(jaccard(words, copy) - wanted) <= TOLERANCE else None


def with_other_spaces(text: str, rng: Random) -> str:
    """The same words, other white space."""
    return " ".join(word + rng.choice(("", "", " ", "\n", "\t")) for word in text.split())


def _edited(words: Sequence[str], places: Sequence[int], new: Sequence[str]) -> list[str]:
    copy = list(words)
    for place, word in zip(places, new, strict=False):
        copy[place] = word
    return copy
