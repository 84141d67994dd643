"""Where samples start in the shuffled documents, as GPTDataset's sample_index."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def build_sample_index(
    document_lengths: npt.NDArray[np.int32],
    document_index: npt.NDArray[np.signedinteger],
    *,
    num_tokens: int,
    sequence_length: int,
    drop_last: bool = True,
    extra_token: bool = True,
) -> npt.NDArray[np.signedinteger]:
    """Cuts the documents, joined in the order of `document_index`, into samples.

    Returns [samples + 1, 2]: row s is the position in `document_index` and the offset in that
    document of sample s's first token; the last row, where one more sample would start. Samples
    start `sequence_length` tokens apart and have one token more with `extra_token` (the last
    label). `num_tokens` is what the documents hold together, all epochs counted. `drop_last` leaves
    out the sample that the end cuts short.

    Equal to megatron-core's `helpers.build_sample_idx` bit for bit, its count of samples in 32-bit
    floats included (`drop_last=False`, past 2^24 tokens). int64 if `document_index` is, or has more
    than 2^31 - 1 entries; else int32.
    Raises TypeError on other dtypes, ValueError if a document number is outside `document_lengths`
    or the documents hold fewer than `num_tokens`.
    """
    return _C.build_sample_index(
        np.ascontiguousarray(document_lengths),
        np.ascontiguousarray(document_index),
        num_tokens,
        sequence_length,
        drop_last,
        extra_token,
    )
