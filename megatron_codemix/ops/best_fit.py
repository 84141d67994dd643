"""Whole documents packed into rows by best fit decreasing."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


class PackedRows(NamedTuple):
    """Row r is the pieces [row_start[r], row_start[r + 1])."""

    row_start: npt.NDArray[np.int64]
    """[rows + 1]"""
    document: npt.NDArray[np.int64]
    """Whose tokens each piece is [pieces]."""
    offset: npt.NDArray[np.int64]
    """Of its first token in the document [pieces]."""
    length: npt.NDArray[np.int32]
    """Its tokens [pieces]."""


def pack_best_fit(document_lengths: npt.NDArray[np.int32], row_length: int) -> PackedRows:
    """Every token of the documents once, in rows of at most `row_length` tokens.

    Documents longer than a row are cut into full rows and a rest; rests and shorter documents are
    taken longest first, each into the fullest row that has room (Ding et al. 2024, arXiv
    2404.10830; csrc/batch/best_fit.h has the ties). Packed rows come first, full rows of long
    documents after them; empty documents are nowhere.
    Raises TypeError on another dtype, ValueError on a negative length or row_length < 1.
    """
    lengths = np.ascontiguousarray(document_lengths)
    # Memory grows with the row; one that holds all documents is long enough.
    longest = max(1, int(lengths.sum(dtype=np.int64)))
    return PackedRows(*_C.pack_best_fit(lengths, min(row_length, longest)))
