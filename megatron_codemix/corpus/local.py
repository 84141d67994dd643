"""A corpus of code, markup and English prose from this machine alone; the user's own files in place
of any of them.
"""

import contextlib
import logging
import os
import shutil
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
from megatron_codemix.corpus.output_place import require_folder_place
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
    left as it is, and what stood there stays where it cannot be built. `advance` is told of
    characters read. Raises DataError: a pattern without files, a damaged file, an empty source.
    """
    start = time.monotonic()
    _require_sensible(out, source_bytes)
    own = OwnFiles(_expand(patterns or {}), text_field, origin_field)
    arguments = _arguments(own, source_bytes)
    complete = _complete(out, arguments)
    if complete is not None:
        log.info("%s: corpus is complete, nothing to do", out)
        return complete
    own_bytes = sum(entry[1] for entries in own.fingerprint().values() for entry in entries)
    require_free_bytes(out, 3 * source_bytes + 2 * own_bytes, "the corpus")
    skipped = Skipped()
    local = _of_this_machine(
        machine or this_machine(), own, source_bytes, skipped, advance or _ignore
    )
    with _new_folder(out) as folder:
        sources = _write(folder, local, own, skipped, advance or _ignore)
        (out / CORPUS_FILE).unlink(missing_ok=True)  # before the first of its files goes
        for entry in sources.values():
            os.replace(folder / entry.file, out / entry.file)
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
    _require_sensible(out, source_bytes)
    own = OwnFiles(_expand(patterns), text_field, origin_field)
    return LocalPlan(
        out=str(out),
        is_complete=_complete(out, _arguments(own, source_bytes)) is not None,
        own_files={source: len(files) for source, files in own.files.items()},
        from_this_machine=[source for source in SOURCES if source not in own.files],
        source_bytes=source_bytes,
    )


def _require_sensible(out: Path, source_bytes: int) -> None:
    if source_bytes <= 0:
        raise DataError(f"source bytes {source_bytes}: nothing can be taken; give more than 0")
    require_folder_place(out, "the corpus")


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder inside `out` that is gone afterwards, and `out` with it where nothing came of
    it."""
    folder = out / ".partial"
    if folder.is_dir():  # of a killed run
        shutil.rmtree(folder)
    made = [place for place in (out, *out.parents) if not place.exists()]
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        for place in made:
            if not any(place.iterdir()):
                place.rmdir()


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
    folder: Path, local: list[Document], own: OwnFiles, skipped: Skipped, advance: Advance
) -> dict[str, SourceFile]:
    """Two passes over the user's files, which may be larger than memory: what is a duplicate, then
    the rest.
    """
    duplicates = ExactDuplicates()
    for document in (*local, *own.documents(Skipped(is_announced=False))) if own.files else local:
        duplicates.add(document)

    own_skipped = {source: Skipped() for source in own.files}

    def unique(source: str) -> Iterator[Document]:
        left_out = own_skipped.get(source, skipped)
        if source in own.files:
            one = OwnFiles({source: own.files[source]}, own.text_field, own.origin_field)
            candidates: Iterator[Document] = one.documents(left_out)
        else:
            mine = (document for document in local if document.source == source)
            candidates = iter(sorted(mine, key=lambda document: document.id))
        for document in candidates:
            if source in own.files:
                advance(len(document.text))
            if duplicates.keeps(document):
                yield document
            else:
                left_out.add("duplicate", document.id)

    sources = {source: write_source(folder, source, unique(source)) for source in SOURCES}
    empty = [source for source, entry in sources.items() if entry.num_documents == 0]
    if empty:
        raise DataError("\n".join(_empty(source, own_skipped.get(source)) for source in empty))
    for others in own_skipped.values():
        skipped.merge(others)
    return sources


_IS = {"duplicate": "in the corpus already"}  # other reasons can stand after "is" as they are


def _empty(source: str, skipped: Skipped | None) -> str:
    """Why nothing is left of a source; `skipped` is None where no files were given for it."""
    if skipped is None:
        return (
            f"source {source!r} is empty: this machine has no such files within the limits; give "
            f"files with --{source}"
        )
    total = sum(skipped.counts.values())
    reasons = [(count, _IS.get(reason, reason)) for reason, count in sorted(skipped.counts.items())]
    if not reasons:
        why = "the files hold no text"
    elif total == 1:
        why = f"the only record is {reasons[0][1]}"
    elif len(reasons) == 1:
        why = f"all {total} records are {reasons[0][1]}"
    else:
        each = ", ".join(f"{count} {'is' if count == 1 else 'are'} {why}" for count, why in reasons)
        why = f"no record of {total} can be used ({each})"
    return f"source {source!r} is empty: {why}; give other files with --{source}"


def _environment() -> dict[str, Any]:
    packages = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
    return {
        "python": python_version(),
        "platform": sys.platform,
        "packages": dict(sorted(packages.items())),
    }
