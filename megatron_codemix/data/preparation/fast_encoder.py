"""Encodes with `fastokens` where it is installed and proved equal to `tokenizers`, else with
`tokenizers`.

Two gates: a sample of each source, and a text with each added token, must give the same tokens with
both; and a document goes to `tokenizers` unless all its characters have the same category since
Unicode 3.2: the two may carry different Unicode tables.
"""

import logging
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


class EncodedTexts(NamedTuple):
    """`tokens` of all texts one after another, `borders[i]` to `borders[i + 1]` are those of text
    i."""

    tokens: npt.NDArray[np.uint32]
    borders: npt.NDArray[np.int64]


class FastEncoder:
    """Same result as `tokenizer.encode_batch`; some twenty times less processor time with
    `fastokens` installed."""

    def __init__(self, tokenizer: Tokenizer, source: str, sample: Sequence[str]) -> None:
        """`sample`: documents of `source`; 200 kB of them are encoded both ways and compared."""
        self._tokenizer = tokenizer
        self._fast: Any = _load(tokenizer)  # Any: optional package
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
        is_proved = are_known_texts(texts, _proved_characters())
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


def _load(tokenizer: Tokenizer) -> Any:
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


@cache
def _proved_characters() -> npt.NDArray[np.bool_]:
    """By code point: assigned in Unicode 3.2 and of the same category today. [65536]"""
    old = unicodedata.ucd_3_2_0
    return np.array(
        [
            old.category(chr(code)) == unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")
            for code in range(0x10000)  # the others (emoji, rare scripts) are rare and cost little
        ]
    )
