"""Megatron's index builders: documents, samples, shuffles, blending."""

from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt


def build_document_index(
    documents: range,
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
) -> npt.NDArray[np.signedinteger]:
    """See ops.build_document_index."""
    is_small = documents.stop - 1 <= np.iinfo(np.int32).max
    together = num_epochs - 1 if separate_final_epoch and num_epochs > 1 else num_epochs
    parts = [np.tile(documents, together), np.tile(documents, num_epochs - together)]
    for part in parts:
        rng.shuffle(part)
    return np.concatenate(parts).astype(np.int32 if is_small else np.int64)


def build_sample_index(
    document_lengths: npt.NDArray[np.int32],
    document_index: npt.NDArray[np.signedinteger],
    *,
    num_tokens: int,
    sequence_length: int,
    drop_last: bool = True,
    extra_token: bool = True,
) -> npt.NDArray[np.signedinteger]:
    """See ops.build_sample_index."""
    extra = int(extra_token)
    if drop_last:
        num_samples = (num_tokens - extra) // sequence_length
    else:
        num_samples = ceil(np.float32(num_tokens - extra) / np.float32(sequence_length))
    lengths = document_lengths[document_index].astype(np.int64)
    ends = np.cumsum(lengths)
    # Sample s > 0 starts in the document with the last token of sample s - 1.
    reached = np.arange(1, num_samples + 1) * sequence_length + extra
    position = np.searchsorted(ends, reached, side="left")
    is_inside = position < len(lengths)
    position = np.where(is_inside, position, len(lengths) - 1)
    starts = ends[position] - lengths[position]
    offset = np.where(is_inside, reached - extra - starts, lengths[position] - extra)
    rows = np.stack([np.append(0, position), np.append(0, offset)], axis=1)
    is_small = document_index.dtype == np.int32 and len(document_index) <= np.iinfo(np.int32).max
    return rows.astype(np.int32 if is_small else np.int64)


def build_document_and_sample_index(
    document_lengths: npt.NDArray[np.int32],
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
    **layout: Any,  # Any: build_sample_index's options
) -> tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.signedinteger]]:
    """See ops.build_document_and_sample_index."""
    documents = range(len(document_lengths))
    document_index = build_document_index(documents, num_epochs, rng, separate_final_epoch)
    return document_index, build_sample_index(document_lengths, document_index, **layout)


def build_shuffle_index(
    num_samples: int, size: int, rng: np.random.RandomState
) -> npt.NDArray[np.integer]:
    """See ops.build_shuffle_index."""
    dtype = np.uint32 if size < np.iinfo(np.uint32).max - 1 else np.int64
    first = np.arange(num_samples, dtype=dtype)
    rest = np.arange(num_samples, size, dtype=dtype)
    rng.shuffle(first)
    rng.shuffle(rest)
    return np.concatenate([first, rest])


def build_blending_index(
    weights: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """See ops.build_blending_index."""
    drawn = np.zeros(len(weights), np.int64)
    dataset_index = np.empty(size, np.int16)
    dataset_sample_index = np.empty(size, np.int64)
    for sample in range(size):
        furthest_behind = int(np.argmax(weights * max(sample, 1) - drawn))
        dataset_index[sample] = furthest_behind
        dataset_sample_index[sample] = drawn[furthest_behind]
        drawn[furthest_behind] += 1
    return dataset_index, dataset_sample_index
