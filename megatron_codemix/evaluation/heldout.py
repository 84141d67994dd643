"""Bits per byte on the held-out documents of each source of a run.

bits per byte = (sum of the token losses in nats) / ln 2 / (UTF-8 bytes of the scored tokens).
Unlike the loss per token it can be compared between tokenizers. Of conversations the answers are
scored (data/held_out_windows.py).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from megatron_codemix.data.held_out import MAX_DOCUMENT_WINDOWS, HeldOutSource
from megatron_codemix.data.held_out_windows import Window, cut_document
from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.engine.requests import LanguageModel, Score, ScoreRequest
from megatron_codemix.evaluation.tasks.run import TaskResult
from megatron_codemix.files import Json
from megatron_codemix.runs import HELDOUT


class HeldOutTask:
    """Documents that no training step reads, from their first token on."""

    name = HELDOUT

    def __init__(self, sources: Sequence[HeldOutSource], max_bytes_per_source: int) -> None:
        self.sources = sources
        self.max_bytes_per_source = max_bytes_per_source

    @property
    def settings(self) -> Mapping[str, Json]:
        """The shards' content, and how much of it."""
        return {
            "max_bytes_per_source": self.max_bytes_per_source,
            "shards": {one.name: one.shard.manifest.content_hash for one in self.sources},
        }

    def run(self, model: LanguageModel) -> TaskResult:
        """Items are documents."""
        parts = [
            (number, window.document, request)
            for number, source in enumerate(self.sources)
            for window in _windows(source, model.max_length)
            for request in _requests(window)
        ]
        found: dict[int, float] = {}

        def keep(number: int, scores: list[Score]) -> None:
            [score] = scores
            found[number] = score.log_likelihood

        model.score([request for _, _, request in parts], keep)
        lengths = model.tokenizer.token_byte_lengths
        totals: dict[tuple[int, int], list[float]] = {}
        for number, (source, document, request) in enumerate(parts):
            [tokens] = request.continuations
            total = totals.setdefault((source, document), [0, 0, 0.0])
            counts = (lengths[tokens].sum(), len(tokens), -found[number])
            totals[source, document] = [a + b for a, b in zip(total, counts, strict=True)]
        items = [
            _item(source, document, totals.get((number, document), [0, 0, 0.0]))
            for number, source in enumerate(self.sources)
            for document in range(source.num_documents)
        ]
        return TaskResult(items=items, summary=self._summary(items))

    def _summary(self, items: Sequence[Mapping[str, Json]]) -> Mapping[str, Json]:
        return {
            "max_bytes_per_source": self.max_bytes_per_source,
            "sources": {source.name: summarize(items, source.name) for source in self.sources},
        }


def summarize(lines: Iterable[Mapping[str, Json]], source: str) -> dict[str, Json]:
    """Totals and bits per byte over the lines of one source. Raises DataError where nothing was
    scored."""
    rows = [line for line in lines if line["source"] == source]
    nats, size = math.fsum(row["nats"] for row in rows), sum(row["bytes"] for row in rows)
    if not size:
        raise DataError(
            f"source {source!r}: no answer within the held-out text that is scored; raise "
            "--max-bytes-per-source"
        )
    return {
        "documents": len(rows),
        "bytes": size,
        "tokens": sum(row["tokens"] for row in rows),
        "nats": nats,
        "bits_per_byte": nats / math.log(2) / size,
    }


def _windows(source: HeldOutSource, length: int) -> list[Window]:
    return [
        window
        for document in range(source.num_documents)
        for window in cut_document(source.shard, document, length, MAX_DOCUMENT_WINDOWS * length)
    ]


def _requests(window: Window) -> Iterator[ScoreRequest]:
    """One for all labels; of a conversation one for each answer, behind all that stands before
    it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], window.scored, [False]])))
    tokens = [*window.inputs[:1].tolist(), *window.labels.tolist()]
    for start, stop in edges.reshape(-1, 2).tolist():
        yield ScoreRequest(
            context=tokens[: start + 1], continuations=[tokens[start + 1 : stop + 1]]
        )


def _item(source: HeldOutSource, document: int, totals: Sequence[float]) -> dict[str, Json]:
    size, tokens, nats = totals
    return {
        "source": source.name,
        "document": document,
        "id": source.ids[document],
        "bytes": int(size),
        "tokens": int(tokens),
        "nats": nats,
    }
