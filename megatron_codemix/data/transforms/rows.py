"""Samples that are changed after they were read, or are shorter than a row."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.batches import Batch
from megatron_codemix.data.documents import PADDING, positions_in_documents

_Int64s = npt.NDArray[np.int64]


class TransformedRow(NamedTuple):
    """A sample after a transform."""

    tokens: _Int64s
    """[sequence_length + 1]"""
    documents: _Int64s
    """Document of each token, -1 in padding, which comes last [sequence_length + 1]."""


class RowTransform(Protocol):
    """Changes the samples of a source one by one. Threads may share one."""

    def apply(self, tokens: _Int64s, documents: _Int64s, cursor: int) -> TransformedRow:
        """What becomes of the sample that the source gives at `cursor`: a pure function of the
        arguments. tokens and documents as in TransformedRow."""
        ...


def mask_padding(batch: Batch, num_tokens: _Int64s) -> None:
    """Takes what lies past the first num_tokens tokens of each row, int64 [B], out of the loss.

    The last token of a short row becomes an input like that of a full one, so that labels are the
    inputs one place later in every row.
    """
    num_labels = np.maximum(num_tokens - 1, 0)
    length = batch.tokens.shape[1]
    batch.loss_mask[:] = np.arange(length) < num_labels[:, None]
    short = np.flatnonzero((num_labels > 0) & (num_labels < length))
    batch.tokens[short, num_labels[short]] = batch.labels[short, num_labels[short] - 1]


def transform_rows(
    batch: Batch, rows: _Int64s, documents: _Int64s, cursors: _Int64s, transform: RowTransform
) -> None:
    """Replaces these rows of a batch by what the transform makes of them.

    documents: of each token of the rows [rows, S + 1]; cursors: of the source [rows].
    """
    for row, owners, cursor in zip(rows.tolist(), documents, cursors.tolist(), strict=True):
        tokens = np.append(batch.tokens[row], batch.labels[row, -1])
        made = transform.apply(tokens, owners, cursor)
        batch.tokens[row], batch.labels[row] = made.tokens[:-1], made.tokens[1:]
        of_labels = made.documents[1:]
        batch.loss_mask[row] = of_labels != PADDING
        if batch.document_ids is not None:
            batch.document_ids[row] = of_labels
            batch.position_ids[row] = positions_in_documents(of_labels[None])[0]
