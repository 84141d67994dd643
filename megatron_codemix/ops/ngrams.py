"""Words of texts, hashes of n words in a row, and the MinHash signatures made of them.

A word is a longest run of letters, digits and underscores (what `\\w` of Python's `re` matches), in
lower case, character by character: a final sigma is a sigma. In scripts without spaces between
words every character is a word.
"""

import re
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C

if TYPE_CHECKING:
    from megatron_codemix._C import WordCharacters

MERSENNE_PRIME = 2**61 - 1
"""MinHash values are below it."""
WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao; Myanmar; Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Hiragana, Katakana
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Kana and Han beyond
)
"""Scripts without spaces between words, as ranges for a regular expression."""
_NUM_CODES = 0x110000
_IS_WORD = 1 << 31  # csrc/text/word_ngrams.h: kIsWord


@cache
def _word_characters() -> "WordCharacters":
    """Of this Python's version of Unicode. 60 ms; forked processes have their parent's."""
    lower_case = np.zeros(_NUM_CODES, np.uint32)
    every = np.arange(_NUM_CODES, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    for run in re.finditer(r"\w+", every):
        lower_case[run.start() : run.end()] = [ord(one.lower()[0]) for one in run.group()]
    for run in re.finditer(rf"[{WITHOUT_SPACES}]+", every):
        characters = lower_case[run.start() : run.end()]
        characters[characters > 0] |= _IS_WORD
    return _C.WordCharacters(lower_case)


def join_words(text: str) -> str:
    """The words with one space between them. Raises UnicodeEncodeError on a lone surrogate, as do
    the others here."""
    return _word_characters().join_words(text)


def find_words(text: str) -> npt.NDArray[np.int64]:
    """Begin and end of each word in `text`, in characters [words, 2]."""
    return _word_characters().find_words(text)


def hash_ngrams(text: str, n: int) -> npt.NDArray[np.uint64]:
    """XXH64 (seed 0) of every `n` words in a row, joined by spaces, in the order of the text; none
    where there are fewer words. datatrove's hash of the same words."""
    return _word_characters().hash_ngrams(text, n)


def hash_gates(text: str, n: int) -> npt.NDArray[np.uint64]:
    """Other hashes of every `n` words in a row: sum of hash_ngrams(word, 1) * base^(n - 1 - place),
    modulo 2^64, with the base of splitmix64's steps. For an index only."""
    return _word_characters().hash_gates(text, n)


class NgramIndex:
    """Finds which of many n-grams stand in a text."""

    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        hashes: npt.NDArray[np.uint64],
        gate_lengths: npt.NDArray[np.int32],
        gates: npt.NDArray[np.uint64],
    ) -> None:
        """lengths: words of each n-gram; hashes: as `hash_ngrams` gives them, of one length each
        once; gates: as `hash_gates` gives them, of its first `gate_lengths` words.

        A text is hashed once for each gate length, and where a gate is met for each length of the
        n-grams behind it. Raises ValueError: a gate longer than its n-gram.
        """
        self._index = _C.NgramIndex(lengths, hashes, gate_lengths, gates)

    def find(self, text: str) -> npt.NDArray[np.int64]:
        """[matches, 2]: the number of its first word in the text, and that of the n-gram."""
        return self._index.find(_word_characters(), text)


class Instructions(IntEnum):
    """What signatures are computed by; the same numbers come of all."""

    BEST = 0
    PLAIN = 1
    AVX2 = 2
    AVX512 = 3

    @property
    def is_available(self) -> bool:
        return _C.is_available(int(self))


class MinHashFunctions(NamedTuple):
    """Function i of a shingle x is (x * multipliers[i] + summands[i] mod 2^64) mod (2^61 - 1)."""

    multipliers: npt.NDArray[np.uint64]
    summands: npt.NDArray[np.uint64]


def draw_minhash_functions(num_hashes: int, seed: int) -> MinHashFunctions:
    """Those of datatrove's MinhashDedupSignature with as many hashes and this seed."""
    rng = np.random.RandomState(seed)
    multipliers = rng.randint(1, MERSENNE_PRIME, dtype=np.uint64, size=num_hashes)
    summands = rng.randint(0, MERSENNE_PRIME, dtype=np.uint64, size=num_hashes)
    return MinHashFunctions(multipliers, summands)


class MinHash:
    """Signatures: of each function the least value over a document's shingles."""

    def __init__(
        self, functions: MinHashFunctions, instructions: Instructions = Instructions.BEST
    ) -> None:
        self._minhash = _C.MinHash(functions.multipliers, functions.summands, int(instructions))

    def sign_shingles(self, shingles: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """[functions]; 2^64 - 1, which is no value of theirs, where there is no shingle."""
        return self._minhash.sign_shingles(np.ascontiguousarray(shingles))

    def sign_texts(
        self, texts: list[str], n: int
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Signatures [texts, functions] with the texts' n-grams of words as shingles, and the
        number of n-grams of each."""
        return self._minhash.sign_texts(_word_characters(), texts, n)
