"""Whether a score is better than guessing, given its noise."""

_Z_99 = 2.5758293035489004
"""Half-width of the two-sided 99% interval of a normal distribution, in standard errors."""


def interval(value: float, standard_error: float) -> tuple[float, float]:
    """The 99% interval of a score."""
    return value - _Z_99 * standard_error, value + _Z_99 * standard_error


def is_above_random(
    value: float, standard_error: float | None, baseline: float | None
) -> bool | None:
    """Whether the whole 99% interval lies above the baseline; None where that cannot be told: no
    baseline, or one item, which has no standard error.

    A standard error of 0 (all items equal) counts as what it is: all wrong is not above 0.
    """
    if baseline is None or standard_error is None:
        return None
    return interval(value, standard_error)[0] > baseline
