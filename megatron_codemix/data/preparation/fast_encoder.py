"""Encodes with our own encoder where it reads the tokenizer and is proved equal to `tokenizers`,
else with `tokenizers`.

The proof: a sample of each source, and a text with each added token, must give the same tokens with
both. What the encoder leaves alone (csrc/bpe/bpe_encoder.h) goes to `tokenizers`, document by
document.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from megatron_codemix.data.preparation.bpe_format import BpeFormat, merges_of, read_format
from megatron_codemix.data.preparation.character_classes import classify_characters
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.ops import BpeEncoder

log = logging.getLogger(__name__)

_SAMPLE_BYTES = 50_000
_SAMPLE_BYTES_OF_A_DOCUMENT = 5_000


class EncodedTexts(NamedTuple):
    """`tokens` of all texts one after another, the end-of-document tokens with them; `lengths`: of
    each text, 0 where it is empty."""

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int32]


class FastEncoder:
    """Same tokens as `tokenizer.encode_batch`, for some fiftieth of the processor time."""

    def __init__(
        self, tokenizer: Tokenizer, *, dtype: npt.DTypeLike, end_of_document: int | None
    ) -> None:
        """dtype: of the tokens, one that holds the vocabulary; `end_of_document` is put behind each
        text that is not empty. Takes 0.1 s for 50,000 entries."""
        self._tokenizer = tokenizer
        self._dtype = np.dtype(dtype)
        self._end = end_of_document
        self._own = _OwnEncoder.load(tokenizer, self._dtype)
        self._proved: set[str] = set()
        self.num_fallbacks = 0
        """Documents that went to `tokenizers` although our own encoder is in use."""

    @property
    def is_fast(self) -> bool:
        """Whether our own encoder is in use."""
        return self._own is not None

    def prove(self, source: str, sample: Iterable[str]) -> None:
        """Compares both on 50 kB of the source's documents; once for each source."""
        if source in self._proved:
            return
        self._proved.add(source)
        if self._own is None:
            text = "source %s: encoding with tokenizers (%s: our own encoder does not read it)"
            log.info(text, source, self._tokenizer.path)
        elif not self._is_equal_on(sample):
            text = "source %s: our own encoder differs from tokenizers, not used; please report"
            log.warning(text, source)
            self._own = None

    def encode(self, texts: list[str]) -> EncodedTexts:
        """Tokens of the texts."""
        if self._own is None:
            return self._encode_slowly(texts)
        encoded = self._own.encode(texts, self._end)
        left_out = np.flatnonzero(encoded.lengths < 0).tolist()
        self.num_fallbacks += len(left_out)
        if not left_out:
            return encoded
        return _filled(encoded, left_out, self._encode_slowly([texts[i] for i in left_out]))

    def _encode_slowly(self, texts: list[str]) -> EncodedTexts:
        ends = np.array([] if self._end is None else [self._end], self._dtype)
        documents = [
            np.append(tokens.astype(self._dtype), ends) if len(tokens) else ends[:0]
            for tokens in self._tokenizer.encode_batch(texts)
        ]
        lengths = np.array([len(document) for document in documents], np.int32)
        return EncodedTexts(np.concatenate([ends[:0], *documents]), lengths)

    def _is_equal_on(self, sample: Iterable[str]) -> bool:
        taken = [f"a {token} b{token}{token}\n{token}" for token in self._tokenizer.added_tokens]
        size = 0
        for text in sample:
            taken.append(text[: min(_SAMPLE_BYTES_OF_A_DOCUMENT, _SAMPLE_BYTES - size)])
            size += len(taken[-1])
            if size >= _SAMPLE_BYTES:
                break
        wanted, found = self._encode_slowly(taken), self.encode(taken)
        self.num_fallbacks = 0
        return np.array_equal(found.tokens, wanted.tokens) and np.array_equal(
            found.lengths, wanted.lengths
        )


class _OwnEncoder:
    """Our own encoder, which is told what a character is when it first meets it."""

    def __init__(self, encoder: BpeEncoder, form: BpeFormat) -> None:
        self._encoder, self._form = encoder, form
        self._known: set[str] = set(map(chr, range(0x80)))

    @classmethod
    def load(cls, tokenizer: Tokenizer, dtype: np.dtype[Any]) -> "_OwnEncoder | None":
        """None where it cannot read the tokenizer."""
        record = orjson.loads(tokenizer.content)
        form = read_format(record, matches_special_tokens=tokenizer.matches_special_tokens)
        if form is None:
            return None
        try:
            encoder = BpeEncoder(
                record["model"]["vocab"],
                merges_of(record),
                pattern=form.pattern,
                keeps_known_words=form.keeps_known_words,
                early_tokens=form.early_tokens,
                late_tokens=form.late_tokens,
                dtype=dtype,
            )
        except ValueError as error:  # not all bytes are entries, say
            log.warning("%s: our own encoder cannot read it (%s), not used", tokenizer.path, error)
            return None
        return cls(encoder, form)

    def encode(self, texts: list[str], end: int | None) -> EncodedTexts:
        """Length -1 for what is to be encoded by other means."""
        encoded = EncodedTexts(*self._encoder.encode(texts, end_of_document=end))
        left_out = np.flatnonzero(encoded.lengths < 0).tolist()
        if not self._learn(set().union(*(texts[number] for number in left_out))):
            return encoded
        again = self.encode([texts[number] for number in left_out], end)
        return _filled(encoded, left_out, again)

    def _learn(self, characters: set[str]) -> bool:
        """Whether some of them were not known."""
        new = "".join(sorted(characters - self._known))
        if new:
            classes = classify_characters(
                new,
                isolates_digits=self._form.pattern.isolates_digits,
                composes=self._form.composes,
            )
            self._encoder.set_classes(np.array([*map(ord, new)], np.uint32), classes)
            self._known.update(new)
        return bool(new)


def _filled(encoded: EncodedTexts, numbers: Sequence[int], others: EncodedTexts) -> EncodedTexts:
    """`encoded` with the texts of these numbers (ascending), which have no tokens there, from
    `others`."""
    lengths = encoded.lengths.copy()
    places = np.cumsum(np.maximum(lengths, 0), dtype=np.int64)[numbers]
    sizes = np.maximum(others.lengths, 0)
    lengths[numbers] = others.lengths
    return EncodedTexts(np.insert(encoded.tokens, np.repeat(places, sizes), others.tokens), lengths)
