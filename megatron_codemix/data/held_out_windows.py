"""Held-out documents -> windows that a model scores: which documents, which tokens, in which
batches. Pure numpy.

A document is scored from its first token: the end-of-document token, which separates documents in
training, stands before it; with a document mask, too, it opens the document (data/documents.py).
Long documents are cut into consecutive windows without overlap, so a
window's first tokens have little context; that is the same for every model that is compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from megatron_codemix.data.batches import Batch
from megatron_codemix.data.shards.token_shard import TokenShard


@dataclass(frozen=True)
class Window:
    """Consecutive tokens of one document: `inputs[i]` predicts `labels[i]`."""

    document: int
    """Number of the document in its shard."""
    inputs: np.ndarray
    labels: np.ndarray


def choose_documents(document_bytes: Sequence[int], max_bytes: int) -> int:
    """How many documents, from the first, hold `max_bytes` of text; at least one.

    A shard's documents stand in an order given by a keyed hash of their origin, so its first ones
    are a sample.
    """
    total = np.cumsum(np.asarray(document_bytes, dtype=np.int64))
    return max(1, int(np.searchsorted(total, max_bytes, side="right")))


def cut_document(
    shard: TokenShard, document: int, sequence_length: int, max_tokens: int
) -> list[Window]:
    """Windows over the first `max_tokens` tokens of a document; its end-of-document token is not
    scored."""
    tokens = np.asarray(shard.document(document), dtype=np.int64)
    end = shard.manifest.end_of_document_id
    body = tokens[:-1] if len(tokens) and tokens[-1] == end else tokens
    stream = np.concatenate([[end], body[:max_tokens]])
    return [
        Window(
            document,
            stream[start : min(start + sequence_length, len(stream) - 1)],
            stream[start + 1 : start + 1 + sequence_length],
        )
        for start in range(0, len(stream) - 1, sequence_length)
    ]


def batches_of(windows: Sequence[Window], max_tokens: int) -> Iterator[tuple[list[Window], Batch]]:
    """Windows in batches of at most `max_tokens` padded tokens, longest first, so that little is
    padding."""
    ordered = sorted(windows, key=lambda window: -len(window.inputs))
    while ordered:
        size = max(1, max_tokens // len(ordered[0].inputs))
        taken, ordered = ordered[:size], ordered[size:]
        yield taken, _pad(taken)


def _pad(windows: Sequence[Window]) -> Batch:
    shape = (len(windows), len(windows[0].inputs))
    tokens, labels = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    mask = np.zeros(shape, np.float32)
    for row, window in enumerate(windows):
        length = len(window.inputs)
        tokens[row, :length] = window.inputs
        labels[row, :length] = window.labels
        mask[row, :length] = 1.0
    return Batch(
        tokens=tokens,
        labels=labels,
        loss_mask=mask,
        position_ids=np.broadcast_to(np.arange(shape[1]), shape).copy(),
        document_ids=None,  # a row is of one document, and its padding comes last
        source_id=np.zeros(shape[0], np.int16),
    )
