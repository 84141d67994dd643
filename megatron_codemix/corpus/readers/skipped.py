"""What is left out of a corpus: counted by reason, the first few by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from megatron_codemix.corpus.document import JsonValue

_MAX_NAMED = 20


@dataclass
class Skipped:
    """What was left out and why; the first few of each reason by name.

    is_announced: whether what cannot be read is logged; not where files are read a second time.
    """

    is_announced: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.names.setdefault(reason, [])
        if len(named) < _MAX_NAMED:
            named.append(name)

    def total(self) -> int:
        """Of all reasons."""
        return sum(self.counts.values())

    def merge(self, other: "Skipped") -> None:
        """Adds what another reader left out."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            named = self.names.setdefault(reason, [])
            named += other.names[reason][: _MAX_NAMED - len(named)]

    def to_json(self) -> dict[str, JsonValue]:
        """Reasons by name, each with its count and the first few names."""
        return {
            reason: {"count": self.counts[reason], "first": list(self.names[reason])}
            for reason in sorted(self.counts)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, JsonValue]) -> "Skipped":
        skipped = cls(is_announced=False)
        for reason, entry in value.items():
            skipped.counts[reason], skipped.names[reason] = entry["count"], list(entry["first"])
        return skipped
