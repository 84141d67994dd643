"""The order of sources for weights that change over time."""

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


class SplitTree:
    """A tree that deals samples to sources by weights on straight lines between knots.

    Stateless and exact: csrc/mixture/split_tree.h defines the order. Each prefix is as close to the
    plan as the tree's shape promises; draws of a source are 0, 1, 2, ... in the order of the
    samples.
    """

    def __init__(
        self,
        units: npt.NDArray[np.int64],
        log2_spacing: int,
        children: npt.NDArray[np.int32],
    ) -> None:
        """units: weights / 2^20 at knots every 2^log2_spacing samples [knots, sources].

        children: left and right side of each inner node, the root first: a later inner node, or
        ~source [sources - 1, 2].
        Raises ValueError if the units of a knot do not sum to 2^20, a source never has any, or
        children are not a tree over the sources.
        """
        self._arguments = (units, log2_spacing, children)
        self.extension = _C.SplitTree(np.ascontiguousarray(units), log2_spacing, children)

    def __reduce__(
        self,
    ) -> tuple[type["SplitTree"], tuple[npt.NDArray[np.int64], int, npt.NDArray[np.int32]]]:
        """Pickled as its arguments, so that processes may be handed one."""
        return SplitTree, self._arguments

    def locate(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Source (int16) and draw number (int64) of each of `samples` in [0, 2^41), in any
        order."""
        return self.extension.locate(np.ascontiguousarray(samples))

    def counts(self, num_samples: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `num_samples` [sources]."""
        return self.extension.counts(num_samples)
