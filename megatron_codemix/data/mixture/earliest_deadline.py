"""Constant weights: the earliest-deadline order of sources, with random access."""

import threading
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops import build_earliest_deadline_order, locate_in_period

MAX_PERIOD = 2**24
"""Samples in the table of a mixture; 2^20 is the most that quantised weights ask for."""

_LEAST_EXTENSION = 2**14


class EarliestDeadline:
    """The same weights for all samples, in earliest-deadline order, with random access.

    For every source and every number n of first samples, the draws differ from
    n * weight / sum(weights) by at most 1 - 1/(2k - 2) (k sources; 0 for one). The order repeats,
    so a table of one period answers for all samples. It is filled only as far as samples are asked
    for, which makes the first batch of a run immediate.
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        """`weights` are positive integers, as from quantise_weights."""
        self.source_names = sorted(weights)
        self.weights = np.array([weights[name] for name in self.source_names], np.int64)
        if not self.weights.size or self.weights.min() < 1:
            raise ValueError(f"weights must be positive, got {dict(weights)}")
        divisor = int(np.gcd.reduce(self.weights))
        self.draws_per_period: npt.NDArray[np.int64] = self.weights // divisor
        """Draws of each source in one period of the order [sources]."""
        self.period = int(self.draws_per_period.sum())
        if self.period > MAX_PERIOD:
            raise ValueError(f"the order of weights {dict(weights)} repeats after {self.period}")
        self._order = np.empty(self.period, np.int16)
        self._draws = np.empty(self.period, np.int32)
        self._filled = 0
        self._filled_counts = np.zeros(len(self.weights), np.int64)
        self._filling = threading.Lock()  # a loader reads ahead while the ledger counts

    @property
    def error_bound(self) -> float:
        """No source is ever further from its plan, in samples."""
        k = len(self.weights)
        return 1 - 1 / (2 * k - 2) if k > 1 else 0.0

    def locate_many(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Source number and draw number within that source of each of `samples`, in any order."""
        if samples.size == 0:
            return np.empty(0, np.int16), np.empty(0, np.int64)
        first, last = int(samples.min()), int(samples.max())
        if first < 0:
            raise ValueError(f"sample numbers start at 0, got {first}")
        crosses = last // self.period > first // self.period
        self._fill(self.period if crosses else last % self.period + 1)
        return locate_in_period(self._order, self._draws, self.draws_per_period, samples)

    def counts(self, n: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `n` samples [sources]."""
        periods, rest = divmod(n, self.period)
        self._fill(rest)
        partial = np.bincount(self._order[:rest], minlength=len(self.weights))
        return self.draws_per_period * periods + partial

    def planned(self, n: int) -> npt.NDArray[np.float64]:
        """Samples of each source that the weights ask for among the first `n` [sources]."""
        return n * self.draws_per_period / self.period

    def _fill(self, length: int) -> None:
        """Makes the first `length` entries of the table valid."""
        with self._filling:
            if length <= self._filled:
                return
            stop = min(self.period, max(length, self._filled + _LEAST_EXTENSION))
            order, draws = build_earliest_deadline_order(
                self.draws_per_period, stop - self._filled, self._filled_counts
            )
            self._order[self._filled : stop] = order
            self._draws[self._filled : stop] = draws
            self._filled_counts += np.bincount(order, minlength=len(self.weights))
            self._filled = stop
