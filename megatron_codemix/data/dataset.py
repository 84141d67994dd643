"""Sample number -> tokens: the order within each source, and the mixture of sources on top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.batches import Batch
from megatron_codemix.data.mixture import ConstantMixture
from megatron_codemix.data.token_shard import TokenShard
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.ops import build_document_index, build_sample_index, build_shuffle_index

MAX_EPOCHS_KEPT = 2
"""A batch that crosses the border of two epochs reads both."""

NUM_SEEDS = 2**32
"""Seeds that numpy's RandomState takes."""


@dataclass(frozen=True)
class SourceSpec:
    """One source: its name in the mixture, and the prefix of its token shard."""

    name: str
    prefix: Path


class DocumentSpan(NamedTuple):
    """Tokens first_token .. last_token (both included, from 0) of a document of a source."""

    source: str
    document: int
    first_token: int
    last_token: int


@dataclass(frozen=True)
class Windows:
    """Where samples lie: parts of documents, in reading order, sample after sample. All [parts]."""

    sample: npt.NDArray[np.int64]
    """Which of the asked samples the part belongs to."""
    document: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    """Offset of the part's first token in its document."""
    length: npt.NDArray[np.int64]

    def take(self, parts: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Windows":
        """The chosen parts."""
        return Windows(
            self.sample[parts], self.document[parts], self.first[parts], self.length[parts]
        )


@dataclass(frozen=True)
class EpochIndices:
    """Megatron's three indices of one epoch (see ops)."""

    document_index: npt.NDArray[np.signedinteger]
    sample_index: npt.NDArray[np.signedinteger]
    shuffle_index: npt.NDArray[np.integer]

    def windows(
        self, samples: npt.NDArray[np.int64], document_lengths: npt.NDArray[np.int32]
    ) -> Windows:
        """Where the given samples of the epoch lie, the extra token included."""
        shuffled = self.shuffle_index[samples].astype(np.int64)
        begin, begin_offset = self.sample_index[shuffled].astype(np.int64).T
        end, end_offset = self.sample_index[shuffled + 1].astype(np.int64).T
        num_parts = end - begin + 1
        sample = np.repeat(np.arange(len(samples)), num_parts)
        part_in_sample = np.arange(len(sample)) - np.repeat(
            np.cumsum(num_parts) - num_parts, num_parts
        )
        position = begin[sample] + part_in_sample
        document = self.document_index[position].astype(np.int64)
        first = np.where(part_in_sample == 0, begin_offset[sample], 0)
        # The next sample starts on the last token of this one (its last label), hence + 1.
        stop = np.where(position == end[sample], end_offset[sample] + 1, document_lengths[document])
        return Windows(sample, document, first, stop - first)


class SourceOrder:
    """The endless order of one source's samples: epoch after epoch, each sample once in each.

    Epoch e is what megatron-core's GPTDataset makes of one epoch with random_seed = seed + e, bit
    for bit: shuffled documents joined into one stream, cut into samples of sequence_length + 1
    tokens that overlap by one, shuffled; what is left at the end is not read in that epoch.
    """

    def __init__(self, shard: TokenShard, sequence_length: int, seed: int) -> None:
        """Raises DataError if the shard holds less than one sample, ConfigError on a bad seed."""
        if not 0 <= seed < NUM_SEEDS:
            raise ConfigError([f"seed {seed} is outside [0, {NUM_SEEDS})"])
        self.shard = shard
        self.sequence_length = sequence_length
        self.seed = seed
        self.samples_per_epoch = (shard.num_tokens - 1) // sequence_length
        if self.samples_per_epoch < 1:
            raise DataError(
                f"{shard.prefix}: {shard.num_tokens} tokens are less than one sample of "
                f"{sequence_length} + 1; use a shorter sequence_length or more data"
            )
        self._epochs: dict[int, EpochIndices] = {}

    def window(self, cursor: int) -> Windows:
        """Where the `cursor`-th sample (from 0, over all epochs) lies: its parts of documents."""
        return self.windows(np.array([cursor]))

    def windows(self, cursors: npt.NDArray[np.int64]) -> Windows:
        """Where the samples at `cursors` lie; Windows.sample indexes `cursors`."""
        epochs, samples = cursors // self.samples_per_epoch, cursors % self.samples_per_epoch
        found = []
        for epoch in np.unique(epochs):
            chosen = np.flatnonzero(epochs == epoch)
            parts = self._indices(int(epoch)).windows(samples[chosen], self.shard.lengths)
            found.append((chosen[parts.sample], parts.document, parts.first, parts.length))
        joined = Windows(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
        joined = joined.take(joined.length > 0)
        return joined if len(found) == 1 else joined.take(np.argsort(joined.sample, kind="stable"))

    def read(self, cursors: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Windows]:
        """Tokens [cursors, sequence_length + 1] and where they are from.

        Raises DataError if a token is outside the vocabulary, or a block of the shard is damaged.
        """
        windows = self.windows(cursors)
        stream = np.empty(len(cursors) * (self.sequence_length + 1), np.int64)
        begin = self.shard.offsets[windows.document] + windows.first
        ends = np.cumsum(windows.length)
        for place, source, length in zip(
            (ends - windows.length).tolist(), begin.tolist(), windows.length.tolist(), strict=True
        ):
            stream[place : place + length] = self.shard.tokens(source, source + length)
        self._check_vocabulary(stream, windows, ends)
        return stream.reshape(len(cursors), self.sequence_length + 1), windows

    def _check_vocabulary(
        self, stream: npt.NDArray[np.int64], windows: Windows, ends: npt.NDArray[np.int64]
    ) -> None:
        size = self.shard.manifest.vocabulary_size
        if stream.min() >= 0 and stream.max() < size:
            return
        place = int(np.flatnonzero((stream < 0) | (stream >= size))[0])
        part = int(np.searchsorted(ends, place, side="right"))
        offset = windows.first[part] + place - (ends[part] - windows.length[part])
        raise DataError(
            f"{self.shard.prefix}: token {offset} of document {windows.document[part]} is "
            f"{stream[place]}, outside the vocabulary of {size} entries; prepare the shard again "
            "with the tokenizer of this run"
        )

    def _indices(self, epoch: int) -> EpochIndices:
        if epoch not in self._epochs:
            while len(self._epochs) >= MAX_EPOCHS_KEPT:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = self._build(epoch)
        return self._epochs[epoch]

    def _build(self, epoch: int) -> EpochIndices:
        # One generator for both shuffles, in this order, as GPTDataset.
        rng = np.random.RandomState((self.seed + epoch) % NUM_SEEDS)
        document_index = build_document_index(np.arange(self.shard.num_documents), 1, rng)
        sample_index = build_sample_index(
            self.shard.lengths,
            document_index,
            num_tokens=self.shard.num_tokens,
            sequence_length=self.sequence_length,
        )
        shuffle_index = build_shuffle_index(self.samples_per_epoch, self.samples_per_epoch, rng)
        return EpochIndices(document_index, sample_index, shuffle_index)


class MixtureDataset:
    """Samples of one segment: constant weights over sources that go on where they stood.

    Sample i (from 0, the segment's start) is a pure function of the arguments and i: the mixture
    names its source and how often this was drawn since the start, `start_cursors` where that source
    stood. Each draw takes the source's next sample, so nothing is skipped and nothing read twice
    within an epoch when weights change.
    """

    def __init__(
        self,
        sources: Sequence[SourceSpec],
        weights: Mapping[str, int],
        start_cursors: Mapping[str, int],
        sequence_length: int,
        seed: int,
    ) -> None:
        """Opens the shards of all sources that have a weight.

        weights: units by source name (quantise_weights). start_cursors: samples that each source
        has given before this segment; absent is 0, and names without a weight are handed on.
        Raises DataError on an unknown name, a damaged shard or one too short, or shards of
        different tokenizers.
        """
        self.mixture = ConstantMixture(weights)
        self.source_names = self.mixture.source_names
        self.sequence_length = sequence_length
        self._start_cursors = {**dict.fromkeys(self.source_names, 0), **start_cursors}
        prefixes = {spec.name: spec.prefix for spec in sources}
        _check_names(prefixes, len(sources), weights, self._start_cursors)
        shards = {
            name: TokenShard.open(prefixes[name]) for name in self.source_names if weights[name]
        }
        _check_one_tokenizer(shards)
        self._orders = {
            name: SourceOrder(shard, sequence_length, seed) for name, shard in shards.items()
        }
        self.samples_per_epoch = {
            name: order.samples_per_epoch for name, order in self._orders.items()
        }
        """By name, of the sources that have a weight."""

    def locate(self, i: int) -> tuple[str, int]:
        """(source name, its cursor) of sample `i`."""
        source, draw = self.mixture.locate(i)
        name = self.source_names[source]
        return name, self._start_cursors[name] + draw

    def cursors_after(self, num_samples: int) -> dict[str, int]:
        """Where each source stands after the segment's first `num_samples` samples.

        Holds every name of the mixture and of start_cursors: the start_cursors of what comes next.
        """
        counts = dict(
            zip(self.source_names, self.mixture.counts(num_samples).tolist(), strict=True)
        )
        return {name: cursor + counts.get(name, 0) for name, cursor in self._start_cursors.items()}

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples with these numbers, in this order. Raises DataError on damaged data."""
        source_id, draws = self.mixture.locate_many(np.asarray(indices, np.int64))
        shape = (len(source_id), self.sequence_length)
        tokens = np.empty(shape, np.int64)
        labels = np.empty(shape, np.int64)
        document_ids = np.empty(shape, np.int32)
        for number in np.unique(source_id).tolist():
            name = self.source_names[number]
            rows = np.flatnonzero(source_id == number)
            stream, windows = self._orders[name].read(self._start_cursors[name] + draws[rows])
            tokens[rows] = stream[:, :-1]
            labels[rows] = stream[:, 1:]
            documents = np.repeat(windows.document.astype(np.int32), windows.length)
            document_ids[rows] = documents.reshape(stream.shape)[:, :-1]
        return Batch(
            tokens=tokens,
            labels=labels,
            loss_mask=np.ones(shape, np.float32),
            position_ids=np.tile(np.arange(self.sequence_length), (len(source_id), 1)),
            document_ids=document_ids,
            source_id=source_id,
        )

    def documents(self, i: int) -> list[DocumentSpan]:
        """What sample `i` is made of, in order; its last token is the last label."""
        name, cursor = self.locate(i)
        parts = self._orders[name].window(cursor)
        lasts = parts.first + parts.length - 1
        return [
            DocumentSpan(name, document, first, last)
            for document, first, last in zip(
                parts.document.tolist(), parts.first.tolist(), lasts.tolist(), strict=True
            )
        ]


def _check_names(
    prefixes: Mapping[str, Path],
    num_specs: int,
    weights: Mapping[str, int],
    start_cursors: Mapping[str, int],
) -> None:
    if len(prefixes) != num_specs:
        raise DataError(f"two sources have the same name (names: {', '.join(sorted(prefixes))})")
    unknown = sorted(set(weights) - set(prefixes))
    if unknown:
        raise DataError(
            f"the mixture names {', '.join(map(repr, unknown))}, which no source is called "
            f"(sources: {', '.join(sorted(prefixes))}); correct the name or add the source"
        )
    negative = {name: cursor for name, cursor in start_cursors.items() if cursor < 0}
    if negative:
        raise DataError(f"cursors must not be negative, got {negative}")


def _check_one_tokenizer(shards: Mapping[str, TokenShard]) -> None:
    hashes = {name: shard.manifest.tokenizer_hash for name, shard in shards.items()}
    if len(set(hashes.values())) > 1:
        listing = ", ".join(f"{name}: {digest[:12]}" for name, digest in sorted(hashes.items()))
        raise DataError(
            f"the sources were prepared with different tokenizers ({listing}); prepare them again "
            "with one"
        )
