"""Texts to tokens of a byte-level BPE."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


class CharacterClass(IntEnum):
    """What a pattern takes a character for. DIGIT: a word by itself whatever stands beside it;
    REFUSED: a text with it is not encoded."""

    OTHER = 1
    LETTER = 2
    NUMBER = 3
    SPACE = 4
    DIGIT = 5
    REFUSED = 6


class AddedTokenRole(IntEnum):
    """What a text becomes where it spells an added token: that token; ordinary text, with what else
    begins inside; or it is not encoded."""

    TOKEN = 0
    TEXT = 1
    REFUSED = 2


class AddedToken(NamedTuple):
    """`content` has two bytes or more."""

    content: str
    id: int
    role: AddedTokenRole


class WordPattern(NamedTuple):
    """How a text is cut into words: by GPT-4's pattern (csrc/bpe/bpe_split.cpp), with at most
    `numbers_at_once` (1 or 3) in a word, or by GPT-2's. `isolates_digits`: as CharacterClass.DIGIT,
    before all else."""

    is_gpt4: bool
    numbers_at_once: int
    isolates_digits: bool


class BpeEncoder:
    """Same tokens as `tokenizers`, whose tokenizer.json gives `vocabulary` and `merges`.

    Memory: 10 MB and 35 bytes an entry of the vocabulary, however much is encoded.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: Sequence[Sequence[str]],
        *,
        pattern: WordPattern,
        keeps_known_words: bool,
        early_tokens: Sequence[AddedToken],
        late_tokens: Sequence[AddedToken],
        dtype: npt.DTypeLike,
    ) -> None:
        """merges: pairs of entries, the first one first. `keeps_known_words`: a word that is an
        entry is not merged from its bytes. `early_tokens` are looked for in a text, `late_tokens`
        in what is between those. dtype: of the tokens, uint16 or int32.

        Raises ValueError: a byte or a merged pair is no entry, a number that does not fit.
        """
        kind = np.dtype(dtype)
        assert kind in (np.uint16, np.int32), kind
        largest = max(vocabulary.values(), default=0)
        if largest > np.iinfo(kind).max:
            raise ValueError(f"entry {largest} of the vocabulary does not fit {kind}")
        make = _C.BpeEncoderUint16 if kind == np.uint16 else _C.BpeEncoderInt32
        self._encoder = make(
            vocabulary,
            list(merges),
            keeps_known_words,
            *pattern,
            list(early_tokens),
            list(late_tokens),
        )

    def set_classes(self, codes: npt.NDArray[np.uint32], classes: npt.NDArray[np.uint8]) -> None:
        """What the characters of these code points, from U+0080 on, are. A text with one that was
        never set is not encoded."""
        self._encoder.set_classes(codes, classes)

    def encode(
        self, texts: list[str], *, end_of_document: int | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """Tokens of all texts one after another, `end_of_document` behind each that is not empty;
        and the number of each text's. -1: the text is not encoded and has no tokens."""
        end = -1 if end_of_document is None else end_of_document
        return self._encoder.encode(texts, end)
