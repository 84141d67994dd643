"""Where a benchmark works and how large; what it needs made up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.bench.measure import MIN_SECONDS, Cost, Trial, alternate

SEED = 1234
VOCABULARY_SIZE = 50_257
END_OF_DOCUMENT = 0
MEAN_TOKENS = 800
"""Tokens of a document, on average."""


@dataclass(frozen=True)
class Setting:
    """`scale` shrinks all sizes: 1 is what the goals are stated for."""

    folder: Path
    scale: float = 1.0
    repeats: int = 5

    @property
    def slow_repeats(self) -> int:
        """Of what takes a minute a time."""
        return min(self.repeats, 3)

    def scaled(self, number: int, least: int = 1) -> int:
        """`number` at this scale."""
        return max(least, round(number * self.scale))

    def compare(self, trials: Mapping[str, Trial], *, is_slow: bool = False) -> dict[str, Cost]:
        """Median cost of each, measured by turns; below full size, for shorter too."""
        repeats = self.slow_repeats if is_slow else self.repeats
        return alternate(trials, repeats, MIN_SECONDS * self.scale)
