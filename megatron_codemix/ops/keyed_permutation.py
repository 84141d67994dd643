"""Permutations that a key names: any entry by itself, and back again, with nothing stored."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def permute(positions: npt.NDArray[np.int64], size: int, key: int) -> npt.NDArray[np.int64]:
    """The entries at `positions` of the permutation of 0 .. size - 1 that `key` (64 bits) names.

    A table by Fisher-Yates up to 65,536 entries, a Feistel network with cycle walking above, up to
    2^62 (csrc/order/keyed_permutation.h has both in full). Integer arithmetic only, so the same on
    every machine. Raises ValueError on a position outside [0, size).
    """
    return _C.permute(np.ascontiguousarray(positions), size, key)


def invert_permutation(values: npt.NDArray[np.int64], size: int, key: int) -> npt.NDArray[np.int64]:
    """Where `values` stand in the permutation: `permute` turns these positions into them.

    Raises ValueError on a value outside [0, size).
    """
    return _C.invert_permutation(np.ascontiguousarray(values), size, key)
