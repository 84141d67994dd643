"""Weights of sources as integers that sum to WEIGHT_UNITS."""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from megatron_codemix.errors import ConfigError

WEIGHT_UNITS = 2**20
"""Weights are recorded and kept as integers that sum to this."""

SUM_TOLERANCE = 1e-5
"""Weights written with six decimals (three times 0.333333) still sum to 1."""

MAX_SOURCES = np.iinfo(np.int16).max


def quantise_weights(weights: Mapping[str, float]) -> dict[str, int]:
    """Integers in proportion to `weights`, sorted by name, that sum to exactly WEIGHT_UNITS.

    Largest remainder (the first name on a tie), in exact arithmetic; a positive weight gets at
    least one unit, a weight of 0 gets none. Raises ConfigError if a weight is negative or not
    finite, or the weights do not sum to 1.
    """
    problems = [
        f"mixture: the weight of source {name!r} is {weight}; write a number from 0 to 1"
        for name, weight in weights.items()
        if not (math.isfinite(weight) and weight >= 0)
    ]
    if len(weights) > MAX_SOURCES:
        problems.append(f"mixture: {len(weights)} sources; at most {MAX_SOURCES} can be mixed")
    if not problems and abs(math.fsum(weights.values()) - 1) > SUM_TOLERANCE:
        problems.append(
            f"mixture: the weights sum to {math.fsum(weights.values()):.6g}, not 1 "
            f"({', '.join(f'{name}: {weight:g}' for name, weight in weights.items())})"
        )
    if problems:
        raise ConfigError(problems)
    total = sum(Fraction(weight) for weight in weights.values())
    exact = {name: Fraction(weights[name]) * WEIGHT_UNITS / total for name in sorted(weights)}
    return _round_to_units(exact)


def _round_to_units(exact: Mapping[str, Fraction]) -> dict[str, int]:
    units = {name: max(1, math.floor(share)) if share else 0 for name, share in exact.items()}
    missing = WEIGHT_UNITS - sum(units.values())
    # max() takes the first of equals, and names are sorted.
    for _ in range(missing):
        units[max(exact, key=lambda name: exact[name] - units[name])] += 1
    # Sources below one unit that were raised to one may have taken more than there was.
    for _ in range(-missing):
        above_one = [name for name in exact if units[name] > 1]
        units[max(above_one, key=lambda name: units[name] - exact[name])] -= 1
    return units
