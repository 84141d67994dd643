"""Exact duplicates, counted while reading, in bounded memory.

Of all texts those are looked at whose digest is below a bound, which is halved whenever there are
more of them than may be held (distinct sampling, Gibbons, VLDB 2001). All copies of a text are
looked at or none is, so the numbers found, divided by the share that is looked at, are unbiased.
Small corpora are looked at as a whole, and then the numbers are exact.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from megatron_codemix.corpus.document import JsonValue

MAX_TEXTS = 1 << 18
"""Different texts that are held: 40 MB of memory."""
_NORMAL_95 = 1.96


@dataclass
class Repeats:
    """level: the share of texts that is looked at is 2**-level."""

    max_texts: int = MAX_TEXTS
    level: int = 0
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    """Source -> 64 bits of a text's digest -> documents."""
    num_held: int = 0

    def add(self, source: str, digest: bytes) -> None:
        """digest: at least 8 bytes that decide whether two texts are the same."""
        value = int.from_bytes(digest[:8], "big")
        if value >> (64 - self.level) == 0:
            self._count(source, value, 1)
            if self.num_held > self.max_texts:
                self._raise_level(self.level + 1)

    def merge(self, other: "Repeats") -> None:
        self._raise_level(max(self.level, other.level))
        for source, counts in other.counts.items():
            for value, count in counts.items():
                if value >> (64 - self.level) == 0:
                    self._count(source, value, count)
        while self.num_held > self.max_texts:
            self._raise_level(self.level + 1)

    def to_json(self) -> JsonValue:
        """Documents that repeat one before them: of their own source, and of any; texts that two
        sources share. `error`: half the width of the 95% interval."""
        pairs: dict[str, dict[str, JsonValue]] = {}
        names = sorted(self.counts)
        for place, one in enumerate(names):
            for other in names[place + 1 :]:
                shared = sum(1 for value in self.counts[one] if value in self.counts[other])
                if shared:
                    pairs.setdefault(one, {})[other] = self._estimate({1: shared})
        return {
            "share_looked_at": 2.0**-self.level,
            "within": {
                source: self._estimate(_extra_copies(counts.values()))
                for source, counts in sorted(self.counts.items())
            },
            "in_all": self._estimate(_extra_copies(self._totals())),
            "texts_shared": pairs,
        }

    def _count(self, source: str, value: int, count: int) -> None:
        counts = self.counts.setdefault(source, {})
        if value not in counts:
            self.num_held += 1
        counts[value] = counts.get(value, 0) + count

    def _raise_level(self, level: int) -> None:
        if level == self.level:
            return
        self.level = level
        for source, counts in self.counts.items():
            kept = {value: count for value, count in counts.items() if value >> (64 - level) == 0}
            self.counts[source] = kept
        self.num_held = sum(map(len, self.counts.values()))

    def _totals(self) -> Iterator[int]:
        """Documents of each text in all sources."""
        earlier: list[dict[int, int]] = []
        for counts in self.counts.values():
            for value, count in counts.items():
                if not any(value in one for one in earlier):
                    yield count + sum(
                        one[value]
                        for one in self.counts.values()
                        if one is not counts and value in one
                    )
            earlier.append(counts)

    def _estimate(self, extra: Mapping[int, int]) -> JsonValue:
        """extra: copies too many -> texts. A text is looked at with probability p, so the estimate
        is x / p summed over those looked at, its variance x**2 * (1 - p) / p**2 summed likewise
        (Horvitz and Thompson)."""
        share = 2.0**-self.level
        found = sum(copies * texts for copies, texts in extra.items())
        squares = sum(copies**2 * texts for copies, texts in extra.items())
        error = _NORMAL_95 * math.sqrt(squares * (1 - share)) / share
        return {"documents": round(found / share), "error": round(error)}


def _extra_copies(counts: Iterable[int]) -> dict[int, int]:
    """Copies too many -> texts. counts: documents of each text."""
    extra: dict[int, int] = {}
    for count in counts:
        if count > 1:
            extra[count - 1] = extra.get(count - 1, 0) + 1
    return extra
