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
    every machine. The algorithm is in csrc/mixture/earliest_deadline_order.h (R. Tijdeman, "The
    chairman assignment problem", Discrete Mathematics 32, 1980).

    `counts` are the draws per source so far, from which the order goes on as if it had never
    stopped; None starts it. Draw numbers go on from them too.
    Raises ValueError if a weight is < 1, the weights sum to more than 2^40, or `counts` are none
    that this order can reach within its bound.
    """
    flat = np.ascontiguousarray(weights)
    # A copy: the extension counts on in this array.
    state = np.zeros(flat.shape, np.int64) if counts is None else np.array(counts, order="C")
    return _C.build_earliest_deadline_order(flat, state, num_samples)


def count_earliest_deadline_draws(
    weights: npt.NDArray[np.int64], num_samples: int
) -> npt.NDArray[np.int64]:
    """Draws of each source among the first `num_samples` samples of the order of
    build_earliest_deadline_order [sources].

    Works that out from at most W / min(w) samples before, whatever their number: 30 us where no
    source has less than 1/10,000 of the samples, 2 ms where one has 1/1,000,000.
    Raises ValueError on weights that cannot be ordered, or unless 0 <= num_samples <= 2^62.
    """
    return _C.count_earliest_deadline_draws(np.ascontiguousarray(weights), num_samples)
