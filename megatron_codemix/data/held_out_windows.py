"""Held-out documents -> windows that a model scores: which documents, which tokens. Pure numpy.

A document is scored from its first token: the end-of-document token, which separates documents in
training, stands before it; with a document mask, too, it opens the document (data/documents.py).
Long documents are cut into consecutive windows without overlap, so a
window's first tokens have little context; that is the same for every model that is compared.

Of conversations the answers are scored, whatever a run has learned of them: so a model before
tuning can be compared with the one after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megatron_codemix.data.shards.token_shard import TokenShard


@dataclass(frozen=True)
class Window:
    """Consecutive tokens of one document: `inputs[i]` predicts `labels[i]`."""

    document: int
    """Number of the document in its shard."""
    inputs: np.ndarray
    labels: np.ndarray
    learned: np.ndarray | None = None
    """Of a conversation: which labels are its answers', and scored; None: all are. bool [labels]"""

    @property
    def scored(self) -> np.ndarray:
        """Which labels count, bool [labels]."""
        return np.ones(len(self.labels), np.bool_) if self.learned is None else self.learned


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
    scored, and of a conversation neither is what is no answer."""
    tokens = np.asarray(shard.document(document), dtype=np.int64)
    end = shard.manifest.end_of_document_id
    body = tokens[:-1] if len(tokens) and tokens[-1] == end else tokens
    body = body[:max_tokens]
    stream = np.concatenate([[end], body])
    learned = None
    if shard.answers is not None:
        first = int(shard.document_bounds(np.array([document]))[0][0])
        learned = shard.answers.between(first, first + len(body))
    return [
        Window(
            document,
            stream[start : min(start + sequence_length, len(stream) - 1)],
            stream[start + 1 : start + 1 + sequence_length],
            None if learned is None else learned[start : start + sequence_length],
        )
        for start in range(0, len(stream) - 1, sequence_length)
    ]
