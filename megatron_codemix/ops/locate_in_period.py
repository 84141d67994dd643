"""Random access to an order of sources that repeats."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def locate_in_period(
    order: npt.NDArray[np.int16],
    draws: npt.NDArray[np.int32],
    draws_per_period: npt.NDArray[np.int64],
    samples: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Source (int16) and draw number over all periods (int64) of each of `samples`, in any order.

    order: the source of each position of one period. draws: which of its source's draws within the
    period that is. draws_per_period: all draws of each source in a period.
    Raises ValueError on a negative sample, or a source that draws_per_period does not have.
    """
    return _C.locate_in_period(order, draws, draws_per_period, np.ascontiguousarray(samples))
