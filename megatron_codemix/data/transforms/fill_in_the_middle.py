"""Fill-in-the-middle: documents of a sample are cut in three and the middle is moved to the end, so
that a model learns to write between two pieces of code (Bavarian et al. 2022, arXiv 2207.14255).

Done as StarCoder's Megatron-LM and GPTFIMDataset do it: for each part of a document in a sample
("context level"), at two uniform characters (the three pieces are encoded anew, so a cut may lie
inside of a token), as PSM

    <prefix> prefix <suffix> suffix <middle> middle

or, at `spm_rate`, as SPM in the paper's second variant

    <prefix> <suffix> suffix <middle> prefix middle

and the end-of-document token of a part that has one stays behind the middle.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.documents import PADDING
from megatron_codemix.data.order.stateless import source_key
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.transforms.rows import TransformedRow
from megatron_codemix.errors import DataError

_STYLES = ("<|fim_{}|>", "<fim_{}>", "<fim-{}>")
"""Names of the three tokens: Qwen, OpenAI and our own tokenizers; StarCoder; SantaCoder."""
_DRAWS = 4  # of a part of a document: whether, two cuts, SPM or PSM


class Sentinels(NamedTuple):
    """The tokens that stand before the pieces."""

    prefix: int
    middle: int
    suffix: int


def find_sentinels(tokenizer: Tokenizer) -> Sentinels:
    """Raises DataError where the tokenizer has no full set of them."""
    for style in _STYLES:
        numbers = [tokenizer.token_id(style.format(piece)) for piece in Sentinels._fields]
        found = [number for number in numbers if number is not None]
        if len(found) == len(numbers):
            return Sentinels(*found)
    sets = " or ".join(
        ", ".join(style.format(piece) for piece in Sentinels._fields) for style in _STYLES
    )
    raise DataError(
        f"{tokenizer.path}: fill-in-the-middle needs tokens of its own ({sets}), and this "
        "tokenizer has no full set; `codemix data tokenizer --fill-in-the-middle` trains one that "
        "has"
    )


class FillInTheMiddle:
    """The transform of one source. A pure function of seed, source and cursor: no state, so threads
    may share it and a resumed run sees the same samples."""

    def __init__(
        self, tokenizer: Tokenizer, *, rate: float, spm_rate: float, seed: int, source: str
    ) -> None:
        """rate: probability for each part of a document; spm_rate: of SPM among those. Raises
        DataError where the tokenizer has no sentinels."""
        self.sentinels = find_sentinels(tokenizer)
        self._tokenizer = tokenizer
        self._rate, self._spm_rate = rate, spm_rate
        # Not the key of the source's order, whose bits decide where windows lie.
        self._key = source_key(seed, f"fill-in-the-middle of {source}")

    def apply(
        self, tokens: npt.NDArray[np.int64], documents: npt.NDArray[np.int64], cursor: int
    ) -> TransformedRow:
        """The sample that the source gives at `cursor`, each of its parts cut or left as it is.

        tokens, documents: int64 [sequence_length + 1], documents -1 in padding. The result is as
        long: sentinels and cut tokens make it longer, and what is too much is dropped from its end
        (as the peers do); where it is shorter, and where the sample had padding, it is padded with
        end-of-document tokens. A character that the sample's borders cut in two is left out of a
        part that is transformed.
        """
        parts = _parts(documents)
        draws = np.random.Philox(key=[self._key, cursor]).random_raw(_DRAWS * len(parts))
        pieces = self._cut(tokens, parts, draws.reshape(-1, _DRAWS).tolist())
        encoded = iter(self._tokenizer.encode_batch([text for cut in pieces for text in cut.texts]))
        by_part = {cut.part: self._permuted(cut, *(next(encoded) for _ in "pms")) for cut in pieces}
        rows = [by_part.get(n, tokens[start:stop]) for n, (start, stop) in enumerate(parts)]
        owners = [documents[start] for start, _ in parts]
        return self._of_length(len(tokens), rows, owners)

    def _cut(
        self,
        tokens: npt.NDArray[np.int64],
        parts: list[tuple[int, int]],
        draws: list[list[int]],
    ) -> list["_Cut"]:
        cuts = []
        for number, ((start, stop), draw) in enumerate(zip(parts, draws, strict=True)):
            is_ended = bool(tokens[stop - 1] == self._tokenizer.end_of_document_id)
            body = tokens[start : stop - is_ended]
            if len(body) == 0 or _share(draw[0]) >= self._rate:
                continue
            text = self._tokenizer.decode_bytes(body).decode("utf-8", errors="ignore")
            first, second = sorted(_below(len(text) + 1, word) for word in draw[1:3])
            texts = (text[:first], text[first:second], text[second:])
            cuts.append(_Cut(number, texts, _share(draw[3]) < self._spm_rate, is_ended))
        return cuts

    def _permuted(
        self,
        cut: "_Cut",
        prefix: npt.NDArray[np.int32],
        middle: npt.NDArray[np.int32],
        suffix: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.int64]:
        mark = self.sentinels
        end = [self._tokenizer.end_of_document_id] if cut.is_ended else []
        if cut.is_spm:
            return _joined([mark.prefix, mark.suffix], suffix, [mark.middle], prefix, middle, end)
        return _joined([mark.prefix], prefix, [mark.suffix], suffix, [mark.middle], middle, end)

    def _of_length(
        self, length: int, rows: list[npt.NDArray[np.int64]], owners: list[np.int64]
    ) -> TransformedRow:
        tokens = np.full(length, self._tokenizer.end_of_document_id, np.int64)
        documents = np.full(length, PADDING, np.int64)
        joined = _joined(*rows)[:length]
        tokens[: len(joined)] = joined
        documents[: len(joined)] = np.repeat(owners, [len(row) for row in rows])[:length]
        return TransformedRow(tokens, documents)


class _Cut(NamedTuple):
    """A part of a document in three pieces of text."""

    part: int
    texts: tuple[str, str, str]
    is_spm: bool
    is_ended: bool


def _parts(documents: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """[start, stop) of each document's tokens in a row, without padding."""
    borders = np.flatnonzero(documents[1:] != documents[:-1]) + 1
    edges = [0, *borders.tolist(), len(documents)]
    return [(start, stop) for start, stop in pairwise(edges) if documents[start] != PADDING]


def _share(word: int) -> float:
    """Uniform on [0, 1) from 64 random bits."""
    return (word >> 11) * 2.0**-53


def _below(size: int, word: int) -> int:
    """Uniform on [0, size) from 64 random bits, but for a bias of size / 2^64."""
    return word * size >> 64


def _joined(*pieces: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.concatenate([np.asarray(piece, np.int64) for piece in pieces])
