"""The order of documents over epochs, as GPTDataset's document_index."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C
from megatron_codemix.ops.random_state import draw_with


def build_document_index(
    documents: range,
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
) -> npt.NDArray[np.signedinteger]:
    """`num_epochs` copies of `documents`, shuffled together by `rng`, which is advanced.

    With `separate_final_epoch` the last copy is shuffled by itself, after the others. Equal to
    megatron-core's `_build_document_index` bit for bit; int32, or int64 (where megatron-core would
    wrap around) if a document number needs it.
    Raises ValueError unless `documents` are numbers >= 0 without gaps and num_epochs >= 1.
    """
    if documents.step != 1 or documents.start < 0:
        raise ValueError(f"documents must be numbers >= 0 without gaps, not {documents}")
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, got {num_epochs}")
    return draw_with(
        rng,
        lambda key, position: _C.build_document_index(
            documents.start, len(documents), num_epochs, separate_final_epoch, key, position
        ),
    )
