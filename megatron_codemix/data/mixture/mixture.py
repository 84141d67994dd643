"""Which source each sample of a run comes from, and which draw of that source it is."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.mixture.earliest_deadline import EarliestDeadline
from megatron_codemix.data.mixture.megatron import MegatronMixture
from megatron_codemix.data.mixture.plan import MixturePlan, Segment
from megatron_codemix.data.mixture.split_tree import SplitTreeOrder
from megatron_codemix.ops import KnownPeriod, SplitTree

Order = EarliestDeadline | SplitTreeOrder | MegatronMixture


class KnownDraws(NamedTuple):
    """The draws of a segment, as far as they are worked out."""

    segment: int
    first_sample: int
    stop: int | None
    """None: the segment has no end."""
    order: KnownPeriod | SplitTree
    numbers: npt.NDArray[np.int16]
    """Number in the mixture of each source of `order` [sources of the segment]."""
    anchors: npt.NDArray[np.int64]
    """Draws of each before the segment [sources of the segment]."""


class Mixture:
    """Random access to a plan. Sample and draw numbers count from the start of the phase.

    Draws go on over segments: a source's draws are 0, 1, 2, ... in the order of the samples, so a
    change of weights repeats and skips nothing.
    """

    def __init__(self, plan: MixturePlan) -> None:
        self.plan = plan
        self.source_names = plan.source_names
        self._orders = [order_of(segment) for segment in plan.segments]
        numbers = {name: number for number, name in enumerate(self.source_names)}
        self._numbers = [
            np.array([numbers[name] for name in order.source_names], np.int16)
            for order in self._orders
        ]
        self._firsts = np.array([segment.first_sample for segment in plan.segments], np.int64)
        self._anchors = [np.zeros(len(self.source_names), np.int64)]

    @property
    def megatron(self) -> MegatronMixture | None:
        """The order of a plan that is_megatron."""
        order = self._orders[0]
        return order if isinstance(order, MegatronMixture) else None

    @property
    def error_bounds(self) -> list[float]:
        """Of each segment, in samples: within it no source is ever further from its plan."""
        return [order.error_bound for order in self._orders]

    def locate_many(
        self, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """(source number, draw number within that source) of each of `samples`, in any order.

        Raises ValueError on a negative sample number.
        """
        if samples.size and samples.min() < 0:
            raise ValueError(f"sample numbers start at 0, got {samples.min()}")
        if len(self._orders) == 1:
            return self._locate(0, samples)
        sources = np.empty(samples.shape, np.int16)
        draws = np.empty(samples.shape, np.int64)
        segments = np.searchsorted(self._firsts, samples, side="right") - 1
        for segment in np.unique(segments).tolist():
            chosen = segments == segment
            sources[chosen], draws[chosen] = self._locate(segment, samples[chosen])
        return sources, draws

    def locate_range(
        self, start: int, stop: int
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """As locate_many for samples [start, stop)."""
        return self.locate_many(np.arange(start, stop))

    def locate(self, sample: int) -> tuple[int, int]:
        """As locate_many for one sample."""
        sources, draws = self.locate_many(np.array([sample]))
        return int(sources[0]), int(draws[0])

    def counts(self, n: int) -> npt.NDArray[np.int64]:
        """Draws of each source among the first `n` samples [sources]."""
        segment = self.plan.segment_at(n)
        counts = self._anchor(segment).copy()
        counts[self._numbers[segment]] += self._orders[segment].counts(n - self._first(segment))
        return counts

    def planned(self, n: int) -> npt.NDArray[np.float64]:
        """Samples of each source that the plan asks for among the first `n` [sources].

        Counted on from what was drawn before the segment that sample n - 1 is in, so that counts(n)
        is within that segment's error bound of it.
        """
        segment = self.plan.segment_at(max(n - 1, 0))
        planned = self._anchor(segment).astype(np.float64)
        planned[self._numbers[segment]] += self._orders[segment].planned(n - self._first(segment))
        return planned

    def planned_in_all(self, n: int) -> npt.NDArray[np.float64]:
        """Samples of each source that the weights ask for among the first `n`, whatever was drawn:
        needs no order to be worked out [sources]."""
        planned = np.zeros(len(self.source_names))
        last = self.plan.segment_at(max(n - 1, 0))
        for number in range(last + 1):
            stop = n if number == last else self._first(number + 1)
            planned[self._numbers[number]] += self._orders[number].planned(
                stop - self._first(number)
            )
        return planned

    def known_draws(self, sample: int) -> KnownDraws | None:
        """Of the segment of `sample`; None in Megatron's order."""
        number = self.plan.segment_at(sample)
        segment, order, numbers = (
            self.plan.segments[number],
            self._orders[number],
            self._numbers[number],
        )
        if isinstance(order, MegatronMixture):
            return None
        known = order.tree if isinstance(order, SplitTreeOrder) else order.known()
        anchors = self._anchor(number)[numbers]
        return KnownDraws(number, segment.first_sample, segment.stop, known, numbers, anchors)

    def _first(self, segment: int) -> int:
        return self.plan.segments[segment].first_sample

    def _locate(
        self, segment: int, samples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        numbers, anchor = self._numbers[segment], self._anchor(segment)
        sources, draws = self._orders[segment].locate_many(samples - self._first(segment))
        if len(numbers) != len(self.source_names):
            sources = numbers[sources]
        return sources, draws + anchor[sources] if segment else draws

    def _anchor(self, segment: int) -> npt.NDArray[np.int64]:
        """Draws of each source before the segment, worked out when it is first asked for."""
        while len(self._anchors) <= segment:
            before = len(self._anchors) - 1
            length = self._first(before + 1) - self._first(before)
            counts = self._anchors[before].copy()
            counts[self._numbers[before]] += self._orders[before].counts(length)
            self._anchors.append(counts)
        return self._anchors[segment]


def order_of(segment: Segment) -> Order:
    """What gives out the samples of a segment, numbered from its start."""
    if segment.method == "megatron":
        assert segment.shares is not None, segment
        assert segment.num_samples is not None, segment
        return MegatronMixture(segment.shares, segment.num_samples)
    if segment.method == "split-tree":
        return SplitTreeOrder(segment)
    return EarliestDeadline(segment.knots[0][1])
