"""A mapped file whose blocks are hashed when they are first touched."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.block_hashes import (
    BLOCK_BYTES,
    HashTree,
    block_digest,
    count_blocks,
)
from megatron_codemix.data.shards.mapped_file import map_bytes
from megatron_codemix.errors import DataError
from megatron_codemix.ops import find_unchecked_blocks

Inspect = Callable[[int, npt.NDArray[np.uint8]], None]
"""Told of a block's number and bytes once its hash agrees; may raise DataError."""


class CheckedBlocks(NamedTuple):
    """Which blocks of a file need not be checked again."""

    is_checked: npt.NDArray[np.bool_]
    """By block, as it is at any time [blocks]."""
    block_shift: int
    """A block holds 2^block_shift items."""


class CheckedFile:
    """`data` are the file's bytes; a reader calls `check` for what it is about to read.

    Threads may share it: a block is at worst hashed twice.
    """

    def __init__(
        self,
        path: Path,
        num_bytes: int,
        itemsize: int,
        tree: HashTree,
        first_block: int,
        inspect: Inspect | None = None,
    ) -> None:
        """`itemsize`: bytes of what the file is an array of, a power of two. `first_block`: the
        file's first in the tree. Raises DataError where the file does not have `num_bytes`."""
        self.path = path
        self.data = map_bytes(path)
        if len(self.data) != num_bytes:
            raise DataError(
                f"{path}: {len(self.data)} bytes, {num_bytes} expected by the manifest; "
                "copy the shard again"
            )
        self.num_items = num_bytes // itemsize
        self.num_blocks = count_blocks(num_bytes)
        self._block_shift = (BLOCK_BYTES // itemsize).bit_length() - 1
        self._tree, self._first_block, self._inspect = tree, first_block, inspect
        self._is_checked = np.zeros(self.num_blocks, bool)

    @property
    def checked_blocks(self) -> CheckedBlocks:
        """Of this file."""
        return CheckedBlocks(self._is_checked, self._block_shift)

    def check(self, first: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> None:
        """Hashes the blocks that these ranges of items touch, unless they were before.

        Raises ValueError where a range is outside the file, DataError where a block has changed.
        """
        for block in find_unchecked_blocks(
            first, length, self._block_shift, self.num_items, self._is_checked
        ).tolist():
            self.check_block(block)

    def check_range(self, start: int, stop: int) -> None:
        """`check` of the one range [start, stop) of items."""
        low, high = start >> self._block_shift, (stop - 1) >> self._block_shift
        if start < stop and not self._is_checked[low : high + 1].all():
            for block in range(low, high + 1):
                self.check_block(block)

    def check_block(self, block: int) -> None:
        """Hashes the block, unless it was before."""
        if self._is_checked[block]:
            return
        piece = self.data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        if block_digest(piece.data) != self._tree.digest(self._first_block + block):
            others = f"of 0 to {self.num_blocks - 1}" if self.num_blocks > 1 else "the only one"
            raise DataError(
                f"{self.path}: block {block} ({others}; bytes {block * BLOCK_BYTES} to "
                f"{block * BLOCK_BYTES + len(piece)}) has changed since the manifest was written; "
                "copy the shard again or prepare it anew"
            )
        if self._inspect is not None:
            self._inspect(block, piece)
        self._is_checked[block] = True
