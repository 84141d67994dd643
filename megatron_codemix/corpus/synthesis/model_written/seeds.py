"""Which documents of a corpus the model is shown, in an order that a seed decides."""

import hashlib
import heapq
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json

_LEAST_CHARACTERS = 200
"""A shorter document suggests no subject."""


def seed_documents(corpus: Path, seed: int, most: int) -> list[Document]:
    """Up to `most` documents, in the order of a hash of the seed and their text; asking for more
    only adds to the end. Memory is bounded by these.

    Raises DataError: no such corpus, or no document in it that is long enough.
    """
    chosen: list[tuple[int, int, Document]] = []
    for number, document in enumerate(_documents(corpus)):
        key = -_key(document, seed)
        if len(chosen) < most:
            heapq.heappush(chosen, (key, -number, document))
        elif (key, -number) > chosen[0][:2]:
            heapq.heapreplace(chosen, (key, -number, document))
    if not chosen:
        raise DataError(
            f"{corpus}: holds no document of at least {_LEAST_CHARACTERS} characters to seed "
            "problems with"
        )
    return [document for _, _, document in sorted(chosen, key=lambda one: one[:2], reverse=True)]


def corpus_identity(corpus: Path) -> str:
    """Names what is in a corpus by its files' names and sizes. Raises DataError: no such corpus."""
    files = [
        [source, one.name, one.num_bytes()]
        for source, parts in source_files(corpus).items()
        for one in parts
    ]
    return hash_json(files)[:16]


def _documents(corpus: Path) -> Iterator[Document]:
    for source, files in source_files(corpus).items():
        for document in read_documents(files, source, Skipped()):
            if len(document.text) >= _LEAST_CHARACTERS:
                yield document


def _key(document: Document, seed: int) -> int:
    text = f"{seed}\0{document.source}\0{document.id}\0{document.text}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
