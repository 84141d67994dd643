"""Megatron's order: what GPTDataset and BlendedDataset of megatron-core 0.16.1 give, bit for bit.

Both depend on how many samples a run asks for, all epochs of a source being shuffled together, so
they are made for one number of samples and do not go on past it.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.order.parts import Parts
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.ops import (
    build_blending_index,
    build_document_and_sample_index,
    build_shuffle_index,
)

NUM_SEEDS = 2**32
"""Seeds that numpy's RandomState takes."""

_LAST_EPOCH_SHARE = 0.80
"""A last epoch of which less than this share of samples is asked for is shuffled by itself."""

_SURPLUS = 0.005
"""BlendedMegatronDatasetBuilder asks each source for this share more than the blend should take."""

_COUNT_BLOCK = 1 << 20


class MegatronOrder:
    """The samples of one source as `GPTDataset` gives them: cursor c is its item c.

    The documents of all epochs, shuffled together, are joined into one stream that is cut into
    samples of sequence_length + 1 tokens, which overlap by one; these are shuffled in turn. A last
    epoch that is needed in small part is shuffled by itself, behind the others.
    """

    document_index: npt.NDArray[np.signedinteger]
    sample_index: npt.NDArray[np.signedinteger]
    shuffle_index: npt.NDArray[np.integer]

    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        *,
        sequence_length: int,
        seed: int,
        num_samples: int | None,
        drop_last: bool = True,
    ) -> None:
        """lengths, offsets: tokens of each document, and where it starts (TokenShard's).

        num_samples: how many are asked for; `available` is at least that. None is one epoch.
        drop_last: leave out the sample that the end of the stream cuts short, as for training;
        without, its parts hold fewer tokens.
        Raises DataError if one epoch holds less than one sample, ConfigError on a bad seed.
        """
        if not 0 <= seed < NUM_SEEDS:
            raise ConfigError([f"seed {seed} is outside [0, {NUM_SEEDS})"])
        tokens_per_epoch = int(lengths.sum(dtype=np.int64))
        self.samples_per_epoch = (tokens_per_epoch - 1) // sequence_length
        if self.samples_per_epoch < 1:
            raise DataError(
                f"{tokens_per_epoch} tokens are less than one sample of {sequence_length} + 1; use "
                "a shorter sequence_length or more data"
            )
        self._lengths, self._offsets = lengths, offsets
        num_tokens = 1 if num_samples is None else num_samples * sequence_length + 1
        num_epochs = max(1, -(-num_tokens // tokens_per_epoch))
        num_before_last = ((num_epochs - 1) * tokens_per_epoch - 1) // sequence_length
        is_last_separate = (
            num_samples is not None
            and num_epochs > 1
            and num_samples - num_before_last < int(_LAST_EPOCH_SHARE * self.samples_per_epoch)
        )
        # One generator for both shuffles, in this order, as GPTDataset.
        rng = np.random.RandomState(seed)
        self.document_index, self.sample_index = build_document_and_sample_index(
            lengths,
            num_epochs,
            rng,
            is_last_separate,
            num_tokens=num_epochs * tokens_per_epoch,
            sequence_length=sequence_length,
            drop_last=drop_last,
        )
        self.available = len(self.sample_index) - 1
        """Samples: cursors are below this."""
        self.shuffle_index = build_shuffle_index(
            num_before_last if is_last_separate else self.available, self.available, rng
        )

    def parts(self, cursors: npt.NDArray[np.int64]) -> Parts:
        """Where the samples lie. Raises IndexError on a cursor outside [0, available)."""
        if len(cursors) and not 0 <= cursors.min() <= cursors.max() < self.available:
            raise IndexError(f"cursors {cursors} are not all in [0, {self.available})")
        shuffled = self.shuffle_index[cursors].astype(np.int64)
        begin, begin_offset = self.sample_index[shuffled].astype(np.int64).T
        end, end_offset = self.sample_index[shuffled + 1].astype(np.int64).T
        num_parts = end - begin + 1
        row = np.repeat(np.arange(len(cursors)), num_parts)
        part_in_row = np.arange(len(row)) - np.repeat(np.cumsum(num_parts) - num_parts, num_parts)
        position = begin[row] + part_in_row
        document = self.document_index[position]
        first = np.where(part_in_row == 0, begin_offset[row], 0)
        # The next sample starts on the last token of this one (its last label), hence + 1.
        stop = np.where(position == end[row], end_offset[row] + 1, self._lengths[document])
        is_part = stop > first
        return Parts(
            row[is_part], (self._offsets[document] + first)[is_part], (stop - first)[is_part]
        )


class MegatronBlend:
    """Which source each sample is drawn from, as `BlendedDataset` does.

    As BlendedMegatronDatasetBuilder builds it for the training split of a blend with weights. A
    data path without a weight is not blended there: that is a MegatronOrder of num_samples.
    """

    requested: list[int]
    """Samples that each source's MegatronOrder is asked for."""
    size: int
    """Samples of the blend: num_samples, and up to one more for each source."""

    def __init__(self, weights: Sequence[float], num_samples: int) -> None:
        """weights: of any sum. Raises ConfigError unless all are above 0 and num_samples >= 1."""
        problems = [f"weight {w} is not above 0" for w in weights if not 0 < w < float("inf")]
        if not weights:
            problems.append("a blend needs at least one weight")
        if num_samples < 1:
            problems.append(f"num_samples is {num_samples}, less than 1")
        if problems:
            raise ConfigError(problems)
        shares = _normalise(np.array(weights, np.float64))
        targets = [ceil(num_samples * share) for share in shares.tolist()]
        self.requested = [ceil(target * (1 + _SURPLUS)) for target in targets]
        self.size = sum(targets)
        # Twice, as the builder does and then BlendedDataset: the second time can change a bit.
        self._source, self._draw = build_blending_index(_normalise(shares), self.size)

    def locate_many(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """(source, draw of that source) of each sample. Raises IndexError outside [0, size)."""
        if len(samples) and not 0 <= samples.min() <= samples.max() < self.size:
            raise IndexError(f"samples {samples} are not all in [0, {self.size})")
        return self._source[samples], self._draw[samples]

    def counts(self, num_samples: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `num_samples`; O(num_samples)."""
        counts = np.zeros(len(self.requested), np.int64)
        for start in range(0, num_samples, _COUNT_BLOCK):
            block = self._source[start : min(start + _COUNT_BLOCK, num_samples)]
            counts += np.bincount(block, minlength=len(counts))
        return counts

    def require(self, available: Sequence[int]) -> None:
        """Raises DataError, as BlendedDataset does, if a source has fewer samples than drawn."""
        drawn = self.counts(self.size).tolist()
        for source, (has, needs) in enumerate(zip(available, drawn, strict=True)):
            if needs > has:
                raise DataError(
                    f"source {source} of the blend has {has} samples, and {needs} are drawn from "
                    "it: Megatron's blend strays from its weights by more than its surplus of "
                    f"{_SURPLUS:.1%} covers; use another number of samples or order: stateless"
                )


def _normalise(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As megatron.core.datasets.utils.normalize."""
    shares: npt.NDArray[np.float64] = weights / np.sum(weights)
    return shares
