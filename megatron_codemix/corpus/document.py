"""One document of a corpus, and when two documents are the same."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """`origin` names the file the text came from; documents of one origin never part in the
    split.
    """

    id: str
    source: str
    path: str
    origin: str
    licence: str | None
    text: str

    def to_record(self) -> dict[str, Any]:
        """The JSON object of one line of a corpus file."""
        return asdict(self)


def normalise(text: str) -> str:
    """`text` with every run of white space made one space: equal forms count as the same text."""
    return " ".join(text.split())


def digest(text: str) -> bytes:
    """16 bytes that decide whether two texts are the same once normalised."""
    return hashlib.blake2b(normalise(text).encode(), digest_size=16).digest()
