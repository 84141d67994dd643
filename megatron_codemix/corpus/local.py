"""A corpus of code, markup and English prose from this machine alone; the user's own files in place
of any of them.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from megatron_codemix.corpus import collect
from megatron_codemix.corpus.deduplicate import ExactDuplicates, drop_contained
from megatron_codemix.corpus.document import Document, normalise
from megatron_codemix.corpus.installed import Machine, python_version, this_machine
from megatron_codemix.corpus.readers import InputFile, Skipped, expand_patterns, read_documents
from megatron_codemix.corpus.store import (
    CORPUS_FILE,
    SourceFile,
    corpus_record,
    load_corpus,
    write_source,
)
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_json, require_free_bytes, write_json

log = logging.getLogger(__name__)

SOURCES = ("code", "markup", "text")
SOURCE_BYTES = 16_000_000
"""Cap of each source of this machine. 16 MB of files give 13 MB of code and its docstrings in ten
seconds.
"""
_COLLECTOR_VERSION = 1  # raise when the same machine would give another corpus

Advance = Callable[[int], None]


@dataclass(frozen=True)
class LocalCorpus:
    """What `build_local_corpus` has written, or found complete (`was_complete`)."""

    folder: Path
    sources: dict[str, SourceFile]
    skipped: dict[str, int]
    seconds: float
    was_complete: bool


@dataclass(frozen=True)
class OwnFiles:
    """The user's files that replace sources of this machine."""

    files: dict[str, list[InputFile]]
    text_field: str = "text"
    origin_field: str = "origin"

    def documents(self, skipped: Skipped) -> Iterator[Document]:
        for source, files in self.files.items():
            yield from read_documents(
                files,
                source,
                skipped,
                text_field=self.text_field,
                origin_field=self.origin_field,
            )

    def fingerprint(self) -> dict[str, list[tuple[str, int, int]]]:
        return {
            source: [
                (str(file.path), file.path.stat().st_size, file.path.stat().st_mtime_ns)
                for file in files
            ]
            for source, files in self.files.items()
        }


def build_local_corpus(
    out: Path,
    patterns: Mapping[str, Sequence[str]] | None = None,
    *,
    text_field: str = "text",
    origin_field: str = "origin",
    source_bytes: int = SOURCE_BYTES,
    machine: Machine | None = None,
    advance: Advance | None = None,
) -> LocalCorpus:
    """Writes `<source>.jsonl.zst` for code, markup and text, and corpus.json last.

    `patterns` puts the user's files in place of a source. A complete corpus with equal arguments is
    left as it is. `advance` is told of characters read. Raises DataError: a pattern without files,
    a damaged file, an empty source.
    """
    start = time.monotonic()
    own = OwnFiles(_expand(patterns or {}), text_field, origin_field)
    arguments = _arguments(own, source_bytes)
    complete = _complete(out, arguments)
    if complete is not None:
        log.info("%s: corpus is complete, nothing to do", out)
        return complete
    own_bytes = sum(entry[1] for entries in own.fingerprint().values() for entry in entries)
    require_free_bytes(out, 3 * source_bytes + 2 * own_bytes, "the corpus")
    (out / CORPUS_FILE).unlink(missing_ok=True)
    skipped = Skipped()
    local = _of_this_machine(
        machine or this_machine(), own, source_bytes, skipped, advance or _ignore
    )
    sources = _write(out, local, own, skipped, advance or _ignore)
    write_json(out / CORPUS_FILE, corpus_record(arguments, _environment(), sources, skipped))
    return LocalCorpus(out, sources, skipped.counts, time.monotonic() - start, False)


@dataclass(frozen=True)
class LocalPlan:
    """What `build_local_corpus` would do."""

    out: str
    is_complete: bool
    own_files: dict[str, int]
    """Files of the user that replace a source."""
    from_this_machine: list[str]
    source_bytes: int


def plan_local_corpus(
    out: Path,
    patterns: Mapping[str, Sequence[str]],
    *,
    text_field: str = "text",
    origin_field: str = "origin",
    source_bytes: int = SOURCE_BYTES,
) -> LocalPlan:
    """Checks the patterns and writes nothing. Raises DataError as `build_local_corpus` does."""
    own = OwnFiles(_expand(patterns), text_field, origin_field)
    return LocalPlan(
        out=str(out),
        is_complete=_complete(out, _arguments(own, source_bytes)) is not None,
        own_files={source: len(files) for source, files in own.files.items()},
        from_this_machine=[source for source in SOURCES if source not in own.files],
        source_bytes=source_bytes,
    )


