"""From values to places on an axis, and where its ticks stand."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from `low` to `high`, which differ."""

    low: float
    high: float
    is_log: bool = False

    def percent(self, value: float) -> float:
        """Place of a value in percent of the axis' length, to a thousandth of it."""
        ends = [self.low, self.high, value]
        low, high, place = [math.log(end) for end in ends] if self.is_log else ends
        return round(100 * (place - low) / (high - low), 1)

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round values within the axis, which is linear."""
        assert not self.is_log, f"round values of a logarithmic axis, {self.low} to {self.high}"
        step = _round_step((self.high - self.low) / max(1, most))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def scale_over(values: Iterable[float], *, is_log: bool = False, margin: float = 0.05) -> Scale:
    """An axis that holds `values`, which are not empty, with a margin at both ends."""
    low, high = math.inf, -math.inf
    for value in values:
        low, high = min(low, value), max(high, value)
    assert low <= high, "an axis without values"
    if is_log:
        stretch = (high / low) ** margin if high > low else 2.0
        return Scale(low=low / stretch, high=high * stretch, is_log=True)
    width = (high - low) or abs(high) or 1.0
    return Scale(low=low - margin * width, high=high + margin * width)


def _round_step(least: float) -> float:
    """Smallest of 1, 2, 2.5, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def tick_words(ticks: list[float], suffix: str = "") -> list[str]:
    """All with as many digits behind the point as the finest needs: `0.5`, `1.0`."""
    digits = next(
        (
            number
            for number in range(8)
            if all(abs(round(tick, number) - tick) <= 1e-9 * max(1, abs(tick)) for tick in ticks)
        ),
        8,
    )
    # Adding 0.0 turns -0.0, which rounding leaves, into 0.0.
    return [f"{round(tick, digits) + 0.0:,.{digits}f}{suffix}" for tick in ticks]


def signed_words(ticks: list[float], suffix: str = "") -> list[str]:
    """`+2%`, `0%`, `-2%`, with a minus as wide as the plus."""
    words = tick_words(ticks, suffix)
    return [
        f"+{word}" if tick > 1e-12 else word.replace("-", "\u2212")
        for tick, word in zip(ticks, words, strict=True)
    ]
