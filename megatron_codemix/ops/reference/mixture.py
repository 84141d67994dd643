"""Which source a sample is of, by earliest deadline and by split tree."""

from bisect import bisect_right
from fractions import Fraction
from math import floor

import numpy as np
import numpy.typing as npt


def build_earliest_deadline_order(
    weights: npt.NDArray[np.int64],
    num_samples: int,
    counts: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """See ops.build_earliest_deadline_order. In exact fractions, straight from the definition."""
    k = len(weights)
    margin = Fraction(1, 2 * k - 2) if k > 1 else Fraction(1)
    shares = [Fraction(int(weight), int(weights.sum())) for weight in weights]
    drawn = [0] * k if counts is None else [int(count) for count in counts]
    start = sum(drawn)
    order = np.empty(num_samples, np.int16)
    draws = np.empty(num_samples, np.int64)
    for now in range(start + 1, start + num_samples + 1):
        allowed = [i for i in range(k) if now * shares[i] - drawn[i] >= margin]
        # Due: the first sample number t with t * share - drawn > 1 - margin.
        due = {i: floor((drawn[i] + 1 - margin) / shares[i]) + 1 for i in allowed}
        source = min(allowed, key=lambda i: (due[i], i))
        order[now - start - 1] = source
        draws[now - start - 1] = drawn[source]
        drawn[source] += 1
    return order, draws


def count_earliest_deadline_draws(
    weights: npt.NDArray[np.int64], num_samples: int
) -> npt.NDArray[np.int64]:
    """See ops.count_earliest_deadline_draws. By going through all of them."""
    order, _ = build_earliest_deadline_order(weights, num_samples)
    return np.bincount(order, minlength=len(weights))


class SplitTree:
    """See ops.SplitTree. In exact fractions, from the definition in csrc/mixture/split_tree.h."""

    def __init__(
        self,
        units: npt.NDArray[np.int64],
        log2_spacing: int,
        children: npt.NDArray[np.int32],
        num_samples: int,
    ) -> None:
        """Plans up to `num_samples`."""
        self.children = children.tolist()
        spacing = 2**log2_spacing
        shares = [[Fraction(int(n), 2**20) for n in row] for row in units]
        times = [Fraction(2 * sample + 1, 2 * spacing) for sample in range(num_samples)]
        per_sample = [_on_the_line(shares, time) for time in times]
        planned = np.cumsum([[Fraction(0)] * units.shape[1], *per_sample], axis=0)
        self.planned = planned.T.tolist()
        """Samples planned for each source before each time [sources][num_samples + 1]."""
        self.last = [[row[source] for row in shares] for source in range(units.shape[1])]

    def counts(self, n: int) -> list[int]:
        """Draws of each source among the first `n` samples."""
        found = [0] * len(self.planned)
        waiting = [(0 if self.children else ~0, n)]
        while waiting:
            child, arrivals = waiting.pop()
            if child < 0:
                found[~child] = arrivals
                continue
            left, right = self.children[child]
            to_left = floor(self._left_planned(child, arrivals) + Fraction(1, 2))
            waiting += [(left, to_left), (right, arrivals - to_left)]
        return found

    def _left_planned(self, node: int, arrivals: int) -> Fraction:
        """L(T^-1(arrivals))."""
        left = self._sources(self.children[node][0])
        both = left + self._sources(self.children[node][1])
        planned, left_planned = self._sum(self.planned, both), self._sum(self.planned, left)
        after = bisect_right(planned, arrivals)
        if after == len(planned):
            weights, left_weights = self._sum(self.last, both), self._sum(self.last, left)
            knot = max(knot for knot, weight in enumerate(weights) if weight)
            share = left_weights[knot] / weights[knot]
            return left_planned[-1] + (arrivals - planned[-1]) * share
        grown = planned[after] - planned[after - 1]
        share = (left_planned[after] - left_planned[after - 1]) / grown
        return left_planned[after - 1] + (arrivals - planned[after - 1]) * share

    def _sources(self, child: int) -> list[int]:
        if child < 0:
            return [~child]
        left, right = self.children[child]
        return self._sources(left) + self._sources(right)

    @staticmethod
    def _sum(rows: list[list[Fraction]], chosen: list[int]) -> list[Fraction]:
        return [sum(column, Fraction(0)) for column in zip(*(rows[s] for s in chosen), strict=True)]


def _on_the_line(shares: list[list[Fraction]], time: Fraction) -> list[Fraction]:
    """The shares at `time`, in units of the knots' spacing."""
    knot = min(int(time), len(shares) - 1)
    following = shares[min(knot + 1, len(shares) - 1)]
    return [a + (b - a) * (time - knot) for a, b in zip(shares[knot], following, strict=True)]


def locate_in_period(
    order: npt.NDArray[np.int16],
    draws: npt.NDArray[np.int32],
    draws_per_period: npt.NDArray[np.int64],
    samples: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """See ops.locate_in_period."""
    periods, position = np.divmod(samples, len(order))
    sources = order[position]
    numbers = draws[position] + periods * draws_per_period[sources]
    return sources, numbers.astype(np.int64)
