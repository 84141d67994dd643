"""Words, their n-grams and signatures, by which duplicates are found."""

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.ngrams import MERSENNE_PRIME, WITHOUT_SPACES, MinHashFunctions

_WORD = rf"(?=\w)[{WITHOUT_SPACES}]|(?:(?![{WITHOUT_SPACES}])\w)+"


def join_words(text: str) -> str:
    """See ops.join_words."""
    return " ".join(re.findall(_WORD, "".join(character.lower()[0] for character in text)))


def find_words(text: str) -> npt.NDArray[np.int64]:
    """See ops.find_words."""
    places = [word.span() for word in re.finditer(_WORD, text)]
    return np.array(places, np.int64).reshape(-1, 2)


def hash_ngrams(text: str, n: int, xxh64: Callable[[bytes], int]) -> npt.NDArray[np.uint64]:
    """See ops.hash_ngrams. xxh64: the xxhash package's, which is no requirement of ours."""
    words = join_words(text).split()
    ngrams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    return np.array([xxh64(ngram.encode()) for ngram in ngrams], np.uint64)


def hash_gates(text: str, n: int, xxh64: Callable[[bytes], int]) -> npt.NDArray[np.uint64]:
    """See ops.hash_gates."""
    words = [xxh64(word.encode()) for word in join_words(text).split()]
    base = 0x9E3779B97F4A7C15
    hashes = [
        sum(word * base ** (n - 1 - place) for place, word in enumerate(words[i : i + n])) % 2**64
        for i in range(len(words) - n + 1)
    ]
    return np.array(hashes, np.uint64)


def sign_shingles(
    shingles: npt.NDArray[np.uint64], functions: MinHashFunctions
) -> npt.NDArray[np.uint64]:
    """See ops.MinHash.sign_shingles. In Python's whole numbers."""
    pairs = list(zip(*(numbers.tolist() for numbers in functions), strict=True))
    least = [
        min(((x * a + b) % 2**64 % MERSENNE_PRIME for x in shingles.tolist()), default=2**64 - 1)
        for a, b in pairs
    ]
    return np.array(least, np.uint64)
