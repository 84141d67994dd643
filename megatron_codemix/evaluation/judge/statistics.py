"""Intervals for shares of wins and for their difference."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_BISECTIONS = 60  # halves [-1, 1] to below the spacing of doubles near 1


@dataclass(frozen=True)
class Estimate:
    """A share or a difference of shares, with its 95% interval."""

    value: float
    low: float
    high: float


def share(count: int, total: int) -> Estimate:
    """count / total with Wilson's score interval (Wilson 1927). `total` is at least 1."""
    p, z2 = count / total, _Z**2 / total
    centre = (p + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * math.sqrt(p * (1 - p) / total + z2 / (4 * total))
    # Both ends are the bound itself there; rounding would leave 1e-17 of it.
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == total else centre + half
    return Estimate(p, low, high)


def share_difference(wins: int, losses: int, total: int) -> Estimate:
    """(wins - losses) / total of items that each are a win, a loss or neither, with Tango's score
    interval for paired proportions (Statistics in Medicine 17, 1998).

    It holds its level for few items and at the ends, where a bootstrap of nothing but wins has no
    width. `total` is at least 1.
    """
    value = (wins - losses) / total

    def is_plausible(difference: float) -> bool:
        return abs(_score(difference, wins, losses, total)) <= _Z

    return Estimate(value, _edge(is_plausible, value, -1.0), _edge(is_plausible, value, 1.0))


def _score(difference: float, wins: int, losses: int, total: int) -> float:
    """How many standard errors the observed difference is away from `difference`, at the most
    probable share of losses under it."""
    distance = wins - losses - total * difference
    b = (2 * total - wins + losses) * difference - wins - losses
    c = -losses * difference * (1 - difference)
    losses_share = (math.sqrt(max(0.0, b * b - 8 * total * c)) - b) / (4 * total)
    variance = total * (2 * losses_share + difference * (1 - difference))
    if variance <= 0:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _edge(is_plausible: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where plausible values, `inside` among them, end on the way to `outside`."""
    if is_plausible(outside):
        return outside
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_plausible(middle) else (inside, middle)
    return inside
