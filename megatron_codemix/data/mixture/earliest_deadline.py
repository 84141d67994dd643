"""Constant weights: the earliest-deadline order of sources, with random access."""

import threading
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops import (
    KnownPeriod,
    build_earliest_deadline_order,
    count_earliest_deadline_draws,
    locate_in_period,
)

MAX_PERIOD = 2**24
"""Samples in the table of a mixture; 2^20 is the most that quantised weights ask for."""

_LOG2_BLOCK = 13
_BLOCK = 1 << _LOG2_BLOCK
"""Samples of the table that are worked out together: 60 us."""


class EarliestDeadline:
    """The same weights for all samples, in earliest-deadline order, with random access.

    For every source and every number n of first samples, the draws differ from
    n * weight / sum(weights) by at most 1 - 1/(2k - 2) (k sources; 0 for one). The order repeats,
    so a table of one period answers for all samples. Only those blocks of it are filled in which
    samples are asked for, which makes the first batch of a run immediate, wherever it begins.
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
        self._is_filled = np.zeros(-(-self.period // _BLOCK), np.bool_)
        self._last_stop = 0  # where the last filling ended, and the draws before that
        self._last_counts = np.zeros(len(self.weights), np.int64)
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
        begin, stop = first % self.period, last % self.period + 1
        if last - first >= self.period:
            self._fill(0, self.period)
        elif begin < stop:
            self._fill(begin, stop)
        else:
            self._fill(begin, self.period)
            self._fill(0, stop)
        return locate_in_period(self._order, self._draws, self.draws_per_period, samples)

    def known(self) -> KnownPeriod:
        """The table; what of it is filled later is known later."""
        return KnownPeriod(
            self._order, self._draws, self.draws_per_period, self._is_filled, _LOG2_BLOCK
        )

    def counts(self, n: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `n` samples [sources]."""
        periods, rest = divmod(n, self.period)
        counts = count_earliest_deadline_draws(self.draws_per_period, rest)
        return self.draws_per_period * periods + counts

    def planned(self, n: int) -> npt.NDArray[np.float64]:
        """Samples of each source that the weights ask for among the first `n` [sources]."""
        return n * self.draws_per_period / self.period

    def _fill(self, begin: int, stop: int) -> None:
        """Makes entries [begin, stop) of the table valid."""
        first, last = begin // _BLOCK, -(-stop // _BLOCK)
        if self._is_filled[first:last].all():
            return
        with self._filling:
            missing = first + np.flatnonzero(~self._is_filled[first:last])
            for blocks in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
                if blocks.size:
                    self._fill_blocks(int(blocks[0]), int(blocks[-1]) + 1)

    def _fill_blocks(self, first: int, last: int) -> None:
        begin, stop = first * _BLOCK, min(last * _BLOCK, self.period)
        if begin != self._last_stop:
            self._last_counts = count_earliest_deadline_draws(self.draws_per_period, begin)
        order, draws = build_earliest_deadline_order(
            self.draws_per_period, stop - begin, self._last_counts
        )
        self._order[begin:stop] = order
        self._draws[begin:stop] = draws
        self._is_filled[first:last] = True
        self._last_stop = stop
        self._last_counts = self._last_counts + np.bincount(order, minlength=len(self.weights))
