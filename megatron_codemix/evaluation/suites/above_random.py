"""Whether a score is better than guessing, given its noise."""

import math

_Z_99 = 2.5758293035489004
"""Half-width of the two-sided 99% interval of a normal distribution, in standard errors."""


def interval(value: float, standard_error: float) -> tuple[float, float]:
    """The 99% interval of a score."""
    return value - _Z_99 * standard_error, value + _Z_99 * standard_error


def is_above_random(
    value: float, standard_error: float | None, baseline: float | None, num_items: int
) -> bool | None:
    """Whether the whole 99% interval lies above the baseline; None where that cannot be told: no
    baseline, or one item, which has no standard error.

    The interval is at least as wide as that of guessing on so many items: where all items come out
    equal, a score has a standard error of 0, and a few lucky guesses would be above random.
    """
    if baseline is None or standard_error is None:
        return None
    of_guessing = math.sqrt(baseline * (1 - baseline) / num_items)
    return interval(value, max(standard_error, of_guessing))[0] > baseline
