"""What verified synthetic documents tell of themselves: families, shapes, difficulty, mutants."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.statistics.tally import Tally

NUM_BINS = 20


@dataclass
class Spread:
    """Numbers in [0, 1] in NUM_BINS equal bins; 1 is in the last."""

    bins: list[int] = field(default_factory=lambda: [0] * NUM_BINS)
    total: float = 0.0

    def add(self, value: float) -> None:
        self.bins[min(int(value * NUM_BINS), NUM_BINS - 1)] += 1
        self.total += value

    def merge(self, other: "Spread") -> None:
        self.bins = [one + more for one, more in zip(self.bins, other.bins, strict=True)]
        self.total += other.total

    def to_json(self) -> JsonValue:
        number = sum(self.bins)
        return {"bins": self.bins, "mean": round(self.total / number, 4) if number else None}


@dataclass
class Synthetic:
    """Of the documents of a source whose metadata names a family."""

    num_documents: int = 0
    families: Tally = field(default_factory=Tally)
    methods: Tally = field(default_factory=Tally)
    shapes: Tally = field(default_factory=Tally)
    difficulty: Spread = field(default_factory=Spread)
    mutation_score: Spread = field(default_factory=Spread)

    def add(self, metadata: Mapping[str, JsonValue]) -> None:
        """Counts a document; one that is not synthetic is passed over."""
        family = metadata.get("family")
        if not isinstance(family, str):
            return
        self.num_documents += 1
        self.families.add(family)
        for tally, name in ((self.methods, "method"), (self.shapes, "shape")):
            value = metadata.get(name)
            if isinstance(value, str):
                tally.add(value)
        mutation = metadata.get("mutation")
        score = mutation.get("score") if isinstance(mutation, dict) else None
        for spread, value in ((self.difficulty, metadata.get("difficulty")),
                              (self.mutation_score, score)):  # fmt: skip
            if isinstance(value, int | float) and 0 <= value <= 1:
                spread.add(float(value))

    def merge(self, other: "Synthetic") -> None:
        self.num_documents += other.num_documents
        self.families.merge(other.families)
        self.methods.merge(other.methods)
        self.shapes.merge(other.shapes)
        self.difficulty.merge(other.difficulty)
        self.mutation_score.merge(other.mutation_score)

    def to_json(self) -> JsonValue:
        """None where no document is synthetic."""
        if not self.num_documents:
            return None
        return {
            "documents": self.num_documents,
            "families": self.families.to_json(),
            "methods": self.methods.to_json(),
            "shapes": self.shapes.to_json(),
            "difficulty": self.difficulty.to_json(),
            "mutation_score": self.mutation_score.to_json(),
        }
