"""Which blocks of a file ranges touch that nobody has checked yet."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def find_unchecked_blocks(
    first: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    block_shift: int,
    num_items: int,
    is_checked: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Blocks of the ranges [first, first + length) that are not `is_checked`, ascending, each once.

    Item i lies in block i >> block_shift. Raises ValueError where a range is outside [0, num_items)
    or the blocks do not hold `num_items`.
    """
    return _C.find_unchecked_blocks(first, length, block_shift, num_items, is_checked)
