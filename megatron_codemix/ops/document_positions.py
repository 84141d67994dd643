"""Which document each token of a batch is from, and its position there."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C
from megatron_codemix.ops.token_gather import RowParts


def fill_document_positions(
    document_lengths: Sequence[npt.NDArray[np.int32]],
    parts: RowParts,
    document: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    document_ids: npt.NDArray[np.int64],
    position_ids: npt.NDArray[np.int64],
) -> None:
    """Writes both, int64 [B, S], for the first S tokens of each row of `parts`.

    document_lengths: tokens of each document of each source, at any address (an .idx file has them
    from byte 34 on). document, offset: where the first token of each part lies.
    A token's document is its number in its source's shard. Its position counts from the start of
    its part, or of its document if that is later; so it restarts at 0 at each border of documents
    and at the start of the row. Padding has document -1, and positions from 0.
    Raises TypeError on other dtypes, ValueError on other shapes or parts outside the shards.
    """
    _C.fill_document_positions(
        [np.asarray(lengths) for lengths in document_lengths],
        parts.source,
        parts.row,
        parts.length,
        document,
        offset,
        document_ids,
        position_ids,
    )
