"""Encodes with `fastokens` where it is installed and proved equal to `tokenizers`, else with
`tokenizers`.

Two gates: a sample of each source, and a text with each added token, must give the same tokens with
both; and a document goes to `tokenizers` unless all its characters are split alike since Unicode
3.2: the two may carry different Unicode tables.
"""

import json
import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.ops import are_known_texts

log = logging.getLogger(__name__)

_SAMPLE_BYTES = 200_000
_SAMPLE_BYTES_OF_A_DOCUMENT = 20_000
_NUM_CODES = 0x20000  # what lies behind is rare and costs little


class EncodedTexts(NamedTuple):
    """`tokens` of all texts one after another, `borders[i]` to `borders[i + 1]` are those of text
    i."""

    tokens: npt.NDArray[np.uint32]
    borders: npt.NDArray[np.int64]


class FastEncoder:
    """Same result as `tokenizer.encode_batch`; some twenty times less processor time with
    `fastokens` installed."""

    def __init__(
        self, tokenizer: Tokenizer, source: str, sample: Sequence[str], loaded: Any = None
    ) -> None:
        """`sample`: documents of `source`; 200 kB of them are encoded both ways and compared.
        `loaded`: `load_fast_tokenizer` of the tokenizer, where it is there already."""
        self._tokenizer = tokenizer
        self._fast: Any = loaded or load_fast_tokenizer(tokenizer)  # Any: optional package
        self._proved_characters = _proved_characters(_splits_by_letters_and_numbers_only(tokenizer))
        self.num_fallbacks = 0
        """Documents that went to `tokenizers` although the fast encoder is in use."""
        if self._fast is None:
            log.info("source %s: encoding with tokenizers (fastokens is not installed)", source)
        elif not self._is_equal_on(sample):
            log.warning("source %s: fastokens differs from tokenizers, not used", source)
            self._fast = None

    def encode(self, texts: list[str]) -> EncodedTexts:
        """Tokens of the texts, without an end-of-document token."""
        if self._fast is None:
            return _joined(self._tokenizer.encode_batch(texts))
        encoded = self._encode_fast(texts)
        is_proved = are_known_texts(texts, self._proved_characters)
        unproved = np.flatnonzero(~is_proved).tolist()
        self.num_fallbacks += len(unproved)
        if not unproved:
            return encoded
        slow = self._tokenizer.encode_batch([texts[number] for number in unproved])
        return _replaced(encoded, unproved, slow)

    def _encode_fast(self, texts: list[str]) -> EncodedTexts:
        flat, borders = self._fast.encode_batch_flat(
            texts, split_special_tokens=not self._tokenizer.matches_special_tokens
        )
        tokens = np.frombuffer(flat, dtype=np.uint32)
        return EncodedTexts(tokens, np.frombuffer(borders, dtype=np.uint64).astype(np.int64))

    def _is_equal_on(self, sample: Sequence[str]) -> bool:
        taken = [f"a {token} b{token}{token}\n{token}" for token in self._tokenizer.added_tokens]
        size = 0
        for text in sample:
            taken.append(text[: min(_SAMPLE_BYTES_OF_A_DOCUMENT, _SAMPLE_BYTES - size)])
            size += len(taken[-1])
            if size >= _SAMPLE_BYTES:
                break
        wanted, found = _joined(self._tokenizer.encode_batch(taken)), self.encode(taken)
        self.num_fallbacks = 0
        return np.array_equal(found.tokens, wanted.tokens) and np.array_equal(
            found.borders, wanted.borders
        )


def load_fast_tokenizer(tokenizer: Tokenizer) -> Any:  # Any: optional package
    """fastokens' object, which cannot be pickled; None where it is not installed, or cannot read
    the tokenizer. 0.3 s for 50,000 entries."""
    # Its one way to be told, read when it first encodes. A thread more is a cache of words more to
    # fill; what shall run in parallel are the workers.
    os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")
    try:
        import fastokens  # type: ignore[import-untyped,import-not-found,unused-ignore] # optional
    except ImportError:
        return None
    try:
        return fastokens.Tokenizer.from_json_str(tokenizer.content)
    except Exception as error:  # its errors are bare; a tokenizer it cannot read is no mistake
        log.warning("%s: fastokens cannot read it (%s), not used", tokenizer.path, error)
        return None


def _joined(documents: Sequence[npt.NDArray[np.int32]]) -> EncodedTexts:
    borders = np.zeros(len(documents) + 1, dtype=np.int64)
    np.cumsum([len(tokens) for tokens in documents], out=borders[1:])
    empty = np.empty(0, dtype=np.int32)
    return EncodedTexts(np.concatenate([empty, *documents]).astype(np.uint32), borders)


def _replaced(
    encoded: EncodedTexts, numbers: Sequence[int], documents: Sequence[npt.NDArray[np.int32]]
) -> EncodedTexts:
    """`encoded` with other tokens for the texts of these numbers (ascending)."""
    lengths = np.diff(encoded.borders)
    pieces: list[npt.NDArray[Any]] = []
    taken = 0
    for number, document in zip(numbers, documents, strict=True):
        pieces += [encoded.tokens[taken : encoded.borders[number]], document.astype(np.uint32)]
        taken = int(encoded.borders[number + 1])
        lengths[number] = len(document)
    pieces.append(encoded.tokens[taken:])
    return EncodedTexts(np.concatenate(pieces), np.append(0, np.cumsum(lengths)))


def _splits_by_letters_and_numbers_only(tokenizer: Tokenizer) -> bool:
    """Whether, of Unicode's categories, only L, N and white space can change the tokens."""
    splitter = json.dumps(tokenizer.splitting["pre_tokenizer"])
    kinds = set(re.findall(r'"type": "(\w+)"', splitter))
    classes = set(re.findall(r"\\[pP](\{[^}]*\}|.)", splitter))
    return (
        tokenizer.splitting["normalizer"] is None
        and kinds <= {"Sequence", "Split", "ByteLevel", "Digits"}
        and classes <= {"{L}", "{N}"}
    )


@cache
def _proved_characters(by_letters_and_numbers: bool) -> npt.NDArray[np.bool_]:
    """By code point: assigned today, and of the same category since Unicode 3.2.

    Where only letters, numbers and white space matter, all else is one category, with what was
    unassigned: a symbol that is younger than a table (most emoji) is still no letter in it.
    """
    new, old = _categories(unicodedata), _categories(unicodedata.ucd_3_2_0)
    is_assigned = ~np.isin(new, np.frombuffer(b"CnCsCo", dtype=np.uint16))
    kind = _letter_number_space_or_other if by_letters_and_numbers else np.asarray
    is_proved: npt.NDArray[np.bool_] = is_assigned & (kind(new) == kind(old))
    return is_proved


def _categories(database: Any) -> npt.NDArray[np.uint16]:  # Any: a module, or UCD, which is no type
    """By code point, the two letters of its category as they lie in memory."""
    names = "".join(map(database.category, map(chr, range(_NUM_CODES))))
    return np.frombuffer(names.encode(), dtype=np.uint16)


def _letter_number_space_or_other(categories: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    first = categories.view(np.uint8)[::2]
    return np.where(np.isin(first, np.frombuffer(b"LNZ", dtype=np.uint8)), first, ord("-"))
