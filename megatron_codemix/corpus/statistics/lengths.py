"""Lengths of documents: counted finely enough for percentiles, in memory that their number does not
change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

_BITS = 11
"""Leading bits of a length that are kept: exact below 2048, and at most 0.1% too low above."""


@dataclass
class Lengths:
    """A histogram of whole numbers. There are at most 2**10 bins for each doubling, so some 20,000
    below the longest line that is read."""

    counts: dict[int, int] = field(default_factory=dict)
    """Smallest length of a bin -> documents."""
    total: int = 0
    shortest: int | None = None
    longest: int = 0

    def add(self, length: int) -> None:
        shift = length.bit_length() - _BITS
        edge = length >> shift << shift if shift > 0 else length
        self.counts[edge] = self.counts.get(edge, 0) + 1
        self.total += length
        self.longest = max(self.longest, length)
        if self.shortest is None or length < self.shortest:
            self.shortest = length

    def merge(self, other: "Lengths") -> None:
        for edge, count in other.counts.items():
            self.counts[edge] = self.counts.get(edge, 0) + count
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        shortest = [one for one in (self.shortest, other.shortest) if one is not None]
        self.shortest = min(shortest, default=None)

    @property
    def number(self) -> int:
        """Documents."""
        return sum(self.counts.values())

    def quantiles(self, shares: Sequence[float]) -> list[int] | None:
        """The smallest length that at least this share of the documents does not exceed, for each
        of the shares, which ascend; at most 0.1% below it. None where there is no document."""
        number = self.number
        if not number:
            return None
        found: list[int] = []
        passed = 0
        for edge in sorted(self.counts):
            passed += self.counts[edge]
            while len(found) < len(shares) and passed >= shares[len(found)] * number:
                found.append(edge)
        return found + [self.longest] * (len(shares) - len(found))  # of a share that rounds above 1

    def histogram(self) -> list[tuple[int, int]]:
        """(k, documents whose length is in [2**(k/2), 2**((k+1)/2))) for ascending k; two bins for
        each doubling. A length of 0 is with those of 1."""
        bins: dict[int, int] = {}
        for edge, count in self.counts.items():
            place = (max(edge, 1) ** 2).bit_length() - 1
            bins[place] = bins.get(place, 0) + count
        return sorted(bins.items())
