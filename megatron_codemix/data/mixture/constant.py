"""Constant weights: the earliest-deadline order of sources, with random access."""

import functools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops import build_earliest_deadline_order

MAX_PERIOD = 2**24
"""Samples in the table of a mixture; 2^20 is the most that quantised weights ask for."""


class ConstantMixture:
    """The same weights for all samples, in earliest-deadline order, with random access.

    For every source and every number n of first samples, the draws differ from
    n * weight / sum(weights) by less than 1 (at most 1 - 1/(2k - 2), k sources with a weight).
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        """`weights` are integers >= 0 with at least one positive, as from quantise_weights."""
        self.source_names = sorted(weights)
        self.weights = np.array([weights[name] for name in self.source_names], np.int64)
        if not (self.weights >= 0).all() or not self.weights.any():
            raise ValueError(f"weights must be >= 0 and not all 0, got {dict(weights)}")
        divisor = int(np.gcd.reduce(self.weights))
        self.draws_per_period: npt.NDArray[np.int64] = self.weights // divisor
        """Draws of each source in one period of the order [sources]."""
        self.period = int(self.draws_per_period.sum())
        if self.period > MAX_PERIOD:
            raise ValueError(f"the order of weights {dict(weights)} repeats after {self.period}")

    @functools.cached_property
    def _table(self) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Source and draw number of each sample of the first period."""
        active = np.flatnonzero(self.draws_per_period)
        order, draws = build_earliest_deadline_order(self.draws_per_period[active], self.period)
        return active.astype(np.int16)[order], draws

    def locate(self, i: int) -> tuple[int, int]:
        """(source number, draw number within that source) of sample `i`, both from 0."""
        sources, draws = self.locate_many(np.array([i]))
        return int(sources[0]), int(draws[0])

    def locate_range(
        self, start: int, stop: int
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Source and draw number of samples [start, stop)."""
        return self.locate_many(np.arange(start, stop))

    def locate_many(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """Source and draw number of each of `samples`, in any order."""
        if samples.size and samples.min() < 0:
            raise ValueError(f"sample numbers start at 0, got {samples.min()}")
        table_sources, table_draws = self._table
        periods, position = samples // self.period, samples % self.period
        sources = table_sources[position]
        return sources, table_draws[position] + periods * self.draws_per_period[sources]

    def counts(self, n: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `n` samples [sources]."""
        periods, rest = divmod(n, self.period)
        # Not the prefix's bincount where it is empty: whole periods need no table.
        partial = np.bincount(self._table[0][:rest], minlength=len(self.weights)) if rest else 0
        return self.draws_per_period * periods + partial
