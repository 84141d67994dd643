"""From a step of a run to the documents that it read, and from a document to the steps that read
it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.audit import recorded_plan
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.documents_file import find_document, read_records
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.order.stateless import StatelessOrder
from megatron_codemix.data.resolve import DataPlan, resolve_data
from megatron_codemix.data.source import DocumentSpan, Source
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError, RunError
from megatron_codemix.ledgers import require_ledger
from megatron_codemix.lineage import chain_of
from megatron_codemix.runs import RunDirectory

_Int64s = npt.NDArray[np.int64]

_CURSORS_AT_ONCE = 1 << 16
_SAMPLES_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class TracedSpan:
    """Tokens first_token .. last_token (both included) of a document. `record` is its line of
    documents.jsonl; `text` is decoded on demand, in `pieces` that are learned or not."""

    document: int
    first_token: int
    last_token: int
    record: dict[str, Any]
    text: str | None
    learned: list[tuple[int, int]] | None
    """Where answers alone are learned: first and last token of each run of the document's tokens
    that counts in the loss."""
    pieces: list[tuple[str, bool]] | None = None
    """Where answers alone are learned: (text, whether it is learned), on demand."""


@dataclass(frozen=True)
class TracedSample:
    """`sample` counts from the start of the run; `epoch` is the source's, from 0."""

    sample: int
    row: int
    """In the step's global batch."""
    source: str
    epoch: int
    spans: list[TracedSpan]


@dataclass(frozen=True)
class Reading:
    """A sample in which tokens of the document stood, first_token .. last_token (both included)."""

    run: str
    step: int
    sample: int
    row: int
    epoch: int
    first_token: int
    last_token: int


class RunReader:
    """What a run read, recomputed from its configuration and compared with what it recorded."""

    def __init__(self, run: RunDirectory, config: RunConfig) -> None:
        """Raises RunError where shards or mixture are no longer those that the run recorded."""
        self.run, self.config = run, config
        self.plan = _require_recorded(run, resolve_data(config))
        self.dataset: MixtureDataset = self.plan.dataset()
        self.batches = batch_sizes(config)

    @property
    def num_steps(self) -> int:
        """Steps that the run has made, by its status."""
        status = self.run.read_status()
        return status.step if status else 0

    def trace_step(
        self, step: int, sample: int | None = None, *, with_text: bool = False
    ) -> list[TracedSample]:
        """What each sample (or the `sample`-th, from 0) of a step (from 1, as in the metrics) was
        made of. Raises RunError on a step that the run has not made."""
        if not 1 <= step <= self.num_steps:
            raise RunError(f"{self.run.path}: has made steps 1 to {self.num_steps}, not {step}")
        size, first = self.batches.sequences(step - 1), self.batches.samples(step - 1)
        if sample is not None and not 0 <= sample < size:
            raise RunError(
                f"{self.run.path}: step {step} has samples 0 to {size - 1}, not {sample}"
            )
        rows = range(size) if sample is None else [sample]
        numbers = [first + row for row in rows]
        spans = [self.dataset.documents(number) for number in numbers]
        records = self._records([span for one in spans for span in one])
        tokenizer = Tokenizer.load(self.config.tokenizer.path) if with_text else None
        traced = []
        for row, number, parts in zip(rows, numbers, spans, strict=True):
            name, cursor = self.dataset.locate(number)
            epoch = cursor // self.dataset.source(name).order.samples_per_epoch
            found = [
                self._span(span, records, tokenizer, opens_sample=place == 0)
                for place, span in enumerate(parts)
            ]
            traced.append(TracedSample(number, row, name, epoch, found))
        return traced

    def trace_document(self, name: str, document: int) -> Iterator[Reading]:
        """Every sample of the run so far that read a token of the document, in order."""
        if name not in self.dataset.source_names:
            return
        source = self.dataset.source(name)
        bounds = source.shard.document_bounds(np.array([document]))
        first, length = (int(bound[0]) for bound in bounds)
        number = self.dataset.source_names.index(name)
        num_samples = self.batches.samples(self.num_steps)
        num_draws = int(self.dataset.mixture.counts(num_samples)[number])
        cursors = (source.start_cursor, source.start_cursor + num_draws)
        found = []
        length_of_sample = self.dataset.sequence_length
        for cursor, start, stop in read_at(
            source, length_of_sample, cursors, first, first + length
        ):
            sample = sample_of_draw(
                self.dataset.mixture, number, cursor - source.start_cursor, num_samples
            )
            step = self.batches.step_of(sample)
            row = sample - self.batches.samples(step)
            epoch = cursor // source.order.samples_per_epoch
            span = (start - first, stop - 1 - first)
            found.append(Reading(str(self.run.path), step + 1, sample, row, epoch, *span))
        yield from sorted(found, key=lambda reading: (reading.sample, reading.first_token))

    def _records(self, spans: list[DocumentSpan]) -> dict[tuple[str, int], dict[str, Any]]:
        records = {}
        for name in {span.source for span in spans}:
            numbers = [span.document for span in spans if span.source == name]
            prefix = self.dataset.source(name).shard.prefix
            for number, record in read_records(prefix, numbers).items():
                records[name, number] = record
        return records

    def _span(
        self,
        span: DocumentSpan,
        records: dict[tuple[str, int], dict[str, Any]],
        tokenizer: Tokenizer | None,
        *,
        opens_sample: bool,
    ) -> TracedSpan:
        """opens_sample: its first token is an input alone, and no label."""
        tokens = self.dataset.source(span.source).shard.document(span.document)
        tokens = tokens[span.first_token : span.last_token + 1]
        runs = self._runs(span, opens_sample=opens_sample) if self.dataset.answers_only else None
        first, text, learned, pieces = span.first_token, None, None, None
        if tokenizer is not None:
            text = tokenizer.decode(tokens)
        if runs is not None:
            learned = [(first + a, first + b - 1) for a, b, is_learned in runs if is_learned]
            if tokenizer is not None:
                pieces = [(tokenizer.decode(tokens[a:b]), is_learned) for a, b, is_learned in runs]
        record = records.get((span.source, span.document), {})
        return TracedSpan(
            span.document, span.first_token, span.last_token, record, text, learned, pieces
        )

    def _runs(self, span: DocumentSpan, *, opens_sample: bool) -> list[tuple[int, int, bool]]:
        """[start, stop) in the span of tokens that are all learned, or all not."""
        shard = self.dataset.source(span.source).shard
        assert shard.answers is not None, shard.prefix
        begin = int(shard.document_bounds(np.array([span.document]))[0][0])
        learned = shard.answers.between(begin + span.first_token, begin + span.last_token + 1)
        learned[0] &= not opens_sample
        edges = [0, *(np.flatnonzero(np.diff(learned)) + 1).tolist(), len(learned)]
        return [(start, stop, bool(learned[start])) for start, stop in pairwise(edges)]


