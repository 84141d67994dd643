"""What a batch is made of: windows, positions, packed rows, blocks to check."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.best_fit import PackedRows
from megatron_codemix.ops.token_gather import RowParts


def gather_windows(
    arrays: Sequence[npt.NDArray[np.integer]], parts: RowParts, num_rows: int, width: int, fill: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The windows of ops.TokenGather, [num_rows, width], and the tokens of each."""
    rows: list[list[int]] = [[] for _ in range(num_rows)]
    for source, row, first, length in zip(*(column.tolist() for column in parts), strict=True):
        rows[row] += arrays[source][first : first + length].tolist()
    counts = np.array([len(row) for row in rows], np.int64)
    padded = [row + [fill] * (width - len(row)) for row in rows]
    return np.array(padded, np.int64).reshape(num_rows, width), counts


def fill_document_positions(
    document_lengths: Sequence[npt.NDArray[np.int32]],
    parts: RowParts,
    document: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    document_ids: npt.NDArray[np.int64],
    position_ids: npt.NDArray[np.int64],
) -> None:
    """See ops.fill_document_positions. Token by token."""
    num_rows, width = document_ids.shape
    rows: list[list[tuple[int, int]]] = [[] for _ in range(num_rows)]
    for i, row in enumerate(parts.row.tolist()):
        lengths = document_lengths[parts.source[i]]
        owners = np.repeat(np.arange(len(lengths)), lengths)
        start = int(lengths[: document[i]].sum() + offset[i])
        position = 0
        for token in range(start, start + int(parts.length[i])):
            is_border = token > start and owners[token] != owners[token - 1]
            position = 0 if is_border else position
            rows[row].append((int(owners[token]), position))
            position += 1
    for row, known in enumerate(rows):
        padding = [(-1, position) for position in range(width - len(known))]
        document_ids[row], position_ids[row] = np.array((known + padding)[:width]).T


def find_unchecked_blocks(
    first: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    block_shift: int,
    num_items: int,
    is_checked: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """See ops.find_unchecked_blocks."""
    is_touched = np.zeros(num_items, bool)
    for begin, count in zip(first.tolist(), length.tolist(), strict=True):
        is_touched[begin : begin + count] = True
    blocks = np.unique(np.flatnonzero(is_touched) >> block_shift)
    return blocks[~is_checked[blocks]]


def pack_best_fit(document_lengths: npt.NDArray[np.int32], row_length: int) -> PackedRows:
    """See ops.pack_best_fit. Looks at every row for every piece."""
    full = [
        (document, offset, row_length)
        for document, length in enumerate(document_lengths.tolist())
        for offset in range(0, length - row_length + 1, row_length)
    ]
    rests = [
        (document, length - length % row_length, length % row_length)
        for document, length in enumerate(document_lengths.tolist())
        if length % row_length
    ]
    rows: list[list[tuple[int, int, int]]] = []
    room: list[int] = []
    used: list[int] = []  # when the row got its room
    for now, piece in enumerate(sorted(rests, key=lambda piece: (-piece[2], piece[0]))):
        fitting = [row for row in range(len(rows)) if room[row] >= piece[2]]
        if fitting:
            row = min(fitting, key=lambda row: (room[row], -used[row]))
        else:
            row = len(rows)
            rows.append([])
            room.append(row_length)
            used.append(now)
        rows[row].append(piece)
        room[row] -= piece[2]
        used[row] = now
    ordered = [sorted(row, key=lambda piece: (piece[1] == 0, piece[0])) for row in rows]
    ordered += [[piece] for piece in full]
    starts = np.cumsum([0, *(len(row) for row in ordered)], dtype=np.int64)
    pieces = np.array([piece for row in ordered for piece in row], np.int64).reshape(-1, 3)
    return PackedRows(starts, pieces[:, 0], pieces[:, 1], pieces[:, 2].astype(np.int32))
