"""Noise between runs that differ in their seed alone, from all variants of a study together.

Variants and seeds are a randomised block design: a score is its variant's, plus its seed's (the
same start and the same draws of data help or hurt all variants), plus what is left (Fisher 1935,
The Design of Experiments, chapter IV). What is left is the noise of a comparison within a seed; all
variants estimate it together, as three seeds of two variants would leave two degrees of freedom,
with which next to nothing can be told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from megatron_codemix.report.statistics.noise import Noise, student_noise


@dataclass(frozen=True)
class SeedSpread:
    """Of one run's score, around what its variant and its seed add."""

    mean_square: float
    degrees: int

    def noise(self, num_seeds: int, name: str) -> Noise:
        """Of the difference of two variants' means over the seeds that both have."""
        return student_noise(2 * self.mean_square / num_seeds, self.degrees, name)

    def floor(self, level: float) -> float:
        """A difference of two single runs of the same seed that seeds alone make: so many of them
        lie below it, in size."""
        from scipy.special import stdtrit  # here: slow to import

        quantile = float(stdtrit(self.degrees, (1 + level) / 2))
        return quantile * math.sqrt(2 * self.mean_square)


def seed_spread(scores: Mapping[tuple[str, str], float]) -> SeedSpread | None:
    """scores: (variant, seed) -> score; some may be missing. None where nothing is repeated."""
    if not scores:
        return None
    variants = sorted({variant for variant, _ in scores})
    seeds = sorted({seed for _, seed in scores})
    design = np.array(
        [
            [*(variant == one for one in variants), *(seed == one for one in seeds)]
            for variant, seed in scores
        ],
        dtype=float,
    )
    values = np.array(list(scores.values()), dtype=float)
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    degrees = len(values) - int(rank)
    if degrees < 1:
        return None
    residuals = values - design @ solution
    return SeedSpread(float(residuals @ residuals) / degrees, degrees)
