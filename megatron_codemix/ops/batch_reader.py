"""Batches of the default order, from the numbers of samples to tokens and labels in one call."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C
from megatron_codemix.ops.split_tree import SplitTree
from megatron_codemix.ops.token_gather import TokenGather
from megatron_codemix.ops.window_order import WindowOrder

_NO_END = np.iinfo(np.int64).max


class KnownPeriod(NamedTuple):
    """A repeating order of sources, of which some positions of a period are worked out."""

    order: npt.NDArray[np.int16]
    """Source of each position [period]."""
    draws: npt.NDArray[np.int32]
    """Which of the source's draws in the period it is [period]."""
    draws_per_period: npt.NDArray[np.int64]
    """All draws of each source in a period [sources]."""
    is_known: npt.NDArray[np.bool_]
    """Whether a block of 2^block_shift positions is; looked at in each call [blocks]."""
    block_shift: int


class WindowSource(NamedTuple):
    """A source of a segment, as far as it may be read without asking."""

    number: int
    """Of its tokens in the gather; what the batch says of its rows."""
    order: WindowOrder
    first_cursor: int
    """Cursor of its first draw in the segment."""
    stop_cursor: int
    """The first that is not to be read yet."""
    is_checked: npt.NDArray[np.bool_]
    """Whether a block of 2^block_shift tokens may be read; looked at in each call [blocks]."""
    block_shift: int


class BatchReader:
    """Reads samples of one segment of a mixture: draws, windows, gather. Threads may share it."""

    def __init__(
        self,
        gather: TokenGather,
        draws: KnownPeriod | SplitTree,
        sources: Sequence[WindowSource],
        *,
        first_sample: int,
        stop_sample: int | None,
    ) -> None:
        """The segment is samples [first_sample, stop_sample), without end where that is None;
        `sources` are in the order in which `draws` numbers them. All is kept alive.

        Raises TypeError on arrays of other dtypes, ValueError where `is_known` is too short.
        """
        stop = _NO_END if stop_sample is None else stop_sample
        windows = [
            (number, order.extension, first_cursor, stop_cursor, is_checked, block_shift)
            for number, order, first_cursor, stop_cursor, is_checked, block_shift in sources
        ]
        if isinstance(draws, SplitTree):
            self._reader = _C.BatchReader.of_tree(
                gather.extension, draws.extension, first_sample, stop, windows
            )
        else:
            self._reader = _C.BatchReader.of_period(
                gather.extension, *draws, first_sample, stop, windows
            )

    def read(
        self,
        samples: npt.NDArray[np.int64],
        tokens: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        source_ids: npt.NDArray[np.int16],
    ) -> bool:
        """Writes the samples' tokens and labels, [B, S] each, and their sources' numbers [B].

        False where one is outside the segment, or its draw, its window's epoch or one of its blocks
        is not known or checked yet; what was written then means nothing.
        Raises TypeError on other dtypes, ValueError on other shapes or a window outside its array.
        """
        return self._reader.read(samples, tokens, labels, source_ids)
