"""Samples of conversations in which answers alone are learned: the loss mask, and what packing does
with a conversation that is longer than a sample.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.answers import Answers
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.ops import RowParts


class PackedConversations(NamedTuple):
    """Of a source of conversations, each in one sample: its first tokens, if it is longer."""

    lengths: npt.NDArray[np.int32]
    """Tokens of each conversation that are packed; 0 of what is left out [documents]."""
    num_cut: int
    """Conversations that are longer than a sample."""
    num_left_out: int
    """Of these, those whose first answer is behind their cut: nothing of them would be learned."""


def pack_conversations(shard: TokenShard, sequence_length: int) -> PackedConversations:
    """What best-fit packing takes of a shard that has answers. Reads `.answers` once where a
    conversation is longer than a sample. Raises DataError."""
    assert shard.answers is not None, shard.prefix
    lengths = np.minimum(shard.lengths, np.int32(sequence_length))
    is_cut = shard.lengths > sequence_length
    is_left_out = np.zeros(len(lengths), np.bool_)
    if is_cut.any():
        starts = shard.offsets[is_cut]
        is_left_out[is_cut] = shard.answers.count(starts, lengths[is_cut]) == 0
    lengths[is_left_out] = 0
    return PackedConversations(lengths, int(is_cut.sum()), int(is_left_out.sum()))


def learn_answers(
    loss_mask: npt.NDArray[np.float32], labels: RowParts, answers: Sequence[Answers]
) -> None:
    """Makes the mask [B, S] 1 where the label is an answer's token, 0 elsewhere.

    labels: where the labels of each row lie, in their order; answers: of each source by its number
    in `labels`.
    """
    loss_mask[:] = 0
    before = np.cumsum(labels.length) - labels.length
    is_first = np.ones(len(labels.row), np.bool_)
    is_first[1:] = labels.row[1:] != labels.row[:-1]
    of_row = np.maximum.accumulate(np.where(is_first, np.arange(len(before)), 0))
    place = before - before[of_row]  # of a part in its row
    for number in np.unique(labels.source).tolist():
        chosen = labels.source == number
        length = labels.length[chosen]
        offset = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
        tokens = np.repeat(labels.first[chosen], length) + offset
        places = np.repeat(place[chosen], length) + offset
        rows = np.repeat(labels.row[chosen], length)
        loss_mask[rows, places] = answers[number].of(tokens)
