"""A line of a benchmark: ours, the peer's, their ratio, and whether the goal is met."""

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a row has to reach; all parts that are given."""

    ratio: float | None = None
    """At least this much better than the peer."""
    at_least: float | None = None
    """Ours must not be below this, in the row's unit."""
    at_most: float | None = None
    """Ours must not be above this, in the row's unit."""

    def is_met(self, ours: float, ratio: float | None) -> bool:
        """Whether a row with these figures reaches it; never without the ratio it asks for."""
        is_fast_enough = self.ratio is None or (ratio is not None and ratio >= self.ratio)
        is_enough = self.at_least is None or ours >= self.at_least
        return is_fast_enough and is_enough and (self.at_most is None or ours <= self.at_most)

    def text(self, unit: str) -> str:
        """`>= 25x`, `<= 5 ms`."""
        parts = [] if self.ratio is None else [f">= {self.ratio:,g}x"]
        if self.at_least is not None:
            parts.append(f">= {self.at_least:,g} {unit}".rstrip())
        if self.at_most is not None:
            parts.append(f"<= {self.at_most:,g} {unit}".rstrip())
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of ours beside the peer's."""

    name: str
    ours: float
    peer: float | None
    """Absent where there is nothing to compare with."""
    unit: str
    """Of `ours` and `peer`."""
    goal: Goal | None = None
    is_judged: bool = True
    """Whether the goal is for what was measured; it is for full size."""
    is_rate: bool = False
    """More is better."""
    note: str = ""
    """What a reader must know: how often it was measured, what was computed."""
    ours_system_seconds: float | None = None
    peer_system_seconds: float | None = None
    """Time in the kernel, on top of user time."""

    @property
    def ratio(self) -> float | None:
        """peer / ours for costs, ours / peer for rates: above 1 is better. None where the peer or
        the divisor is 0 or absent."""
        if self.peer is None:
            return None
        above, below = (self.ours, self.peer) if self.is_rate else (self.peer, self.ours)
        return above / below if below else None

    @property
    def met(self) -> bool | None:
        """None where the row has no goal, or none for these sizes."""
        if self.goal is None or not self.is_judged:
            return None
        return self.goal.is_met(self.ours, self.ratio)

    def unjudged(self) -> "Row":
        """The same figures where the goal was not set for them."""
        return replace(self, is_judged=False)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "name": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "ratio": self.ratio,
            "goal": self.goal.text(self.unit) if self.goal else None,
            "met": self.met,
            "note": self.note,
            "ours_system_seconds": self.ours_system_seconds,
            "peer_system_seconds": self.peer_system_seconds,
        }


def format_row(row: Row) -> str:
    """The row as a line of the table that `TABLE_HEAD` begins."""
    ratio = "" if row.ratio is None else f"{_short(row.ratio)}x"
    peer = "" if row.peer is None else _short(row.peer)
    goal = row.goal.text(row.unit) if row.goal else ""
    unjudged = "not judged" if row.goal else ""
    verdict = {None: unjudged, True: "met", False: "MISSED"}[row.met]
    return (
        f"{row.name:<58s} {_short(row.ours):>10s} {peer:>10s} {row.unit:<9s} "
        f"{ratio:>9s}  {goal:<18s} {verdict:<10s} {row.note}"
    ).rstrip()


TABLE_HEAD = (
    f"{'':<58s} {'ours':>10s} {'peer':>10s} {'unit':<9s} {'ratio':>9s}  {'goal':<18s} {'':<10s}"
)


def _short(value: float) -> str:
    """Three digits that count: `0.00123`, `4.56`, `1,234`."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"
