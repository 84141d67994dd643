"""The mixture of a run as it is planned and recorded: segments of integer weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal

from megatron_codemix.data.arguments import whole_number
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights
from megatron_codemix.errors import ConfigError

Method = Literal["earliest-deadline", "split-tree", "megatron"]

Knot = tuple[int, dict[str, int]]
"""(sample number in the segment, units of each source there)."""

Tree = str | tuple["Tree", "Tree"]
"""A source, or the two parts that share what arrives here."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Samples that one order of sources gives out.

    Constant weights have one knot. Varying ones have knots at multiples of a power of two; between
    them the weights are a straight line, after the last they stay.
    """

    first_sample: int
    """Counted from the start of the phase."""
    num_samples: int | None
    """None: to the end, whenever that is. A segment that was cut short keeps its knots, so that
    what it gave before does not change."""
    method: Method
    knots: tuple[Knot, ...]
    tree: Tree | None = None
    """Shape of the split tree."""
    shares: dict[str, float] | None = None
    """The weights as they were asked for: Megatron's blend depends on their last bit."""

    @property
    def source_names(self) -> list[str]:
        """Sources with a weight at some time, sorted."""
        return sorted({name for _, units in self.knots for name, n in units.items() if n})

    @property
    def stop(self) -> int | None:
        """First sample after the segment; None if it is open."""
        return None if self.num_samples is None else self.first_sample + self.num_samples

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For JSON."""
        return {
            "first_sample": self.first_sample,
            "num_samples": self.num_samples,
            "method": self.method,
            "knots": [[sample, units] for sample, units in self.knots],
            "tree": self.tree,
            "shares": self.shares,
        }


def constant_segment(
    units: Mapping[str, int], first_sample: int = 0, num_samples: int | None = None
) -> Segment:
    """The same weights throughout; sources without one are left out."""
    weighted = {name: units[name] for name in sorted(units) if units[name]}
    return Segment(
        first_sample=first_sample,
        num_samples=num_samples,
        method="earliest-deadline",
        knots=((0, weighted),),
    )


@dataclass(frozen=True)
class MixturePlan:
    """Segments, one after the other from sample 0; only the last may be open."""

    segments: tuple[Segment, ...]

    @property
    def source_names(self) -> list[str]:
        """Sources of all segments, sorted: their positions are the numbers of the sources."""
        return sorted({name for segment in self.segments for name in segment.source_names})

    @property
    def is_megatron(self) -> bool:
        """Whether the samples, too, are in Megatron's order; such a plan is one segment."""
        return self.segments[0].method == "megatron"

    def segment_at(self, sample: int) -> int:
        """Number of the segment that `sample` belongs to."""
        starts = [segment.first_sample for segment in self.segments]
        return max(number for number, start in enumerate(starts) if start <= sample)

    def first_difference(self, other: "MixturePlan", num_samples: int) -> int | None:
        """First of the samples before `num_samples` from which on the plans may disagree; None if
        they give the same sources and draws up to there."""
        for ours, theirs in zip(self.segments, other.segments, strict=False):
            if ours.first_sample >= num_samples:
                return None
            if _order(ours) != _order(theirs):
                return ours.first_sample
            if ours.stop != theirs.stop:
                first = min(stop for stop in (ours.stop, theirs.stop) if stop is not None)
                return first if first < num_samples else None
        return None

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For JSON; units are of 1 / `units`."""
        return {
            "units": WEIGHT_UNITS,
            "segments": [segment.as_dict() for segment in self.segments],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "MixturePlan":  # Any: JSON values
        """What `as_dict` made, also after a round through JSON."""
        if record["units"] != WEIGHT_UNITS:
            raise ValueError(f"weights in units of 1/{record['units']}, not 1/{WEIGHT_UNITS}")
        return cls(
            tuple(
                Segment(
                    first_sample=segment["first_sample"],
                    num_samples=segment["num_samples"],
                    method=segment["method"],
                    knots=tuple((sample, dict(units)) for sample, units in segment["knots"]),
                    tree=_tree(segment["tree"]),
                    shares=segment["shares"],
                )
                for segment in record["segments"]
            )
        )


def constant_plan(units: Mapping[str, int]) -> MixturePlan:
    """The same weights for all samples; `units` as from quantise_weights.

    Raises ConfigError where they are fractions, negative or all 0.
    """
    problems = [
        f"the weight of source {name!r} is {weight!r}, not a whole number from 0 on; make whole "
        "numbers of shares with constant_plan(quantise_weights({...}))"
        for name, weight in units.items()
        if not isinstance(weight, Integral) or weight < 0
    ]
    if not problems and not any(units.values()):
        problems.append(f"no source of {sorted(units)} has a weight; give at least one")
    if problems:
        raise ConfigError(problems)
    return MixturePlan((constant_segment({name: int(n) for name, n in units.items()}),))


def megatron_plan(shares: Mapping[str, float], num_samples: int) -> MixturePlan:
    """Megatron's blend of `num_samples` samples.

    shares: the weights as Megatron's --data-path has them, of any sum; not those of
    quantise_weights, which are rounded: the blend depends on the last bit.
    Raises ConfigError on negative or infinite weights, or none above 0.
    """
    num_samples = whole_number(num_samples, "num_samples", least=1)
    problems = [
        f"the weight of source {name!r} is {weight!r}; write a number from 0 on"
        for name, weight in shares.items()
        if not (math.isfinite(weight) and weight >= 0)
    ]
    total = math.fsum(shares.values())
    if not problems and not total:
        problems.append(f"no source of {sorted(shares)} has a weight; give at least one")
    if problems:
        raise ConfigError(problems)
    weighted = {name: float(shares[name]) for name in sorted(shares) if shares[name]}
    units = quantise_weights({name: weight / total for name, weight in weighted.items()})
    segment = constant_segment(units, num_samples=num_samples)
    return MixturePlan((replace(segment, method="megatron", shares=weighted),))


def _order(segment: Segment) -> tuple[Any, ...]:
    """All that decides what the segment gives, but its length."""
    return segment.first_sample, segment.method, segment.knots, segment.tree, segment.shares


def _tree(record: Any) -> Tree | None:  # Any: a JSON value
    if record is None or isinstance(record, str):
        return record
    left, right = map(_tree, record)
    assert left is not None, record
    assert right is not None, record
    return left, right
