"""A shard without manifest: sizes and structure checked, its bytes taken as they are."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.index_file import check_structure, index_arrays, read_header
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.mapped_file import map_bytes
from megatron_codemix.errors import DataError


class UncheckedShard(NamedTuple):
    """Both are mapped; `lengths` is unaligned, so read pieces of it."""

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int32]


def open_unchecked(prefix: Path) -> UncheckedShard:
    """Reads the whole .idx of a `.bin` and `.idx` of uint16 or int32, one sequence a document.

    Raises DataError where they are absent, cut, of another form, or do not fit each other.
    """
    path, bin_path = shard_file(prefix, ".idx"), shard_file(prefix, ".bin")
    header = read_header(path)
    if header.dtype not in (np.uint16, np.int32):
        raise DataError(
            f"{path}: tokens of type {header.dtype.name}; uint16 and int32 can be read as they "
            "are; convert the shard with `codemix data import`"
        )
    if header.num_borders != header.num_sequences + 1:
        raise DataError(
            f"{path}: {header.num_sequences} sequences in {header.num_borders - 1} documents; "
            "a shard has one a document; convert it with `codemix data import`"
        )
    data = map_bytes(path)
    if len(data) != header.num_bytes:
        raise DataError(
            f"{path}: {len(data)} bytes, {header.num_bytes} expected for "
            f"{header.num_sequences} documents; copy it again"
        )
    arrays = index_arrays(data, header)
    num_tokens = check_structure(path, arrays, header.dtype.itemsize)
    tokens = map_bytes(bin_path)
    wanted = num_tokens * header.dtype.itemsize
    if len(tokens) != wanted:
        raise DataError(
            f"{bin_path}: {len(tokens)} bytes, the index wants {wanted}; copy the shard again"
        )
    return UncheckedShard(tokens.view(header.dtype), arrays.lengths)
