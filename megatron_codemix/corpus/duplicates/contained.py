"""The same text once, whatever its source, kept where it can leak nothing.

Of equal documents the one whose origin has the smallest split position stays: if any copy is held
out, the one that stays is. The same rule settles a document that stands inside another, such as a
docstring quoted in a code file.
"""

from collections import defaultdict
from collections.abc import Iterable

from megatron_codemix.corpus.document import Document, digest, normalise
from megatron_codemix.corpus.split import split_position

_Rank = tuple[float, str, str]


def _rank(document: Document) -> _Rank:
    return split_position(document.origin), document.source, document.id


class ExactDuplicates:
    """First `add` every document, then ask `keeps`: two passes, 100 bytes of memory a document."""

    def __init__(self) -> None:
        self._best: dict[bytes, _Rank] = {}
        self._written: set[bytes] = set()

    def add(self, document: Document) -> None:
        key, rank = digest(document.text), _rank(document)
        if key not in self._best or rank < self._best[key]:
            self._best[key] = rank

    def keeps(self, document: Document) -> bool:
        """True for one document of each text, once."""
        key = digest(document.text)
        if key in self._written or self._best[key] != _rank(document):
            return False
        self._written.add(key)
        return True


class ContainedTexts:
    """Finds which of a set of texts stand, white space aside, inside other documents."""

    def __init__(self, texts: Iterable[Document]) -> None:
        self._by_line: defaultdict[str, list[tuple[Document, str]]] = defaultdict(list)
        for document in texts:
            # A text can only stand where its longest line stands; sets of lines compare fast.
            lines = (line.strip() for line in document.text.split("\n"))
            longest = max(lines, key=lambda line: (len(line), line))
            self._by_line[longest].append((document, normalise(document.text)))

    def inside(self, container: Document) -> list[Document]:
        """The texts that `container` holds, itself apart."""
        lines = {line.strip() for line in container.text.split("\n")}
        candidates = [
            entry for line in lines & self._by_line.keys() for entry in self._by_line[line]
        ]
        if not candidates:
            return []
        whole = normalise(container.text)
        return [
            text
            for text, normal in candidates
            if text.id != container.id and text.origin != container.origin and normal in whole
        ]


def drop_contained(documents: list[Document]) -> tuple[list[Document], list[Document]]:
    """(kept, dropped): of a `text` document inside another document, the one with the larger split
    position goes.
    """
    contained = ContainedTexts(document for document in documents if document.source == "text")
    pairs = [(text, container) for container in documents for text in contained.inside(container)]
    dropped: set[tuple[str, str]] = set()
    for text, container in sorted(pairs, key=lambda pair: (_rank(pair[0]), _rank(pair[1]))):
        if _name(text) not in dropped and _name(container) not in dropped:
            dropped.add(_name(max(text, container, key=_rank)))
    kept = [document for document in documents if _name(document) not in dropped]
    return kept, [document for document in documents if _name(document) in dropped]


def _name(document: Document) -> tuple[str, str]:
    return document.source, document.id
