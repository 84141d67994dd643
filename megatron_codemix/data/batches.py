"""The batch record, and which samples each data-parallel rank reads at a step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.arguments import whole_number
from megatron_codemix.errors import ConfigError

Allocate = Callable[[tuple[int, ...], npt.DTypeLike], npt.NDArray[Any]]  # Any: the asked dtype


@dataclass(frozen=True)
class Batch:
    """B samples of S = sequence_length tokens with all that training, masking and tracing need."""

    tokens: npt.NDArray[np.int64]
    """Input [B, S]."""
    labels: npt.NDArray[np.int64]
    """The token after each input token [B, S]."""
    loss_mask: npt.NDArray[np.float32]
    """Weight of each label in the loss [B, S]; 0 in padding."""
    position_ids: npt.NDArray[np.int64]
    """Position of each input token in its sample, or with `document_ids` in its document [B, S]."""
    document_ids: npt.NDArray[np.int64] | None
    """Document that each input token helps to predict [B, S], -1 in padding; None where samples are
    read across documents. See data/documents.py."""
    source_id: npt.NDArray[np.int16]
    """Index of each sample's source in the mixture's sorted names [B]."""


def allocate_batch(
    size: int, sequence_length: int, *, with_documents: bool = False, allocate: Allocate = np.empty
) -> Batch:
    """A batch to be read into, in which every label counts and positions are those in the sample.

    allocate: shape and dtype to an array, whatever it holds; pinned memory for a GPU.
    Raises TypeError or ValueError on numbers that make no sense.
    """
    size = whole_number(size, "size", least=0)
    sequence_length = whole_number(sequence_length, "sequence_length", least=1)
    shape = (size, sequence_length)
    batch = Batch(
        tokens=allocate(shape, np.int64),
        labels=allocate(shape, np.int64),
        loss_mask=allocate(shape, np.float32),
        position_ids=allocate(shape, np.int64),
        document_ids=allocate(shape, np.int64) if with_documents else None,
        source_id=allocate((size,), np.int16),
    )
    batch.loss_mask[:] = 1
    batch.position_ids[:] = np.arange(sequence_length)
    return batch


def sample_numbers(indices: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Numbers of samples as an array. Raises TypeError on what is not a flat list of integers."""
    if isinstance(indices, range):  # five times as fast as the general way
        return np.arange(indices.start, indices.stop, indices.step, dtype=np.int64)
    numbers = np.asarray(indices)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise TypeError(
            f"sample numbers must be a flat list of integers, got {indices!r:.60} "
            f"({numbers.dtype.name}, {numbers.ndim} dimensions)"
        )
    return numbers.astype(np.int64, copy=False)


def samples_of_step(
    step: int, global_batch: int, dp_rank: int, dp_size: int, microbatch: int
) -> list[list[int]]:
    """Sample numbers of each microbatch that `dp_rank` reads at `step` (from 0), where all steps
    are of one size: step s is samples [s * global_batch, (s + 1) * global_batch).

    Raises ConfigError if dp_size * microbatch does not divide global_batch.
    """
    if step < 0:
        raise ValueError(f"step {step} is out of range")
    return samples_of_batch(step * global_batch, global_batch, dp_rank, dp_size, microbatch)


def samples_of_batch(
    first: int, global_batch: int, dp_rank: int, dp_size: int, microbatch: int
) -> list[list[int]]:
    """Sample numbers of each microbatch that `dp_rank` reads of the batch of samples
    [first, first + global_batch), which depends neither on dp_size nor on microbatch.

    Microbatch m of rank r starts (m * dp_size + r) * microbatch into it.
    Raises ConfigError if dp_size * microbatch does not divide global_batch.
    """
    if min(global_batch, dp_size, microbatch) < 1 or global_batch % (dp_size * microbatch):
        raise ConfigError(
            [
                f"a global batch of {global_batch} sequences cannot be split into microbatches of "
                f"{microbatch} on {dp_size} data-parallel ranks; make it a multiple of "
                f"{dp_size * microbatch}"
            ]
        )
    if not 0 <= dp_rank < dp_size:
        raise ValueError(f"data-parallel rank {dp_rank} of {dp_size} is out of range")
    starts = range(first + dp_rank * microbatch, first + global_batch, dp_size * microbatch)
    return [list(range(start, start + microbatch)) for start in starts]
