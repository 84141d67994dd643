"""How much of each task a corpus holds: counted part by part, added up, shown side by side."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from megatron_codemix.corpus.contamination.index import FoundItem
from megatron_codemix.corpus.contamination.items import EvaluationTask
from megatron_codemix.corpus.document import JsonValue

EXAMPLES = 5  # of each task
MOSTLY = 0.8
_SHOWN_CHARACTERS = 600
_AROUND_CHARACTERS = 100
_COLUMN = 58


@dataclass
class TaskHits:
    """What some parts hold of a task.

    items: id -> documents that hold it, and the largest share of its words in one.
    """

    documents: int = 0
    items: dict[str, tuple[int, float]] = field(default_factory=dict)
    examples: list[dict[str, JsonValue]] = field(default_factory=list)

    def add_item(self, item: str, documents: int, share: float) -> None:
        """Counts an item in some documents."""
        known_documents, known_share = self.items.get(item, (0, 0.0))
        self.items[item] = (known_documents + documents, max(known_share, share))

    def merge(self, other: "TaskHits") -> None:
        """Adds what other parts hold."""
        self.documents += other.documents
        for item, (documents, share) in other.items.items():
            self.add_item(item, documents, share)
        self.examples += other.examples[: EXAMPLES - len(self.examples)]

    def to_json(self) -> JsonValue:
        items = {item: list(counts) for item, counts in self.items.items()}
        return {"documents": self.documents, "items": items, "examples": self.examples}

    @classmethod
    def from_json(cls, value: JsonValue) -> "TaskHits":
        items = {item: (counts[0], counts[1]) for item, counts in value["items"].items()}
        return cls(value["documents"], items, value["examples"])


def example(
    item_id: str, item_text: str, found: FoundItem, source: str, document: str, excerpt: str
) -> dict[str, JsonValue]:
    """An item beside the document that holds it."""
    return {
        "item": item_id,
        "item_text": item_text[:_SHOWN_CHARACTERS],
        "words_found": found.words_found,
        "words": found.words,
        "source": source,
        "document": document,
        "document_text": excerpt,
    }


def excerpt_of(text: str, begin: int, end: int) -> str:
    """What a document says from `begin` on, and a little before and behind."""
    last = min(end + _AROUND_CHARACTERS, begin + _SHOWN_CHARACTERS)
    return text[max(0, begin - _AROUND_CHARACTERS) : last]


def report(tasks: Sequence[EvaluationTask], hits: dict[str, TaskHits]) -> list[JsonValue]:
    """A record for each task, in their order, for contamination.json."""
    rows: list[JsonValue] = []
    for task in tasks:
        found = hits.get(task.name, TaskHits())
        shares = [share for _, share in found.items.values()]
        rows.append(
            {
                "task": task.name,
                "ngram": task.ngram,
                "items": len(task.items),
                "items_found": len(shares),
                "items_mostly_found": sum(share >= MOSTLY for share in shares),
                "documents_hit": found.documents,
                "mean_share_of_found_items": _rounded_mean(shares),
                "found": {item: found.items[item][0] for item in found.items},
                "examples": found.examples,
            }
        )
    return rows


def _rounded_mean(shares: Sequence[float]) -> float | None:
    return round(sum(shares) / len(shares), 4) if shares else None


def table(rows: Sequence[JsonValue]) -> str:
    """A line for each task."""
    heads = (f"{'task':32s}", "  items", "  found", " mostly", " documents", " share")
    lines = [" ".join(heads)]
    for row in rows:
        share = row["mean_share_of_found_items"]
        lines.append(
            f"{row['task']:32s} {row['items']:7d} {row['items_found']:7d} "
            f"{row['items_mostly_found']:7d} {row['documents_hit']:10d} "
            f"{'' if share is None else f'{share:.2f}':>6s}"
        )
    lines.append(
        f"found: items of which a document holds {_how(rows)}; mostly: at least {MOSTLY:.0%} of "
        "the words looked for are in one document; share: of these words, mean over items found."
    )
    return "\n".join(lines) + "\n"


def as_text(rows: Sequence[JsonValue]) -> str:
    """The table, then examples, the item on the left."""
    lines = [table(rows)]
    for row in rows:
        for one in row["examples"]:
            lines += [*_side_by_side(row["task"], one), ""]
    return "\n".join(lines)


def _how(rows: Sequence[JsonValue]) -> str:
    lengths = sorted({row["ngram"] for row in rows})
    return f"{' or '.join(map(str, lengths))} words in a row, or all of a shorter text"


def _side_by_side(task: str, shown: JsonValue) -> list[str]:
    left = [f"{task} {shown['item']}: {shown['words_found']} of {shown['words']} words"]
    right = [f"{shown['source']}: {shown['document']}"]
    for column, text in ((left, shown["item_text"]), (right, shown["document_text"])):
        column.append("-" * _COLUMN)
        for line in text.splitlines():
            column += textwrap.wrap(line, _COLUMN) or [""]
    lines = zip_longest(left, right, fillvalue="")
    return [f"{one:{_COLUMN}s} | {other}".rstrip() for one, other in lines]
