"""GPTDataset's document_index and sample_index in one pass over memory."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.document_index import build_document_index
from megatron_codemix.ops.extension import _C
from megatron_codemix.ops.random_state import draw_with
from megatron_codemix.ops.sample_index import build_sample_index

_MAX_ENTRIES = np.iinfo(np.int32).max


def build_document_and_sample_index(
    document_lengths: npt.NDArray[np.int32],
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
    *,
    num_tokens: int,
    sequence_length: int,
    drop_last: bool = True,
    extra_token: bool = True,
) -> tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.signedinteger]]:
    """build_document_index of all documents and build_sample_index of that: the same arrays sooner,
    since lengths are shuffled with the documents instead of looked up afterwards.

    Takes 8 bytes a document and epoch while it works, and no more than the result near the end.
    """
    if num_epochs * len(document_lengths) > _MAX_ENTRIES:
        documents = build_document_index(
            range(len(document_lengths)), num_epochs, rng, separate_final_epoch
        )
        return documents, build_sample_index(
            document_lengths,
            documents,
            num_tokens=num_tokens,
            sequence_length=sequence_length,
            drop_last=drop_last,
            extra_token=extra_token,
        )
    lengths = np.ascontiguousarray(document_lengths)
    return draw_with(
        rng,
        lambda key, position: _C.build_document_and_sample_index(
            lengths,
            num_epochs,
            separate_final_epoch,
            key,
            position,
            num_tokens,
            sequence_length,
            drop_last,
            extra_token,
        ),
    )
