"""Megatron's greedy blend, as BlendedDataset's dataset_index and dataset_sample_index."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def build_blending_index(
    weights: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Which dataset each of `size` samples is drawn from, and which draw of that dataset it is.

    Each sample goes to the dataset furthest behind its weight. Equal to megatron-core's
    `helpers.build_blending_indices` bit for bit. With many datasets this order strays from the
    weights by more than one sample; `build_earliest_deadline_order` does not.
    `weights` should sum to 1 (megatron-core normalises before). Raises ValueError on a weight that
    is negative or not finite, or a negative `size`.
    """
    return _C.build_blending_index(np.ascontiguousarray(weights), size)
