"""Rows of a batch, copied from pieces of several sources' token arrays in one call."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


class RowParts(NamedTuple):
    """Pieces of token arrays, in reading order; the pieces of a row are neighbours. All [parts]."""

    source: npt.NDArray[np.int16]
    """Number of the token array."""
    row: npt.NDArray[np.int64]
    """Row of the batch."""
    first: npt.NDArray[np.int64]
    """First token, counted in the array."""
    length: npt.NDArray[np.int64]
    """Tokens, at least 1."""


class TokenGather:
    """Copies rows out of the sources' tokens without the GIL, in the caller's buffers.

    A row is the window of tokens that its parts make, one after the other; a row without parts is
    all padding. Nothing is written unless all parts lie in the arrays and fit their rows.

    May be used by several threads; of those that call at once, one has the threads of
    `num_threads`. A forked child starts its own.
    """

    def __init__(self, arrays: Sequence[npt.NDArray[np.integer]], *, num_threads: int = 1) -> None:
        """arrays: each source's tokens, flat, uint16 or int32, memory maps as a rule; they are kept
        alive and read in place. num_threads: the caller's included; used from a megabyte for each
        on.

        Raises TypeError on arrays of another kind, ValueError if num_threads < 1.
        """
        self.extension = _C.TokenGather([np.asarray(array) for array in arrays], num_threads)

    def tokens_and_labels(
        self,
        parts: RowParts,
        tokens: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        *,
        fill: int,
    ) -> npt.NDArray[np.int64]:
        """Writes each row's window without its last token to `tokens`, without its first to
        `labels`, int64 [B, S] both, and `fill` from where the window has ended.

        Returns the tokens of each window, int64 [B], at most S + 1: a row of n tokens has n - 1
        labels. Fastest on buffers that start at a multiple of 64 bytes.
        Raises TypeError on other dtypes, ValueError on other shapes or parts outside the arrays.
        """
        return self.extension.tokens_and_labels(*parts, fill, tokens, labels)

    def windows(
        self, parts: RowParts, rows: npt.NDArray[np.integer], *, fill: int
    ) -> npt.NDArray[np.int64]:
        """Writes each row's window to `rows`, uint16 or int32 [B, W] as the sources are, and `fill`
        from where it has ended.

        Returns the tokens of each window, int64 [B], at most W. Raises as `tokens_and_labels`;
        TypeError too if `fill` does not fit the rows, ValueError if a source has another dtype.
        """
        return self.extension.windows(*parts, fill, rows)
