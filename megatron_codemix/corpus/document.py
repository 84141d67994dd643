"""One document of a corpus, and when two documents are the same."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

JsonValue = Any  # what a JSON text can hold: None, bool, int, float, str, list, dict


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
    return " ".join(text.split())


def digest(text: str) -> bytes:
    """16 bytes that decide whether two texts are the same once normalised."""
    return hashlib.blake2b(normalise(text).encode(), digest_size=16).digest()
