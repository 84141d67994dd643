"""The order in which samples are read, as GPTDataset's shuffle_index."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C
from megatron_codemix.ops.random_state import draw_with


def build_shuffle_index(
    num_samples: int, size: int, rng: np.random.RandomState
) -> npt.NDArray[np.integer]:
    """0 .. size - 1, the first `num_samples` shuffled by `rng`, then the rest among themselves.

    Advances `rng`. Equal to megatron-core's `_build_shuffle_index` bit for bit; uint32, or int64
    from 2^32 - 2 entries on. Raises ValueError unless 0 <= num_samples <= size.
    """
    if not 0 <= num_samples <= size:
        raise ValueError(f"num_samples must be in [0, {size}], got {num_samples}")
    return draw_with(
        rng,
        lambda key, position: _C.build_shuffle_index(num_samples, size, key, position),
    )
