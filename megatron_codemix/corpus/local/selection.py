"""Which documents a local corpus has: long enough, each text once, none inside another."""

from collections.abc import Callable, Iterator
from pathlib import Path

from megatron_codemix.corpus.document import Document, normalise
from megatron_codemix.corpus.duplicates.contained import ExactDuplicates, drop_contained
from megatron_codemix.corpus.local import collect
from megatron_codemix.corpus.local.installed import Machine
from megatron_codemix.corpus.local.own_files import SOURCES, OwnFiles, warn_of_records, why_empty
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.record import CorpusSource
from megatron_codemix.corpus.writer import SUFFIX, write_documents
from megatron_codemix.errors import DataError

Advance = Callable[[int], None]
LeftOut = dict[str, Skipped]
"""By source."""


def of_this_machine(
    machine: Machine, own: OwnFiles, source_bytes: int, left_out: LeftOut, advance: Advance
) -> list[Document]:
    """Documents of the sources that the user has not replaced, each text once, none inside
    another.
    """
    wanted = [source for source in SOURCES if source not in own.files]
    documents: list[Document] = []
    if "code" in wanted or "text" in wanted:
        files = left_out["code" if "code" in wanted else "text"]  # own code has reasons of its own
        code, docstrings = collect.code_and_docstrings(machine, source_bytes, files, advance)
        documents += code + docstrings
    if "markup" in wanted:
        documents += collect.markup(machine, source_bytes, left_out["markup"], advance)
    if "text" in wanted:
        documents += collect.prose(machine, source_bytes, left_out["text"], advance)
    documents = _long_enough([one for one in documents if one.source in wanted], left_out)
    documents = _without_duplicates(documents, left_out)
    documents, contained = drop_contained(documents)
    for document in contained:
        left_out[document.source].add("stands in another document", document.id)
    text = [one for one in documents if one.source == "text"]
    others = [one for one in documents if one.source != "text"]
    return others + collect.capped(text, source_bytes, left_out["text"])


def _long_enough(documents: list[Document], left_out: LeftOut) -> list[Document]:
    kept = []
    for document in documents:
        if len(normalise(document.text)) >= collect.MIN_DOCUMENT_CHARS:
            kept.append(document)
        else:
            left_out[document.source].add("too short", document.id)
    return kept


def _without_duplicates(documents: list[Document], left_out: LeftOut) -> list[Document]:
    duplicates = ExactDuplicates()
    for document in documents:
        duplicates.add(document)
    kept = []
    for document in documents:
        if duplicates.keeps(document):
            kept.append(document)
        else:
            left_out[document.source].add("duplicate", document.id)
    return kept


def duplicates_of_own_files(own: OwnFiles) -> ExactDuplicates:
    """What is a duplicate among the user's files: the first of two passes over them, as they may be
    larger than memory. Raises DataError: a damaged file, a source without text."""
    duplicates = ExactDuplicates()
    empty = []
    for source in own.files:
        skipped = Skipped(is_announced=False)
        num_documents = 0
        is_told = False
        for document in own.documents(source, skipped):
            is_told = is_told or warn_of_records(document, own.form.text_field)
            duplicates.add(document)
            num_documents += 1
        if num_documents == 0:
            empty.append(why_empty(source, skipped))
    if empty:
        raise DataError(*empty)
    return duplicates


def write_sources(
    folder: Path,
    local: list[Document],
    own: OwnFiles,
    duplicates: ExactDuplicates,
    left_out: LeftOut,
    advance: Advance,
) -> dict[str, CorpusSource]:
    """duplicates: those among the user's files, which are read a second time here."""
    for document in local:
        duplicates.add(document)

    def unique(source: str) -> Iterator[Document]:
        if source in own.files:
            candidates = own.documents(source, left_out[source])
        else:
            mine = (document for document in local if document.source == source)
            candidates = iter(sorted(mine, key=lambda document: document.id))
        for document in candidates:
            if source in own.files:
                advance(len(document.text))
            if duplicates.keeps(document):
                yield document
            else:
                left_out[source].add("duplicate", document.id)

    sources = {}
    for source in SOURCES:
        file, licences = write_documents(folder, source + SUFFIX, unique(source), left_out[source])
        sources[source] = CorpusSource((file,), licences)
    empty = [source for source, entry in sources.items() if entry.num_documents == 0]
    if empty:
        raise DataError(
            "\n".join(
                why_empty(source, left_out[source]) if source in own.files else _none_here(source)
                for source in empty
            )
        )
    return sources


def _none_here(source: str) -> str:
    return (
        f"source {source!r} is empty: this machine has no such files within the limits; give "
        f"files with --{source}"
    )
