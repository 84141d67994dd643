"""The `.idx` of Megatron's format (MMIDIDX, version 1): where sequences lie in the `.bin`.

A header of 34 bytes, then for each sequence its length in tokens (int32) and where it starts in the
.bin in bytes (int64), then for each document the number of its first sequence, and their number
(int64). The header leaves everything after it unaligned.
"""

import struct
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.mapped_file import unreadable
from megatron_codemix.errors import DataError

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, document borders
HEADER_BYTES = _HEADER.size
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.uint8),
    2: np.dtype(np.int8),
    3: np.dtype(np.int16),
    4: np.dtype(np.int32),
    5: np.dtype(np.int64),
    6: np.dtype(np.float64),
    7: np.dtype(np.float32),
    8: np.dtype(np.uint16),
}
"""Megatron's numbers of types (megatron.core.datasets.indexed_dataset.DType)."""
_CODES = {dtype: code for code, dtype in DTYPES.items()}
PIECE = 1 << 20
"""Documents worked on at once, so that memory stays flat at any size."""


class IndexHeader(NamedTuple):
    """What the first 34 bytes say."""

    dtype: np.dtype[Any]
    num_sequences: int
    num_borders: int

    @property
    def num_bytes(self) -> int:
        """Of the whole file, unless it has modes at its end (Megatron's multimodal data)."""
        return HEADER_BYTES + 12 * self.num_sequences + 8 * self.num_borders

    def pack(self) -> bytes:
        """The 34 bytes."""
        code = _CODES[self.dtype]
        return _HEADER.pack(_MAGIC, _VERSION, code, self.num_sequences, self.num_borders)


def read_header(path: Path) -> IndexHeader:
    """Raises DataError where the file is absent, cut, or not MMIDIDX v1."""
    try:
        with open(path, "rb") as handle:
            data = handle.read(HEADER_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) < HEADER_BYTES:
        raise DataError(f"{path}: {len(data)} bytes are too few for an index; copy it again")
    magic, version, code, num_sequences, num_borders = _HEADER.unpack(data)
    if magic != _MAGIC or version != _VERSION:
        raise DataError(f"{path}: not a Megatron index (MMIDIDX, version {_VERSION})")
    if code not in DTYPES:
        raise DataError(f"{path}: token type number {code}; Megatron's are 1 to {len(DTYPES)}")
    return IndexHeader(DTYPES[code], num_sequences, num_borders)


class IndexArrays(NamedTuple):
    """Views of a mapped `.idx`; unaligned, so read pieces or chosen entries of them."""

    lengths: npt.NDArray[np.int32]
    """Tokens of each sequence."""
    pointers: npt.NDArray[np.int64]
    """Byte of the .bin at which each starts."""
    borders: npt.NDArray[np.int64]
    """First sequence of each document, and the number of sequences."""


def index_arrays(data: npt.NDArray[np.uint8], header: IndexHeader) -> IndexArrays:
    """Of a file's bytes, of which there are at least `header.num_bytes`."""
    pointers = HEADER_BYTES + 4 * header.num_sequences
    borders = pointers + 8 * header.num_sequences
    return IndexArrays(
        data[HEADER_BYTES:pointers].view(np.int32),
        data[pointers:borders].view(np.int64),
        data[borders : header.num_bytes].view(np.int64),
    )


def check_structure(path: Path, arrays: IndexArrays, itemsize: int) -> int:
    """Reads all of an index of one sequence a document. Returns the number of tokens.

    Raises DataError that names the first document that does not follow its predecessor.
    """
    num_documents, num_tokens = len(arrays.lengths), 0
    for start in range(0, num_documents, PIECE):
        lengths = arrays.lengths[start : start + PIECE].astype(np.int64)
        ends = num_tokens + np.cumsum(lengths)
        wrong = np.flatnonzero(
            (lengths < 0)
            | (arrays.pointers[start : start + PIECE] != (ends - lengths) * itemsize)
            | (
                arrays.borders[start : start + len(lengths)]
                != np.arange(start, start + len(lengths))
            )
        )
        if len(wrong):
            raise _unsound(path, start + int(wrong[0]), num_documents)
        num_tokens = int(ends[-1])
    if len(arrays.borders) != num_documents + 1 or arrays.borders[-1] != num_documents:
        raise _unsound(path, num_documents, num_documents)
    return num_tokens


def _unsound(path: Path, document: int, num_documents: int) -> DataError:
    return DataError(
        f"{path}: document {document} of {num_documents} does not follow the one before it in the "
        ".bin; damaged, or several sequences a document; prepare the shard again, or convert it "
        "with `codemix data import`"
    )


def finish_index(index: IO[bytes], num_documents: int, dtype: np.dtype[Any]) -> None:
    """Completes a `.idx` of one sequence a document that holds 34 bytes and the lengths so far.

    `index` is open for reading and writing. Pieces: memory stays flat at any size.
    """
    index.flush()
    end = HEADER_BYTES + 4 * num_documents
    index.seek(end)
    num_tokens = 0
    with open(index.name, "rb") as lengths:
        lengths.seek(HEADER_BYTES)
        for start in range(0, num_documents, PIECE):
            count = min(PIECE, num_documents - start)
            part = np.frombuffer(lengths.read(4 * count), np.int32).astype(np.int64)
            ends = num_tokens + np.cumsum(part)
            index.write(((ends - part) * dtype.itemsize).data)
            num_tokens = int(ends[-1])
    for start in range(0, num_documents + 1, PIECE):
        index.write(np.arange(start, min(start + PIECE, num_documents + 1)).data)
    index.seek(0)
    index.write(IndexHeader(dtype, num_documents, num_documents + 1).pack())
