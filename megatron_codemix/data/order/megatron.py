"""Megatron's order: shuffled documents joined, cut into samples, shuffled."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.ops import build_document_index, build_sample_index, build_shuffle_index

MAX_EPOCHS_KEPT = 2
"""A batch that crosses the border of two epochs reads both."""

NUM_SEEDS = 2**32
"""Seeds that numpy's RandomState takes."""


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
        return stream.reshape(len(cursors), self.sequence_length + 1), windows

    def _indices(self, epoch: int) -> EpochIndices:
        if epoch not in self._epochs:
            while len(self._epochs) >= MAX_EPOCHS_KEPT:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = self._build(epoch)
        return self._epochs[epoch]

    def _build(self, epoch: int) -> EpochIndices:
        # One generator for both shuffles, in this order, as GPTDataset.
        rng = np.random.RandomState((self.seed + epoch) % NUM_SEEDS)
        document_index = build_document_index(range(self.shard.num_documents), 1, rng)
        sample_index = build_sample_index(
            self.shard.lengths,
            document_index,
            num_tokens=self.shard.num_tokens,
            sequence_length=self.sequence_length,
        )
        shuffle_index = build_shuffle_index(self.samples_per_epoch, self.samples_per_epoch, rng)
        return EpochIndices(document_index, sample_index, shuffle_index)
