"""What duplicates there were: between which sources, how many alike, and some to read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.duplicates.drops import Drops
from megatron_codemix.corpus.duplicates.search import Found

EXAMPLES = 3  # of each kind and pair of sources
EXAMPLE_CHARACTERS = 2000
_GONE_AT_ONCE = 4096
Kind = str
EXACT: Kind = "exact duplicate"
NEAR: Kind = "near-duplicate"
KINDS: tuple[Kind, ...] = (EXACT, NEAR)


class Gone(NamedTuple):
    """A document that goes, and the one that stays for it, both by part and number."""

    kind: Kind
    part: int
    document: int
    kept_part: int
    kept_document: int
    similarity: float


def gone_of_part(found: Found, part: int) -> Iterator[Gone]:
    """By the documents' numbers."""
    exact = _gone(EXACT, found.exact, part)
    near = _gone(NEAR, found.near, part)
    one, other = next(exact, None), next(near, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.document < other.document):
            assert one is not None
            yield one
            one = next(exact, None)
        else:
            yield other
            other = next(near, None)


def _gone(kind: Kind, drops: Drops, part: int) -> Iterator[Gone]:
    for block in drops.of_part(part):
        for start in range(0, len(block), _GONE_AT_ONCE):
            for drop in block[start : start + _GONE_AT_ONCE].tolist():
                document, kept_part, kept_document, similarity = drop
                yield Gone(kind, part, document, kept_part, kept_document, similarity)


@dataclass(frozen=True)
class Summary:
    """pairs: kind -> source of what goes -> source of what stays -> documents.

    cluster_sizes: size -> how many documents that stay stand for so many near-duplicates, counting
        themselves.
    """

    pairs: dict[Kind, dict[str, dict[str, int]]]
    cluster_sizes: dict[int, int]
    examples: list[Gone]

    def texts_wanted(self, part: int) -> set[int]:
        """Documents of a part whose texts the examples show."""
        return {gone.document for gone in self.examples if gone.part == part} | {
            gone.kept_document for gone in self.examples if gone.kept_part == part
        }


def summarise(found: Found, sources: Sequence[str]) -> Summary:
    """sources: of the parts."""
    pairs: dict[Kind, dict[str, dict[str, int]]] = {kind: {} for kind in KINDS}
    examples: list[Gone] = []
    for part, source in enumerate(sources):
        for gone in gone_of_part(found, part):
            row = pairs[gone.kind].setdefault(source, {})
            kept_source = sources[gone.kept_part]
            row[kept_source] = row.get(kept_source, 0) + 1
            if row[kept_source] <= EXAMPLES:
                examples.append(gone)
    sizes, counts = np.unique(found.cluster_sizes, return_counts=True)
    return Summary(pairs, dict(zip(sizes.tolist(), counts.tolist(), strict=True)), examples)


class Loss(NamedTuple):
    """Of its `num_read` documents a source has lost `num_lost` since documents of other sources
    stay: source of these -> how many."""

    source: str
    num_lost: int
    num_read: int
    kept: dict[str, int]


def great_losses(
    pairs: Mapping[Kind, Mapping[str, Mapping[str, int]]], num_read: Mapping[str, int]
) -> list[Loss]:
    """Sources that lose more than half of their documents to others: seldom what is wanted. pairs:
    as those of a summary."""
    losses = []
    for source, total in num_read.items():
        kept: dict[str, int] = {}
        for rows in pairs.values():
            for other, count in rows.get(source, {}).items():
                if other != source:
                    kept[other] = kept.get(other, 0) + count
        num_lost = sum(kept.values())
        if 2 * num_lost > total:
            losses.append(Loss(source, num_lost, total, kept))
    return losses


class Shown(NamedTuple):
    """A document as an example shows it."""

    id: str
    text: str


def report(
    summary: Summary, sources: Sequence[str], texts: dict[tuple[int, int], Shown]
) -> JsonValue:
    """For duplicates.json. texts: by part and number."""
    return {
        "pairs": summary.pairs,
        "cluster_sizes": {str(size): count for size, count in summary.cluster_sizes.items()},
        "examples": [
            {
                "kind": gone.kind,
                "similarity": round(gone.similarity, 3),
                "dropped": _shown(sources[gone.part], texts[gone.part, gone.document]),
                "kept": _shown(sources[gone.kept_part], texts[gone.kept_part, gone.kept_document]),
            }
            for gone in summary.examples
        ],
    }


def _shown(source: str, shown: Shown) -> dict[str, str]:
    return {"source": source, "id": shown.id, "text": shown.text}
