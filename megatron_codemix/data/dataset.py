"""Sample number -> tokens: the mixture of sources, and the order within each of them."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.answers import (
    PackedConversations,
    learn_answers,
    pack_conversations,
)
from megatron_codemix.data.arguments import whole_number
from megatron_codemix.data.batches import Batch, allocate_batch, sample_numbers
from megatron_codemix.data.gather import SourceRows, label_parts, row_parts
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.order.best_fit import BestFitOrder
from megatron_codemix.data.order.megatron import MegatronOrder
from megatron_codemix.data.order.parts import SampleOrder
from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.source import DocumentSpan, Source, SourceSpec, open_shards
from megatron_codemix.data.transforms.rows import mask_padding, transform_rows
from megatron_codemix.data.window_batches import WindowBatches, reads_windows
from megatron_codemix.errors import DataError
from megatron_codemix.ops import RowParts, TokenGather, fill_document_positions

_Int64s = npt.NDArray[np.int64]


class MixtureDataset:
    """Samples of one phase: sources that go on where they stood, mixed as planned.

    Sample i (from 0, the phase's start) is a pure function of the arguments and i: the mixture
    names its source and how often this was drawn since the start, `start_cursors` where that source
    stood. Each draw takes the source's next sample, so nothing is skipped and nothing read twice
    within an epoch when weights change. Threads may share a dataset, and so may processes that
    fork.
    """

    def __init__(
        self,
        sources: Sequence[SourceSpec],
        plan: MixturePlan,
        *,
        sequence_length: int,
        seed: int,
        start_cursors: Mapping[str, int] | None = None,
        document_mask: bool = False,
        answers_only: bool = False,
        num_threads: int = 1,
    ) -> None:
        """Opens the shards of all sources that have a weight at some time; reads no token.

        start_cursors: samples that each source has given before this phase; absent is 0, and names
        without a weight are handed on. document_mask: batches have document_ids, and
        positions that restart at each document. answers_only: of conversations what the assistant
        writes is learned, and packing cuts them at their end. num_threads: that copy a batch.
        Raises TypeError or ValueError on numbers that make no sense, DataError on an unknown name,
        a damaged shard or one too short, shards of different tokenizers, or, where answers are
        to be learned alone, one without answers or with a transform.
        """
        self.mixture = Mixture(plan)
        self.source_names = self.mixture.source_names
        self.sequence_length = whole_number(sequence_length, "sequence_length", least=1)
        self.document_mask, self.answers_only = document_mask, answers_only
        self._start_cursors = dict.fromkeys(self.source_names, 0) | dict(start_cursors or {})
        self._num_threads = whole_number(num_threads, "num_threads", least=1)
        self._specs = {spec.name: spec for spec in sources}
        prefixes = {spec.name: spec.prefix for spec in sources}
        _check_names(prefixes, len(sources), self.source_names, self._start_cursors)
        if plan.is_megatron and any(self._start_cursors.values()):
            raise DataError(
                f"sources stand at {self._start_cursors}, but Megatron's order lays the data out "
                "for one run, from the beginning; use order: stateless"
            )
        packed = sorted(name for name in self.source_names if self._specs[name].packing)
        if plan.is_megatron and packed:
            raise DataError(
                f"{', '.join(packed)}: packing makes other samples than Megatron's order reads; "
                "use order: stateless"
            )
        self._shards = open_shards(prefixes, self.source_names, sequence_length)
        if answers_only:
            _require_answers(self._shards, self._specs)
        self._seed = seed
        self._windows = WindowBatches()
        self._gather: tuple[list[npt.NDArray[np.integer]], TokenGather] | None = None

    @property
    def samples_per_epoch(self) -> dict[str, int]:
        """Samples in one pass over each source, by name, of the sources that have a weight."""
        return {source.name: source.order.samples_per_epoch for source in self._sources}

    @functools.cached_property
    def packed_conversations(self) -> dict[str, PackedConversations]:
        """What packing does with the conversations of each source, where answers alone are
        learned."""
        if not self.answers_only:
            return {}
        return {
            name: pack_conversations(shard, self.sequence_length)
            for name, shard in self._shards.items()
            if self._specs[name].packing is not None
        }

    @functools.cached_property
    def _sources(self) -> list[Source]:
        return [
            Source(self._specs[name], shard, order, self._start_cursors[name])
            for (name, shard), order in zip(self._shards.items(), self._orders(), strict=True)
        ]

    @functools.cached_property
    def _reads_windows(self) -> bool:
        return reads_windows(self._sources) and not self.answers_only

    def _orders(self) -> Sequence[SampleOrder]:
        megatron, length = self.mixture.megatron, self.sequence_length
        if megatron is None:
            return [
                _stateless_order(
                    self._specs[name],
                    shard,
                    length,
                    source_key(self._seed, name),
                    self.packed_conversations.get(name),
                )
                for name, shard in self._shards.items()
            ]
        orders = [
            MegatronOrder(
                shard.lengths,
                shard.offsets,
                sequence_length=length,
                seed=self._seed,
                num_samples=num_samples,
            )
            for shard, num_samples in zip(
                self._shards.values(), megatron.blend.requested, strict=True
            )
        ]
        megatron.blend.require([order.available for order in orders])
        return orders

    def source(self, name: str) -> Source:
        """One of `source_names`, opened."""
        return self._sources[self.source_names.index(name)]

    def locate(self, i: int) -> tuple[str, int]:
        """(source name, its cursor) of sample `i`."""
        number, draw = self.mixture.locate(whole_number(i, "sample", least=0))
        name = self.source_names[number]
        return name, self._start_cursors[name] + draw

    def cursors_after(self, num_samples: int) -> dict[str, int]:
        """Where each source stands after the phase's first `num_samples` samples.

        Holds every name of the mixture and of start_cursors: the start_cursors of what comes next.
        """
        num_samples = whole_number(num_samples, "num_samples", least=0)
        counts = dict(
            zip(self.source_names, self.mixture.counts(num_samples).tolist(), strict=True)
        )
        return {name: cursor + counts.get(name, 0) for name, cursor in self._start_cursors.items()}

    def batch(self, indices: Sequence[int] | _Int64s, into: Batch | None = None) -> Batch:
        """The samples with these numbers, in this order.

        into: a batch of allocate_batch, of this many samples, to overwrite and return; absent, a
        new one. Raises TypeError or ValueError on what are no numbers of samples, DataError on
        damaged data.
        """
        samples = sample_numbers(indices)
        if into is None:
            into = allocate_batch(
                len(samples), self.sequence_length, with_documents=self.document_mask
            )
        elif into.tokens.shape != (len(samples), self.sequence_length):
            raise ValueError(
                f"a batch of {len(samples)} x {self.sequence_length} is to be read into one of "
                f"{into.tokens.shape[0]} x {into.tokens.shape[1]}; allocate it with allocate_batch"
            )
        if into.document_ids is not None or not self._windows.read(samples, into):
            self._read_in_parts(samples, into)
        return into

    def _read_in_parts(self, samples: _Int64s, into: Batch) -> None:
        """Any batch, of any order; what it leaves checked, later ones read by `_windows`."""
        into.source_id[:], draws = self.mixture.locate_many(samples)
        pieces = self._pieces(into.source_id, draws)
        if not pieces:
            return
        parts = row_parts(pieces)
        counts = self._current_gather().tokens_and_labels(parts, into.tokens, into.labels, fill=0)
        labels = label_parts(parts)
        if into.document_ids is not None:
            # An input belongs to the document of the token that it predicts (data/documents.py).
            self._fill_documents(labels, into.document_ids, into.position_ids)
        if any(source.has_padding for source in self._sources):
            mask_padding(into, counts)
        if self.answers_only:
            shards = (source.shard for source in self._sources)
            learn_answers(into.loss_mask, labels, [one.answers for one in shards if one.answers])
        if any(self._sources[piece.source].transform for piece in pieces):
            self._transform(into, pieces, draws)
        if into.document_ids is None and self._reads_windows:
            self._windows.renew(
                self.mixture, self._sources, self._current_gather(), int(samples[-1])
            )

    def documents(self, i: int) -> list[DocumentSpan]:
        """What sample `i` is made of, in order; its last token is the last label."""
        number, draw = self.mixture.locate(whole_number(i, "sample", least=0))
        return self._sources[number].documents(draw)

    def _pieces(self, numbers: npt.NDArray[np.int16], draws: _Int64s) -> list[SourceRows]:
        pieces = []
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            parts = self._sources[number].parts(draws[rows])
            pieces.append(SourceRows(number, rows, parts))
        return pieces

    def _current_gather(self) -> TokenGather:
        """Another one where a shard's files were exchanged for the same content meanwhile."""
        arrays = [source.shard.data for source in self._sources]
        kept = self._gather
        if kept is None or any(a is not b for a, b in zip(arrays, kept[0], strict=True)):
            kept = self._gather = (arrays, TokenGather(arrays, num_threads=self._num_threads))
        return kept[1]

    def _fill_documents(
        self, parts: RowParts, document_ids: _Int64s, position_ids: _Int64s
    ) -> None:
        """For the tokens of these parts, by row and place."""
        document = np.empty(parts.first.shape, np.int64)
        offset = np.empty(parts.first.shape, np.int64)
        for number in np.unique(parts.source).tolist():
            chosen = parts.source == number
            shard, first = self._sources[number].shard, parts.first[chosen]
            document[chosen] = shard.documents_of(first)
            offset[chosen] = first - shard.document_bounds(document[chosen])[0]
        document_lengths = [source.shard.lengths for source in self._sources]
        fill_document_positions(
            document_lengths, parts, document, offset, document_ids, position_ids
        )

    def _transform(self, batch: Batch, pieces: Sequence[SourceRows], draws: _Int64s) -> None:
        """Rows of the sources that have a transform."""
        documents = np.empty((len(draws), self.sequence_length + 1), np.int64)
        self._fill_documents(row_parts(pieces), documents, np.empty_like(documents))
        for number, rows, _ in pieces:
            source = self._sources[number]
            if source.transform is not None:
                cursors = source.start_cursor + draws[rows]
                transform_rows(batch, rows, documents[rows], cursors, source.transform)


def _stateless_order(
    spec: SourceSpec,
    shard: TokenShard,
    sequence_length: int,
    key: int,
    packed: PackedConversations | None,
) -> SampleOrder:
    if spec.packing == "best_fit":
        kept = None if packed is None else packed.lengths
        return BestFitOrder(shard.lengths, shard.offsets, sequence_length, key, kept)
    return StatelessOrder(shard.num_tokens, sequence_length, key)


def _require_answers(shards: Mapping[str, TokenShard], specs: Mapping[str, SourceSpec]) -> None:
    problems = [
        f"{shard.prefix}: holds no answers, and answers alone are to be learned; prepare it from "
        "conversations (`codemix corpus instructions`)"
        for shard in shards.values()
        if shard.answers is None
    ]
    problems += [
        f"source {name!r}: has a transform, which moves tokens, and answers alone are to be learned"
        for name in shards
        if specs[name].transform is not None
    ]
    if problems:
        raise DataError(*problems)


def _check_names(
    prefixes: Mapping[str, Path],
    num_specs: int,
    weighted: Sequence[str],
    start_cursors: Mapping[str, int],
) -> None:
    if len(prefixes) != num_specs:
        raise DataError(f"two sources have the same name (names: {', '.join(sorted(prefixes))})")
    unknown = sorted(set(weighted) - set(prefixes))
    if unknown:
        raise DataError(
            f"the mixture names {', '.join(map(repr, unknown))}, which no source is called "
            f"(sources: {', '.join(sorted(prefixes))}); correct the name or add the source"
        )
    negative = {name: cursor for name, cursor in start_cursors.items() if cursor < 0}
    if negative:
        raise DataError(f"cursors must not be negative, got {negative}")
