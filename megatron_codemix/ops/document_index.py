"""The order of documents over epochs, as GPTDataset's document_index."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C
from megatron_codemix.ops.random_state import draw_with

INT32_MAX = np.iinfo(np.int32).max


def build_document_index(
    documents: npt.NDArray[np.integer],
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
) -> npt.NDArray[np.signedinteger]:
    """`num_epochs` copies of `documents`, shuffled together by `rng`, which is advanced.

    With `separate_final_epoch` the last copy is shuffled by itself, after the others. Equal to
    megatron-core's `_build_document_index` bit for bit; int32, or int64 (where megatron-core would
    wrap around) if a document number needs it.
    Raises ValueError if `documents` is not a flat array of numbers >= 0 or num_epochs < 1.
    """
    if documents.ndim != 1 or not np.issubdtype(documents.dtype, np.integer):
        raise ValueError(
            f"documents must be a flat array of integers, not {documents.dtype} "
            f"of shape {documents.shape}"
        )
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, got {num_epochs}")
    if documents.size and documents.min() < 0:
        raise ValueError(f"documents must not be negative, got {documents.min()}")
    is_small = documents.size == 0 or documents.max() <= INT32_MAX
    flat: npt.NDArray[np.signedinteger] = np.ascontiguousarray(
        documents, dtype=np.int32 if is_small else np.int64
    )
    return draw_with(
        rng,
        lambda key, position: _C.build_document_index(
            flat, num_epochs, separate_final_epoch, key, position
        ),
    )
