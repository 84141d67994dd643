"""How far an estimate may lie from the truth by chance, as draws and as a variance.

Draws give intervals, which may be skew; the variance with its degrees of freedom gives p values,
which draws could not resolve below one in so many. Both come from the same resamples.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DRAWS = 4000
"""The ends of a 95% interval then move by 2% of its width from one seed of the draws to another."""

_SEED = 20240820
"""Of all draws: the same records give the same report."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Of one estimate, around 0."""

    draws: FloatArray
    """[DRAWS], with Student's tails where the variance itself is known from few."""
    variance: float
    degrees: float
    """Degrees of freedom that the variance was estimated with."""

    def scaled(self, factor: float) -> "Noise":
        """Of `factor` times the estimate."""
        return Noise(
            draws=self.draws * factor, variance=self.variance * factor**2, degrees=self.degrees
        )


def combined(parts: Sequence[Noise]) -> Noise:
    """Noise of a sum of independent estimates; its degrees by Welch and Satterthwaite (Biometrics
    Bulletin 2, 1946)."""
    variance = math.fsum(part.variance for part in parts)
    fourth = math.fsum(part.variance**2 / part.degrees for part in parts)
    return Noise(
        draws=np.sum([part.draws for part in parts], axis=0),
        variance=variance,
        # All without noise: the degrees mean nothing then.
        degrees=variance**2 / fourth if fourth > 0 else min(part.degrees for part in parts),
    )


def student_noise(variance: float, degrees: float, name: str) -> Noise:
    """Of an estimate that is normal with a variance that has so many degrees of freedom: the draws
    are evenly spaced quantiles of Student's distribution, in an order that `name` decides."""
    draws = math.sqrt(variance) * generator_of(name).permutation(_quantiles(degrees))
    return Noise(draws=draws, variance=variance, degrees=degrees)


@lru_cache(maxsize=64)  # 64 of 4,000 numbers: 2 MB; a report asks for few degrees, each often
def _quantiles(degrees: float) -> FloatArray:
    from scipy.special import stdtrit  # here: slow to import

    found: FloatArray = stdtrit(degrees, (np.arange(DRAWS) + 0.5) / DRAWS)
    return found


def interval(value: float, noise: Noise, level: float) -> tuple[float, float]:
    """Low and high end for a level such as 0.95: percentiles of the draws."""
    low, high = np.quantile(noise.draws, [(1 - level) / 2, (1 + level) / 2])
    return value + float(low), value + float(high)


def p_value(value: float, noise: Noise) -> float:
    """Of no difference, two-sided, by Student's distribution."""
    from scipy.special import stdtr  # here: slow to import

    if noise.variance == 0:
        return 1.0 if value == 0 else 0.0
    return 2 * float(stdtr(noise.degrees, -abs(value) / math.sqrt(noise.variance)))


def generator_of(name: str) -> np.random.Generator:
    """Random numbers of their own for each name: what else a report compares changes nothing."""
    return np.random.default_rng([_SEED, zlib.crc32(name.encode())])
