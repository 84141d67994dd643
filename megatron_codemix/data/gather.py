"""Samples of several sources as one call of the gather."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.order.parts import Parts
from megatron_codemix.ops import RowParts


class SourceRows(NamedTuple):
    """What a batch reads of one source."""

    source: int
    """Number of the source's token array in the gather."""
    rows: npt.NDArray[np.int64]
    """The batch's row for each sample that was asked for."""
    parts: Parts
    """Where these samples lie; `parts.row` counts the samples asked for."""


def row_parts(pieces: Iterable[SourceRows]) -> RowParts:
    """All of a batch's parts, source after source; the rows' order does not matter to the
    gather."""
    source, row, first, length = [], [], [], []
    for number, rows, parts in pieces:
        source.append(np.full(len(parts.row), number, np.int16))
        row.append(rows[parts.row])
        first.append(parts.first)
        length.append(parts.length)
    return RowParts(
        np.concatenate(source), np.concatenate(row), np.concatenate(first), np.concatenate(length)
    )


def label_parts(parts: RowParts) -> RowParts:
    """Where the rows' labels lie: all but the first token of each row."""
    is_first = np.ones(len(parts.row), bool)
    is_first[1:] = (parts.row[1:] != parts.row[:-1]) | (parts.source[1:] != parts.source[:-1])
    length = parts.length - is_first
    kept = length > 0
    return RowParts(
        parts.source[kept], parts.row[kept], (parts.first + is_first)[kept], length[kept]
    )
