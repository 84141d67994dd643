"""The order of sources that keeps every prefix within one sample of the mixture (Tijdeman 1980)."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


def build_earliest_deadline_order(
    weights: npt.NDArray[np.int64],
    num_samples: int,
    counts: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Source of each of `num_samples` samples (int16), and which draw of that source it is (int64).

    With k sources of weights w, sum W, and x_i the draws of source i among the first n samples:
    |x_i - n w_i / W| <= 1 - 1/(2k - 2) for every i and n (0 for k = 1), the best that any order can
    promise. The order repeats after W / gcd(w) samples. Integer arithmetic only, so the same on
    every machine. The algorithm is in csrc/earliest_deadline_order.h (R. Tijdeman, "The chairman
    assignment problem", Discrete Mathematics 32, 1980).

    `counts` are the draws per source so far, from which the order goes on as if it had never
    stopped; None starts it. Draw numbers go on from them too.
    Raises ValueError if a weight is < 1, the weights sum to more than 2^40, or `counts` are none
    that this order can reach within its bound.
    """
    flat = np.ascontiguousarray(weights)
    # A copy: the extension counts on in this array.
    state = np.zeros(flat.shape, np.int64) if counts is None else np.array(counts, order="C")
    return _C.build_earliest_deadline_order(flat, state, num_samples)
