"""Where a shard's documents lie, read from the mapped `.idx` and checked as far as it is read."""

import functools

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.checked_file import CheckedFile
from megatron_codemix.data.shards.index_file import (
    HEADER_BYTES,
    PIECE,
    IndexHeader,
    check_structure,
    index_arrays,
)
from megatron_codemix.errors import DataError

_Int64s = npt.NDArray[np.int64]


class DocumentIndex:
    """One sequence a document. All positions are in tokens."""

    def __init__(self, file: CheckedFile, header: IndexHeader, num_tokens: int) -> None:
        self._file = file
        self._itemsize = header.dtype.itemsize
        self._num_tokens = num_tokens
        self._arrays = index_arrays(file.data, header)
        self._lengths, self._pointers = self._arrays.lengths, self._arrays.pointers
        self.num_documents = header.num_sequences

    def bounds(self, documents: _Int64s) -> tuple[_Int64s, _Int64s]:
        """(first token, tokens) of each document. Raises IndexError on a number that none has,
        DataError where the index has changed."""
        if documents.size and not 0 <= documents.min() <= documents.max() < self.num_documents:
            raise IndexError(f"{self._file.path}: has documents 0 to {self.num_documents - 1}")
        self._check(HEADER_BYTES + 4 * documents, 4)
        length = self._lengths[documents].astype(np.int64)
        first, stop = self._starts(documents), self._starts(documents + 1)
        if ((length < 0) | (first + length != stop)).any():
            raise self._unsound()
        return first, length

    def documents_of(self, tokens: _Int64s) -> _Int64s:
        """The document that holds each token, by binary search.

        Only the blocks of the answer are hashed: start <= token < next start, both proven, leaves
        no other answer. Raises IndexError, DataError.
        """
        if not tokens.size:
            return np.empty(0, np.int64)
        if not 0 <= tokens.min() <= tokens.max() < self._num_tokens:
            raise IndexError(f"{self._file.path}: has tokens 0 to {self._num_tokens - 1}")
        wanted = tokens * self._itemsize
        low = np.zeros(tokens.shape, np.int64)
        high = np.full(tokens.shape, self.num_documents, np.int64)
        for _ in range(self.num_documents.bit_length()):
            middle = (low + high) >> 1
            # Where low and high have met, middle may be past the end; its value changes nothing.
            pointer = self._pointers[np.minimum(middle, self.num_documents - 1)]
            is_before = (pointer <= wanted) & (middle < high)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_before, high, middle)
        found = low - 1
        if found.min() < 0:
            raise self._unsound()
        if ((self._starts(found) > tokens) | (self._starts(found + 1) <= tokens)).any():
            raise self._unsound()
        return found

    @functools.cached_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Of every document, checked. [documents]"""
        self._file.check_range(HEADER_BYTES, HEADER_BYTES + 4 * self.num_documents)
        lengths = self._lengths.copy()
        if len(lengths) and lengths.min() < 0:
            raise self._unsound()
        if int(lengths.sum(dtype=np.int64)) != self._num_tokens:
            raise self._unsound()
        return lengths

    @functools.cached_property
    def offsets(self) -> _Int64s:
        """First token of every document, checked. [documents]"""
        begin = HEADER_BYTES + 4 * self.num_documents
        self._file.check_range(begin, begin + 8 * self.num_documents)
        offsets = np.cumsum(self.lengths, dtype=np.int64)
        offsets -= self.lengths
        for start in range(0, self.num_documents, PIECE):
            piece = slice(start, start + PIECE)
            if (self._pointers[piece] != offsets[piece] * self._itemsize).any():
                raise self._unsound()
        return offsets

    def check_structure(self) -> None:
        """Reads all of the index. Raises DataError where documents do not follow one another."""
        num_tokens = check_structure(self._file.path, self._arrays, self._itemsize)
        if num_tokens != self._num_tokens:
            raise self._unsound()

    def _starts(self, documents: _Int64s) -> _Int64s:
        """First token of each document; of the one past the last, the number of tokens."""
        is_past = documents == self.num_documents
        known = np.where(is_past, 0, documents)
        self._check(HEADER_BYTES + 4 * self.num_documents + 8 * known, 8)
        starts, rest = np.divmod(self._pointers[known], self._itemsize)
        if rest.any():
            raise self._unsound()
        return np.where(is_past, self._num_tokens, starts)

    def _check(self, first_bytes: _Int64s, num_bytes: int) -> None:
        self._file.check(first_bytes, np.full(first_bytes.shape, num_bytes, np.int64))

    def _unsound(self) -> DataError:
        """Every block is hashed: the one that has changed is named. Else the index never was right
        (or is not of these tokens)."""
        self._file.check_range(0, self._file.num_items)
        return DataError(
            f"{self._file.path}: its documents do not follow one another in the .bin; prepare the "
            "shard again, or convert it with `codemix data import`"
        )
