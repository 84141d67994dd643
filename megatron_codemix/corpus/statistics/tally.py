"""Names and how often they came: as many names as fit, since a corpus may give every document its
own.
"""

from dataclasses import dataclass, field

MAX_NAMES = 1000
_MAX_CHARACTERS = 100


@dataclass
class Tally:
    """Counts by name; of names that come once there are MAX_NAMES others, together."""

    counts: dict[str, int] = field(default_factory=dict)
    others: int = 0

    def add(self, name: str, count: int = 1) -> None:
        name = name[:_MAX_CHARACTERS]
        if name in self.counts or len(self.counts) < MAX_NAMES:
            self.counts[name] = self.counts.get(name, 0) + count
        else:
            self.others += count

    def merge(self, other: "Tally") -> None:
        for name, count in other.counts.items():
            self.add(name, count)
        self.others += other.others

    def to_json(self) -> dict[str, int]:
        """The most frequent first, equal ones by name; at the end `(others)`, where there are."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return dict(ordered) | ({"(others)": self.others} if self.others else {})
