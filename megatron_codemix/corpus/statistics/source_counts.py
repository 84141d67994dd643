"""Everything that is counted of a source."""

from dataclasses import dataclass, field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.split import split_of
from megatron_codemix.corpus.statistics.languages import languages_of
from megatron_codemix.corpus.statistics.lengths import Lengths
from megatron_codemix.corpus.statistics.lowest import Lowest
from megatron_codemix.corpus.statistics.samples import NUM_PIECES, add_pieces, sample_of
from megatron_codemix.corpus.statistics.synthetic import Synthetic
from megatron_codemix.corpus.statistics.tally import Tally

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class CountOptions:
    """num_samples: documents of each source to read, drawn by `seed`. validation_fraction: what
    `codemix data prepare` would hold out. has_pieces: whether text is drawn for a tokenizer."""

    num_samples: int
    seed: int
    validation_fraction: float
    has_pieces: bool


class SourceCounts:
    """Of a source, or of some of its parts."""

    def __init__(self, options: CountOptions) -> None:
        self.options = options
        self.lengths = Lengths()
        self.licences = Tally()
        self.natural = Tally()
        self.programming = Tally()
        self.train_documents = 0
        self.train_bytes = 0
        self.synthetic = Synthetic()
        self.skipped = Skipped(is_announced=False)
        self.samples: Lowest[dict[str, object]] = Lowest(options.num_samples)
        self.pieces: Lowest[str] = Lowest(NUM_PIECES if options.has_pieces else 0)

    def add(self, document: Document, num_bytes: int, key: int) -> None:
        """num_bytes: of its text. key: random, and the document's own."""
        self.lengths.add(num_bytes)
        self.licences.add(document.licence or UNKNOWN)
        natural, programming = languages_of(document)
        self.natural.add(natural or UNKNOWN)
        self.programming.add(programming or UNKNOWN)
        if split_of(document.origin, self.options.validation_fraction) == "train":
            self.train_documents += 1
            self.train_bytes += num_bytes
        if document.metadata:
            self.synthetic.add(document.metadata)
        if self.samples.wants(key):
            self.samples.add(key, sample_of(document))
        if self.options.has_pieces:
            add_pieces(self.pieces, key, document.text)

    def merge(self, other: "SourceCounts") -> None:
        self.lengths.merge(other.lengths)
        self.licences.merge(other.licences)
        self.natural.merge(other.natural)
        self.programming.merge(other.programming)
        self.train_documents += other.train_documents
        self.train_bytes += other.train_bytes
        self.synthetic.merge(other.synthetic)
        self.skipped.merge(other.skipped)
        self.samples.merge(other.samples)
        self.pieces.merge(other.pieces)


@dataclass
class DroppedSamples:
    """Of a source's documents that a stage has left out: some of each reason, up to MAX_REASONS."""

    MAX_REASONS = 60

    size: int
    by_reason: dict[str, Lowest[dict[str, object]]] = field(default_factory=dict)

    def add(self, document: Document, reason: str, detail: str, key: int) -> None:
        lowest = self._of(reason)
        if lowest is not None and lowest.wants(key):
            lowest.add(key, sample_of(document) | {"detail": detail})

    def merge(self, other: "DroppedSamples") -> None:
        for reason, more in other.by_reason.items():
            lowest = self._of(reason)
            if lowest is not None:
                lowest.merge(more)

    def _of(self, reason: str) -> "Lowest[dict[str, object]] | None":
        if reason not in self.by_reason:
            if len(self.by_reason) >= self.MAX_REASONS:
                return None
            self.by_reason[reason] = Lowest(self.size)
        return self.by_reason[reason]
