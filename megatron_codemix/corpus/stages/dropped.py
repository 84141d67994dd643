"""What a stage leaves out of a part, and what it changes in the rest: counted, the first few named,
and where asked for kept.
"""

from dataclasses import dataclass, field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.writer import RecordWriter, utf8_bytes


@dataclass
class Dropped(Skipped):
    """Of one part. Also what its reader cannot read goes here (`add`), without a text."""

    writer: RecordWriter | None = None
    """Where the documents go that are left out; None where nobody wants them."""
    changed: dict[str, int] = field(default_factory=dict)
    """Kind of change -> documents."""
    tallies: dict[str, dict[str, int]] = field(default_factory=dict)
    """Property (`language`) -> value -> documents that stay."""
    num_bytes: int = 0
    """Text of the documents that are left out."""

    def drop(self, document: Document, reason: str, detail: str = "") -> None:
        """A document is left out. reason: the same words for all of a kind (`too short`), for they
        are counted; detail: what is special about this one (`12 words`)."""
        self.add(reason, document.id)
        self.num_bytes += utf8_bytes(document.text)
        if self.writer is not None:
            self.writer.add(document.to_record() | {"reason": reason, "detail": detail})

    def tally(self, name: str, value: str) -> None:
        """A document is kept that has this value of a property (`language`, `python`)."""
        counts = self.tallies.setdefault(name, {})
        counts[value] = counts.get(value, 0) + 1

    def change(self, what: str, count: int = 1) -> None:
        """A document is kept, but not as it was (`encoding repaired`)."""
        self.changed[what] = self.changed.get(what, 0) + count
