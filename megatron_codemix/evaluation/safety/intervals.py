"""Intervals of shares and rates, and a standard error for answers that come in groups."""

import math
from collections.abc import Sequence

Z_95 = 1.959963984540054
"""Quantile 0.975 of the normal distribution."""

Interval = tuple[float, float]


def wilson_interval(count: int, total: int, z: float = Z_95) -> Interval:
    """Score interval of a share, `count` of `total` (Wilson 1927). (0, 1) of nothing."""
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    if not total:
        return 0.0, 1.0
    share = count / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the bound is exact; rounding must not move it.
    low = 0.0 if count == 0 else (middle - half) / scale
    high = 1.0 if count == total else (middle + half) / scale
    return low, high


def rate_interval(count: int, amount: float, z: float = Z_95) -> Interval:
    """Score interval of `count` rare events per unit of `amount` (Poisson): the rates r with
    (count - r amount)^2 <= z^2 r amount."""
    middle = count + z * z / 2
    half = z * math.sqrt(count + z * z / 4)
    low = 0.0 if count == 0 else (middle - half) / amount
    return low, (middle + half) / amount


def grouped_stderr(groups: Sequence[tuple[int, int]]) -> float | None:
    """Standard error of the share over (count, total) of groups whose members resemble one another.

    Linearised ratio estimator (Cochran, Sampling Techniques, 1977, section 3.12 on clusters). None
    of fewer than two groups.
    """
    filled = [group for group in groups if group[1]]
    if len(filled) < 2:
        return None
    total = sum(size for _, size in filled)
    share = sum(count for count, _ in filled) / total
    squares = sum((count - share * size) ** 2 for count, size in filled)
    return math.sqrt(squares * len(filled) / (len(filled) - 1)) / total
