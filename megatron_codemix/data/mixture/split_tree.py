"""Weights that change over time: the split tree over the sources, its shape and its bound."""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.mixture.plan import Segment, Tree
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS
from megatron_codemix.ops import SplitTree

MAX_ERROR = 2.0
"""Samples; where no tree promises less, a segment is shorter."""

_ROUNDING = 1 + 1e-12
"""Keeps the bound an upper one in floating point: it is made of a few operations a level."""

_GOOD_ERROR = 1.9
"""The search for a tree ends here; it need not be the best."""

_ATTEMPTS = 200
"""Trees tried from each start. 64 sources take 4 ms each."""

_FAR = 1.7
"""Sources that may err by more are moved up."""

Units = npt.NDArray[np.int64]


class SplitTreeOrder:
    """The samples of one segment with varying weights, numbered from its start."""

    def __init__(self, segment: Segment) -> None:
        assert segment.tree is not None, segment
        self.source_names = segment.source_names
        self._units = units_of(segment)
        spacing = segment.knots[1][0] if len(segment.knots) > 1 else 1
        self._log2_spacing = spacing.bit_length() - 1
        assert spacing == 1 << self._log2_spacing, f"knots every {spacing} samples"
        children = _children(segment.tree, self.source_names)
        self.tree = SplitTree(self._units, self._log2_spacing, children)
        bound = max(error_bounds(segment.tree, self.source_names, self._units).values())
        self.error_bound = min(bound, bound if segment.num_samples is None else segment.num_samples)
        """No source is ever further from its plan, in samples."""

    def locate_many(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Source number and draw number within that source of each of `samples`, in any order."""
        return self.tree.locate(samples)

    def counts(self, n: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `n` samples [sources]."""
        return self.tree.counts(n)

    def planned(self, n: int) -> npt.NDArray[np.float64]:
        """Samples of each source that the weights ask for among the first `n` [sources]."""
        spacing = 1 << self._log2_spacing
        whole = min(n >> self._log2_spacing, len(self._units) - 1)
        rest = n - whole * spacing
        at, following = (self._units[min(whole + i, len(self._units) - 1)] for i in (0, 1))
        before = (self._units[:whole] + self._units[1 : whole + 1]).sum(axis=0) * (spacing / 2)
        units: npt.NDArray[np.float64] = (
            before + at * rest + (following - at) * (rest * rest / spacing / 2)
        )
        return units / WEIGHT_UNITS


def units_of(segment: Segment) -> Units:
    """Units of the segment's sources at its knots [knots, sources]."""
    return np.array(
        [[units.get(name, 0) for name in segment.source_names] for _, units in segment.knots],
        np.int64,
    )


def best_tree(names: Sequence[str], units: Units) -> tuple[Tree, float]:
    """(a tree whose largest error is small, that error in samples).

    names, units: sources and their units at knots [knots, sources], each positive somewhere.
    Huffman's tree has light sources deep, where their small shares shrink the error of what is
    above. Where shares change, some sources are heavy in a light neighbourhood; they are made
    heavier step by step until none is far from its plan.
    """
    best: tuple[Tree, float] | None = None
    for weights in (units.max(axis=0).astype(np.float64), units.mean(axis=0)):
        for _ in range(_ATTEMPTS):
            tree = _huffman(names, weights)
            bounds = error_bounds(tree, names, units)
            bound = max(bounds.values())
            if best is None or bound < best[1]:
                best = (tree, bound)
            if bound < _GOOD_ERROR:
                return tree, bound
            far = np.array([max(0.0, bounds[name] - _FAR) for name in names])
            weights = weights * (1 + far)  # no exp(): its last bit differs between machines
    assert best is not None, "at least one tree was tried"
    return best


def error_bounds(tree: Tree, names: Sequence[str], units: Units) -> dict[str, float]:
    """The most by which each source can ever differ from its plan, in samples.

    A side of a node errs by at most 1/2 plus its largest share of the node's weight times the
    node's own error (csrc/mixture/split_tree.h). Between knots a share is between its values at
    them.
    """
    columns = dict(zip(names, units.T, strict=True))
    bounds: dict[str, float] = {}

    def summed(node: Tree) -> tuple[Units, Any]:
        if isinstance(node, str):
            return columns[node], node
        sides = [summed(side) for side in node]
        return sides[0][0] + sides[1][0], sides

    waiting: list[tuple[tuple[Units, Any], float]] = [(summed(tree), 0.0)]
    while waiting:
        (total, sides), error = waiting.pop()
        if isinstance(sides, str):
            bounds[sides] = error
            continue
        used = total > 0
        for side in sides:
            share = float((side[0][used] / total[used]).max())
            waiting.append((side, (0.5 + share * error) * _ROUNDING))
    return bounds


def _huffman(names: Sequence[str], weights: npt.NDArray[np.float64]) -> Tree:
    """Joins the two lightest sets until one is left (Huffman 1952)."""
    heap: list[tuple[float, int, Tree]] = [
        (weight, number, name)
        for number, (name, weight) in enumerate(zip(names, weights.tolist(), strict=True))
    ]
    heapq.heapify(heap)
    for number in range(len(heap), 2 * len(heap) - 1):
        right, left = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (left[0] + right[0], number, (left[2], right[2])))
    return heap[0][2]


def _children(tree: Tree, names: Sequence[str]) -> npt.NDArray[np.int32]:
    """As ops.SplitTree takes it: parents before children."""
    numbers = {name: number for number, name in enumerate(names)}
    rows: list[list[int]] = []
    waiting = [] if isinstance(tree, str) else [tree]
    next_inner = 1
    for node in waiting:  # grows while it is read
        row = []
        for side in node:
            if isinstance(side, str):
                row.append(~numbers[side])
            else:
                row.append(next_inner)
                next_inner += 1
                waiting.append(side)
        rows.append(row)
    return np.array(rows, np.int32).reshape(-1, 2)