def _arguments(own: OwnFiles, source_bytes: int) -> dict[str, Any]:
    return {
        "collector_version": _COLLECTOR_VERSION,
        "source_bytes": source_bytes,
        "text_field": own.text_field,
        "origin_field": own.origin_field,
        "own_files": {
            name: [list(entry) for entry in entries] for name, entries in own.fingerprint().items()
        },
    }


def _ignore(amount: int) -> None:
    return None


def _expand(patterns: Mapping[str, Sequence[str]]) -> dict[str, list[InputFile]]:
    unknown = sorted(set(patterns) - set(SOURCES))
    assert not unknown, unknown
    problems, files = [], {}
    for source in SOURCES:
        if patterns.get(source):
            try:
                files[source] = expand_patterns(patterns[source])
            except DataError as error:
                problems.append(f"--{source}: {error}")
    if problems:
        raise DataError("\n".join(problems))
    return files


def _complete(out: Path, arguments: dict[str, Any]) -> LocalCorpus | None:
    sources = load_corpus(out)
    if sources is None:
        return None
    record = read_json(out / CORPUS_FILE)
    if record.get("arguments") != arguments:
        log.info("%s: made with other arguments, building it again", out)
        return None
    if not all(entry.is_whole(out) for entry in sources.values()):
        log.warning("%s: a source file is missing or damaged, building it again", out)
        return None
    skipped = {reason: entry["count"] for reason, entry in record["skipped"].items()}
    return LocalCorpus(out, sources, skipped, 0.0, True)


def _of_this_machine(
    machine: Machine, own: OwnFiles, source_bytes: int, skipped: Skipped, advance: Advance
) -> list[Document]:
    """Documents of the sources that the user has not replaced, each text once, none inside
    another.
    """
    wanted = [source for source in SOURCES if source not in own.files]
    documents: list[Document] = []
    if "code" in wanted or "text" in wanted:
        code, docstrings = collect.code_and_docstrings(machine, source_bytes, skipped, advance)
        documents += code + docstrings
    if "markup" in wanted:
        documents += collect.markup(machine, source_bytes, skipped, advance)
    if "text" in wanted:
        documents += collect.prose(machine, source_bytes, skipped, advance)
    documents = _long_enough([one for one in documents if one.source in wanted], skipped)
    documents = _without_duplicates(documents, skipped)
    documents, contained = drop_contained(documents)
    for document in contained:
        skipped.add("stands in another document", document.id)
    text = [one for one in documents if one.source == "text"]
    others = [one for one in documents if one.source != "text"]
    return others + collect.capped(text, source_bytes, skipped)


def _long_enough(documents: list[Document], skipped: Skipped) -> list[Document]:
    kept = []
    for document in documents:
        if len(normalise(document.text)) >= collect.MIN_DOCUMENT_CHARS:
            kept.append(document)
        else:
            skipped.add("too short", document.id)
    return kept


def _without_duplicates(documents: list[Document], skipped: Skipped) -> list[Document]:
    duplicates = ExactDuplicates()
    for document in documents:
        duplicates.add(document)
    kept = []
    for document in documents:
        if duplicates.keeps(document):
            kept.append(document)
        else:
            skipped.add("duplicate", document.id)
    return kept


def _write(
    out: Path, local: list[Document], own: OwnFiles, skipped: Skipped, advance: Advance
) -> dict[str, SourceFile]:
    """Two passes over the user's files, which may be larger than memory: what is a duplicate, then
    the rest.
    """
    duplicates = ExactDuplicates()
    for document in (*local, *own.documents(Skipped())) if own.files else local:
        duplicates.add(document)

    def unique(source: str) -> Iterator[Document]:
        if source in own.files:
            one = OwnFiles({source: own.files[source]}, own.text_field, own.origin_field)
            candidates: Iterator[Document] = one.documents(skipped)
        else:
            mine = (document for document in local if document.source == source)
            candidates = iter(sorted(mine, key=lambda document: document.id))
        for document in candidates:
            if source in own.files:
                advance(len(document.text))
            if duplicates.keeps(document):
                yield document
            else:
                skipped.add("duplicate", document.id)

    sources = {source: write_source(out, source, unique(source)) for source in SOURCES}
    empty = [source for source, entry in sources.items() if entry.num_documents == 0]
    if empty:
        raise DataError(
            "\n".join(
                f"{out}: source {source!r} is empty (skipped: {skipped.counts}); "
                f"give files with --{source}"
                for source in empty
            )
        )
    return sources


def _environment() -> dict[str, Any]:
    packages = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
    return {
        "python": python_version(),
        "platform": sys.platform,
        "packages": dict(sorted(packages.items())),
    }