def _require_recorded(run: RunDirectory, plan: DataPlan) -> DataPlan:
    recorded = recorded_plan(run)
    lines = require_ledger(run)
    num_samples = lines[-1]["samples"] if lines else 0
    changed = sorted(
        name
        for name, content in plan.manifest_hashes.items()
        if recorded.manifest_hashes.get(name, content) != content
    )
    if changed:
        raise RunError(
            f"{run.path}: the shards of {', '.join(changed)} are no longer those that it read; put "
            "the former files back"
        )
    if plan.mixture.first_difference(recorded.mixture, num_samples) is not None:
        raise RunError(
            f"{run.config}: gives another mixture than the run recorded; it was changed by hand"
        )
    return plan


def trace_step(
    path: Path, step: int, sample: int | None = None, *, with_text: bool = False
) -> list[TracedSample]:
    """RunReader.trace_step of the run at `path`."""
    asked = chain_of(path)[-1]
    return RunReader(asked.run, asked.config).trace_step(step, sample, with_text=with_text)


def trace_chain(path: Path, name: str, document: str) -> list[Reading]:
    """Every sample of a run and its parents that read a token of a document, oldest run first.

    document: its number in the shard, or its id. Raises DataError, RunError.
    """
    readings: list[Reading] = []
    chain = chain_of(path)
    known = sorted({source for link in chain for source in link.config.data.sources})
    if name not in known:
        raise RunError(f"{path}: has no source {name!r}; it has {', '.join(known)}")
    for link in chain:
        reader = RunReader(link.run, link.config)
        if name in reader.dataset.source_names:
            number = _document_number(reader.dataset.source(name), document)
            found = reader.trace_document(name, number)
            readings += (reading for reading in found if reading.step <= link.step)
    return readings


def _document_number(source: Source, document: str) -> int:
    shard = source.shard
    number = int(document) if document.isdecimal() else find_document(shard.prefix, document)
    if number is None:
        raise DataError(f"{shard.prefix}: no document has the id {document!r}")
    if number >= shard.num_documents:
        raise DataError(
            f"{shard.prefix}: has documents 0 to {shard.num_documents - 1}, not {number}"
        )
    return number


def read_at(
    source: Source, sequence_length: int, cursors: tuple[int, int], first: int, stop: int
) -> Iterator[tuple[int, int, int]]:
    """(cursor, first token, end) of the pieces of tokens [first, stop) of the shard that the
    samples at cursors [begin, end) read, as inputs or as labels."""
    for found in _candidates(source, sequence_length, cursors, first, stop):
        parts = source.order.parts(found)
        starts = np.maximum(parts.first, first)
        stops = np.minimum(parts.first + parts.length, stop)
        for part in np.flatnonzero(starts < stops).tolist():
            yield int(found[parts.row[part]]), int(starts[part]), int(stops[part])


def _candidates(
    source: Source, sequence_length: int, cursors: tuple[int, int], first: int, stop: int
) -> Iterator[_Int64s]:
    """Cursors among which are all that read the tokens: by the inverse where the order has one,
    else all."""
    begin, end = cursors
    order = source.order
    if not isinstance(order, StatelessOrder):
        for start in range(begin, end, _CURSORS_AT_ONCE):
            yield np.arange(start, min(start + _CURSORS_AT_ONCE, end))
        return
    # Windows lie sequence_length apart, so no window of the tokens is without one of these as an
    # input; the token before the first has the first as its label.
    num_tokens = source.shard.num_tokens
    tokens = [(first - 1) % num_tokens, *range(first, stop, sequence_length), stop - 1]
    per_epoch = order.samples_per_epoch
    for epoch in range(begin // per_epoch, -(-end // per_epoch)):
        inputs = {order.cursor_of(epoch, token) for token in tokens}
        yield np.array(sorted(c for c in inputs if c is not None and begin <= c < end), np.int64)


def sample_of_draw(mixture: Mixture, source: int, draw: int, num_samples: int) -> int:
    """The sample, among the first `num_samples`, that is the `draw`-th (from 0) of a source."""
    low, high = 0, num_samples  # counts(low) <= draw < counts(high)
    while high - low > _SAMPLES_AT_ONCE:
        middle = (low + high) // 2
        if int(mixture.counts(middle)[source]) > draw:
            high = middle
        else:
            low = middle
    sources, draws = mixture.locate_range(low, high)
    (place,) = np.flatnonzero((sources == source) & (draws == draw))
    return low + int(place)
