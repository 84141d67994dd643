"""Held-out losses while a phase is trained, with the model as it lies.

Bits per byte are those of `codemix evaluate`: the same documents, cut into the same windows; of
conversations the answers alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.backend.devices import Backend
from megatron_codemix.data.batches import Batch
from megatron_codemix.data.held_out import MAX_DOCUMENT_WINDOWS, HeldOutSource, held_out_sources
from megatron_codemix.data.held_out_windows import Window, cut_document
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.scoring import GroupedBatch, group_nats
from megatron_codemix.train.phase import Phase

NUM_BUCKETS = 32
"""Of positions and of lengths: bucket b holds 2^b to 2^(b + 1) - 1, counted from 1."""


@dataclass(frozen=True)
class Validation:
    """Held-out losses after a step."""

    line: dict[str, Any]
    """For `validation.jsonl`."""
    documents: list[dict[str, Any]]
    """For `validation.documents.jsonl`, as `codemix evaluate` has them."""


@dataclass(frozen=True)
class _Document:
    """A held-out document."""

    source: int
    number: int
    id: str
    length_bucket: int


@dataclass(frozen=True)
class _Row:
    """A window with the groups of its labels."""

    window: Window
    source: int
    groups: np.ndarray
    """int64 [labels]"""


class Validator:
    """Scores the held-out windows of a phase's sources. Every rank has one."""

    def __init__(self, phase: Phase, parallel: ModelParallel, backend: Backend) -> None:
        """Raises DataError if no source has held-out documents, or of one nothing is scored."""
        asked = phase.config.validation
        assert asked is not None, "a phase without validation has no Validator"
        self.asked, self.parallel, self.backend = asked, parallel, backend
        self.length = phase.config.data.sequence_length
        self.microbatch = phase.config.layout.microbatch_sequences
        self.virtual_stages = phase.config.layout.virtual_pipeline
        sources = held_out_sources(phase.config, asked.max_bytes_per_source)
        self.names = [source.name for source in sources]
        self.documents = [
            _Document(number, document, one.ids[document], _length_bucket(one, document))
            for number, one in enumerate(sources)
            for document in range(one.num_documents)
        ]
        rows = [
            row
            for place, document in enumerate(self.documents)
            for row in self._rows(place, document, sources[document.source])
        ]
        bytes_of = Tokenizer.load(phase.config.tokenizer.path).token_byte_lengths
        self.tokens, self.bytes = (np.zeros(self._num_groups, np.int64) for _ in range(2))
        for row in rows:
            groups, scored = row.groups[row.window.scored], row.window.labels[row.window.scored]
            np.add.at(self.tokens, groups, 1)
            np.add.at(self.bytes, groups, bytes_of[scored])
        self._require_scored()
        self.microbatches = list(self._batches(rows))

    @property
    def _num_groups(self) -> int:
        """A document, a bucket of positions in it."""
        return len(self.documents) * NUM_BUCKETS

    def score(self, model: Sequence[Any], step: int) -> Validation:
        """Equal on every rank. Every rank calls it.

        model: its chunks, as `mcore` builds them.
        """
        nats = group_nats(
            model,
            self.microbatches,
            num_groups=self._num_groups,
            parallel=self.parallel,
            backend=self.backend,
        )
        shape = (len(self.documents), NUM_BUCKETS)
        sums = [array.reshape(shape) for array in (nats, self.tokens, self.bytes)]
        sources = {}
        for number, name in enumerate(self.names):
            places = [place for place, one in enumerate(self.documents) if one.source == number]
            lengths = np.array([self.documents[place].length_bucket for place in places])
            own = [array[places] for array in sums]
            sources[name] = _totals(*(array.sum() for array in own))
            if self.asked.by_position:
                sources[name]["by_position"] = _buckets(*(array.sum(0) for array in own))
            if self.asked.by_document_length:
                by_length = (np.bincount(lengths, array.sum(1), NUM_BUCKETS) for array in own)
                sources[name]["by_document_length"] = _buckets(*by_length)
        return Validation(
            line={"step": step, "sources": sources},
            documents=[
                {
                    "step": step,
                    "source": self.names[document.source],
                    "document": document.number,
                    "id": document.id,
                    "bytes": int(size),
                    "tokens": int(tokens),
                    "nats": float(loss),
                }
                for document, loss, tokens, size in zip(
                    self.documents, *(array.sum(1) for array in sums), strict=True
                )
            ],
        )

    def _require_scored(self) -> None:
        """Raises DataError for a source of which nothing is scored."""
        by_document = self.bytes.reshape(len(self.documents), NUM_BUCKETS).sum(1)
        scored = {one.source for one, n in zip(self.documents, by_document, strict=True) if n}
        empty = [name for number, name in enumerate(self.names) if number not in scored]
        if empty:
            raise DataError(
                f"validation: no answer within the held-out text that is scored of "
                f"{', '.join(empty)}; raise validation.max_bytes_per_source"
            )

    def _rows(self, place: int, document: _Document, source: HeldOutSource) -> Iterator[_Row]:
        """Windows of the document at this place among all."""
        most = MAX_DOCUMENT_WINDOWS * self.length
        before = 0
        for window in cut_document(source.shard, document.number, self.length, most):
            positions = before + 1 + np.arange(len(window.labels))
            before += len(window.labels)
            yield _Row(window, document.source, place * NUM_BUCKETS + _bucket(positions))

    def _batches(self, rows: list[_Row]) -> Iterator[GroupedBatch]:
        """This data-parallel rank's rows in microbatches of one shape, as many as on every other
        rank; rows that are missing do not count."""
        ranks, size = self.parallel.data_size, self.microbatch
        count = math.ceil(len(rows) / (ranks * size))
        if self.virtual_stages > 1:  # an interleaved schedule needs a multiple of the stages
            stages = self.parallel.pipeline_size
            count = math.ceil(count / stages) * stages
        mine = rows[self.parallel.data_rank :: ranks]
        for start in range(0, count * size, size):
            yield self._batch(mine[start : start + size])

    def _batch(self, rows: list[_Row]) -> GroupedBatch:
        shape = (self.microbatch, self.length)
        tokens, labels, groups = (np.zeros(shape, np.int64) for _ in range(3))
        mask, source_id = np.zeros(shape, np.float32), np.zeros(self.microbatch, np.int16)
        for place, row in enumerate(rows):
            count = len(row.window.labels)
            tokens[place, :count], labels[place, :count] = row.window.inputs, row.window.labels
            groups[place, :count], mask[place, :count] = row.groups, row.window.scored
            source_id[place] = row.source
        batch = Batch(
            tokens=tokens,
            labels=labels,
            loss_mask=mask,
            position_ids=np.broadcast_to(np.arange(self.length), shape).copy(),
            document_ids=None,  # a row is of one document, and its padding comes last
            source_id=source_id,
        )
        return GroupedBatch(batch=batch, groups=groups)


def _bucket(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bucket of each number >= 1."""
    buckets: npt.NDArray[np.int64] = np.log2(numbers).astype(np.int64)
    return buckets


def _length_bucket(source: HeldOutSource, document: int) -> int:
    return int(_bucket(np.array(len(source.shard.document(document)))))


def _totals(nats: float, tokens: int, size: int) -> dict[str, Any]:
    return {
        "nats": float(nats),
        "tokens": int(tokens),
        "bytes": int(size),
        "loss_nats": float(nats / tokens),
        "bits_per_byte": float(nats / math.log(2) / size),
    }


def _buckets(nats: np.ndarray, tokens: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    """`16-31` -> totals, of the buckets that hold something."""
    return {
        f"{2**number}-{2 ** (number + 1) - 1}": _totals(nats[number], tokens[number], sizes[number])
        for number in np.flatnonzero(tokens)
    }
