"""Encoded documents as a token shard has them: its type, an end-of-document token after each."""

from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def pack_tokens(
    tokens: npt.NDArray[np.uint32],
    borders: npt.NDArray[np.int64],
    *,
    end_of_document: int | None,
    vocabulary_size: int,
    dtype: npt.DTypeLike,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """All documents one after another (`dtype`: uint16 or int32), and the length of each.

    tokens: of all documents, borders: where each starts in them, and the end of the last.
    [documents + 1] An empty document stays empty: it gets no end-of-document token.
    Raises ValueError for borders that are none of `tokens` and for tokens outside the vocabulary.
    """
    end = -1 if end_of_document is None else end_of_document
    lengths = np.empty(max(0, len(borders) - 1), dtype=np.int32)
    packed = np.empty(len(tokens) + len(lengths) * (end >= 0), dtype=dtype)
    written = _C.pack_tokens(tokens, borders, end, vocabulary_size, packed, lengths)
    return packed[:written], lengths


def are_known_texts(texts: list[str], is_known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of each text whether all its characters are ASCII or marked; is_known: by code point, those
    past its end are not."""
    return _C.are_known_texts(texts, is_known.view(np.uint8))
