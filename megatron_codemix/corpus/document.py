"""One document of a corpus, and when two documents are the same."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_PIECE_CHARACTERS = 1 << 20

JsonValue = Any  # what a JSON text can hold: None, bool, int, float, str, list, dict

MESSAGES = "messages"
"""In the metadata of a conversation: its turns, which are what is learned."""


@dataclass(frozen=True, slots=True)
class Document:
    """`origin` names the file the text came from; documents of one origin never part in the
    split.

    metadata: what else is known of it (`language`, `stars`), as the input had it or as a stage has
    found it. Not to be changed in place: see `with_metadata`.
    """

    id: str
    source: str
    path: str
    origin: str
    licence: str | None
    text: str
    metadata: Mapping[str, JsonValue] = field(default_factory=dict, hash=False)

    def to_record(self) -> dict[str, JsonValue]:
        """The JSON object of one line of a corpus file; `metadata` is in it where there is any."""
        record: dict[str, JsonValue] = {
            "id": self.id,
            "source": self.source,
            "path": self.path,
            "origin": self.origin,
            "licence": self.licence,
            "text": self.text,
        }
        if self.metadata:
            record["metadata"] = dict(self.metadata)
        return record

    def with_metadata(self, **values: JsonValue) -> "Document":
        """The same document with these values added or replaced."""
        return replace(self, metadata={**self.metadata, **values})


def normalise(text: str) -> str:
    """`text` with every run of white space made one space: equal forms count as the same text."""
    return "".join(_normalised_pieces(text))


def _normalised_pieces(text: str) -> Iterator[str]:
    """A piece at a time: the list of its words takes twenty times the memory of a text."""
    is_begun = ends_in_space = False
    for start in range(0, len(text), _PIECE_CHARACTERS):
        piece = text[start : start + _PIECE_CHARACTERS]
        words = " ".join(piece.split())
        if words:
            is_apart = is_begun and (ends_in_space or piece[0].isspace())
            yield f" {words}" if is_apart else words
            is_begun = True
        ends_in_space = not words or piece[-1].isspace()


def digest(text: str) -> bytes:
    """16 bytes that decide whether two texts are the same once normalised."""
    hashed = hashlib.blake2b(digest_size=16)
    for piece in _normalised_pieces(text):
        hashed.update(piece.encode())
    return hashed.digest()
