"""Rows of whole documents: packed once by best fit, read in a keyed order that is new in every
epoch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.order.parts import Parts
from megatron_codemix.data.order.stateless import source_key
from megatron_codemix.errors import DataError
from megatron_codemix.ops import invert_permutation, pack_best_fit, permute


class BestFitOrder:
    """Samples of whole documents (ops.pack_best_fit), padded where nothing fits.

    A row of sequence_length + 1 tokens opens with the token that stands before its first piece in
    the shard: an end-of-document token, or where a long document was cut the token before the cut;
    so each token that is packed is a label exactly once in an epoch. The rows are the same in every
    epoch, their order is a keyed permutation of its own.

    Holds 12 bytes for each piece of a document and 8 for each row; building takes 40 more for each
    document for a moment.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        sequence_length: int,
        key: int,
        kept: npt.NDArray[np.int32] | None = None,
    ) -> None:
        """lengths, offsets: tokens of each document and where they start, as in the shard. key:
        source_key. kept: how many of each document's tokens are packed, from its first one on;
        absent: all. Raises DataError if the documents are empty."""
        self.sequence_length = sequence_length
        self.key = key
        self._num_tokens = int(lengths.sum(dtype=np.int64))
        kept = lengths if kept is None else kept
        if not kept.any():
            raise DataError("no document has a token, so there is nothing to pack")
        packed = pack_best_fit(kept, sequence_length)
        self._row_start = packed.row_start
        self._first = offsets[packed.document] + packed.offset
        self._length = packed.length
        self.samples_per_epoch = len(packed.row_start) - 1

    def parts(self, cursors: npt.NDArray[np.int64]) -> Parts:
        """Where the samples lie (int64 cursors, each >= 0): its opening token, then its pieces."""
        rows = self._rows(cursors)
        begin = self._row_start[rows]
        num_parts = self._row_start[rows + 1] - begin + 1
        row = np.repeat(np.arange(len(rows)), num_parts)
        number = np.arange(len(row)) - np.repeat(np.cumsum(num_parts) - num_parts, num_parts)
        piece = begin[row] + np.maximum(number - 1, 0)
        is_opening = number == 0
        first = np.where(
            is_opening, (self._first[piece] - 1) % self._num_tokens, self._first[piece]
        )
        return Parts(row, first, np.where(is_opening, 1, self._length[piece].astype(np.int64)))

    def cursor_of(self, epoch: int, token: int) -> int | None:
        """The sample of `epoch` in which this token of the shard is a label."""
        pieces = np.flatnonzero((self._first <= token) & (token < self._first + self._length))
        if not len(pieces):
            return None
        row = np.searchsorted(self._row_start, pieces[:1], side="right") - 1
        place = invert_permutation(row, self.samples_per_epoch, self._epoch_key(epoch))
        return epoch * self.samples_per_epoch + int(place[0])

    def _rows(self, cursors: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if cursors.size and cursors.min() < 0:
            raise ValueError(f"cursor {cursors.min()} is negative")
        rows = np.empty(len(cursors), np.int64)
        epochs = cursors // self.samples_per_epoch
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            places = cursors[chosen] - epoch * self.samples_per_epoch
            rows[chosen] = permute(places, self.samples_per_epoch, self._epoch_key(epoch))
        return rows

    def _epoch_key(self, epoch: int) -> int:
        return source_key(self.key, f"packed rows of epoch {epoch}")


@dataclass(frozen=True)
class PackingReport:
    """What packing costs and what it saves, for one pass over a source."""

    num_rows: int
    padding_share: float
    """Share of the labels that are padding."""
    num_documents: int
    """Those that are not empty."""
    num_cut: int
    """Documents that are longer than a row: packing cuts no others."""
    num_cut_if_concatenated: float
    """Expected number that the borders of windows would cut, the windows' start being uniform."""


def describe_packing(lengths: npt.NDArray[np.int32], sequence_length: int) -> PackingReport:
    """The report for documents of these lengths."""
    lengths = lengths[lengths > 0]
    num_rows = len(pack_best_fit(lengths, sequence_length).row_start) - 1
    num_labels = num_rows * sequence_length
    num_tokens = int(lengths.sum(dtype=np.int64))
    return PackingReport(
        num_rows=num_rows,
        padding_share=1 - num_tokens / num_labels if num_labels else 0.0,
        num_documents=len(lengths),
        num_cut=int((lengths > sequence_length).sum()),
        # A document of n tokens has n - 1 places where a border can fall.
        num_cut_if_concatenated=float(np.minimum(1.0, (lengths - 1) / sequence_length).sum()),
    )
