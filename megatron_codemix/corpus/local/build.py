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

from megatron_codemix.corpus.document import Document, JsonValue, normalise
from megatron_codemix.corpus.duplicates.contained import ExactDuplicates, drop_contained
from megatron_codemix.corpus.local import collect
from megatron_codemix.corpus.local.installed import Machine, python_version, this_machine
from megatron_codemix.corpus.local.own_files import SOURCES, OwnFiles, why_empty
from megatron_codemix.corpus.output_place import announce_replaced, require_folder_place
from megatron_codemix.corpus.readers import RecordForm, Skipped
from megatron_codemix.corpus.store import (
    CORPUS_FILE,
    PARTS_FOLDER,
    CorpusRecord,
    CorpusSource,
    StageRecord,
    load_corpus,
    source_of,
)
from megatron_codemix.corpus.writer import SUFFIX, write_documents
from megatron_codemix.errors import DataError
from megatron_codemix.files import require_free_bytes
from megatron_codemix.locks import exclusive_once

log = logging.getLogger(__name__)

SOURCE_BYTES = 16_000_000
"""Cap of each source of this machine. 16 MB of files give 13 MB of code and its docstrings in ten
seconds.
"""
_COLLECTOR_VERSION = 1  # raise when the same machine would give another corpus

PARTIAL = ".partial"

STAGE = "local"
"""What corpus.json calls this way of making a corpus."""

Advance = Callable[[int], None]
LeftOut = dict[str, Skipped]
"""By source."""


@dataclass(frozen=True)
class LocalCorpus:
    """What `build_local_corpus` has written, or found complete (`was_complete`)."""

    folder: Path
    sources: dict[str, CorpusSource]
    skipped: dict[str, int]
    """Of all sources together, by reason."""
    left_out: dict[str, dict[str, int]]
    """By source, then by reason."""
    own_sources: list[str]
    """Those that the user's files have replaced."""
    seconds: float
    was_complete: bool


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
    form = RecordForm(text_field=text_field, origin_field=origin_field, text_option="--text-field")
    own = OwnFiles.of_patterns(patterns or {}, form)
    arguments = _arguments(own, source_bytes)
    complete = _complete(out, arguments)
    if complete is not None:
        log.info("%s: corpus is complete, nothing to do", out)
        return complete
    own_bytes = sum(file.num_bytes() for files in own.files.values() for file in files)
    require_free_bytes(out, 3 * source_bytes + 2 * own_bytes, "the corpus")
    left_out = {source: Skipped() for source in SOURCES}
    with _new_folder(out) as folder:
        # The user's files first: what is wrong with them is said before this machine is read.
        duplicates = _of_own_files(own)
        if _is_other(load_corpus(out), arguments):
            announce_replaced(out)
        local = _of_this_machine(
            machine or this_machine(), own, source_bytes, left_out, advance or _ignore
        )
        sources = _write(folder, local, own, duplicates, left_out, advance or _ignore)
        (out / CORPUS_FILE).unlink(missing_ok=True)  # before the first of its files goes
        for entry in sources.values():
            os.replace(folder / entry.files[0].file, out / entry.files[0].file)
        stage = StageRecord(STAGE, arguments, dropped=left_out)
        CorpusRecord(sources, (stage,), _environment()).save(out)
    return _result(out, sources, stage, time.monotonic() - start, was_complete=False)


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
    """Checks the patterns, and every file up to its first document; writes nothing. Raises
    DataError as `build_local_corpus` does."""
    _require_sensible(out, source_bytes)
    form = RecordForm(text_field=text_field, origin_field=origin_field, text_option="--text-field")
    own = OwnFiles.of_patterns(patterns, form)
    own.require_usable()
    arguments = _arguments(own, source_bytes)
    if _is_other(load_corpus(out), arguments):
        announce_replaced(out, is_plan=True)
    return LocalPlan(
        out=str(out),
        is_complete=_complete(out, arguments) is not None,
        own_files={source: len(files) for source, files in own.files.items()},
        from_this_machine=[source for source in SOURCES if source not in own.files],
        source_bytes=source_bytes,
    )


def _require_sensible(out: Path, source_bytes: int) -> None:
    if source_bytes <= 0:
        raise DataError(f"source bytes {source_bytes}: nothing can be taken; give more than 0")
    require_folder_place(out, "the corpus")
    _require_own_place(out)


def _require_own_place(out: Path) -> None:
    """Raises DataError where what is in the folder would be lost, or be a second file of a
    source."""
    record = load_corpus(out)
    if record is not None and [stage.name for stage in record.stages] != [STAGE]:
        raise DataError(f"{out}: holds a corpus that {record.maker} has made; name another folder")
    if (out / PARTS_FOLDER).exists():
        raise DataError(f"{out}: holds what another command has begun; name another folder")
    is_killed = (out / PARTIAL).is_dir()  # between its files and its record
    own = {source + SUFFIX for source in SOURCES} if record or is_killed else set()
    for path in sorted(out.iterdir()) if out.is_dir() else []:
        if path.name not in own and source_of(path) in SOURCES:
            raise DataError(
                f"{path}: was not made by this command, and is source {source_of(path)!r} of this "
                "folder; name another folder"
            )


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder inside `out` that is gone afterwards, and `out` with it where nothing came of
    it. Raises RunError where another process has one."""
    folder = out / PARTIAL
    made = [place for place in (out, *out.parents) if not place.exists()]
    try:
        with exclusive_once(out / ".local.lock", "codemix corpus local", wait_seconds=0):
            if folder.is_dir():  # of a killed run
                shutil.rmtree(folder)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder)
    finally:
        for place in made:
            if place.exists() and not any(place.iterdir()):
                place.rmdir()


def _arguments(own: OwnFiles, source_bytes: int) -> dict[str, JsonValue]:
    return {
        "collector_version": _COLLECTOR_VERSION,
        "source_bytes": source_bytes,
        "text_field": own.form.text_field,
        "origin_field": own.form.origin_field,
        "own_files": own.fingerprint(),
    }


def _ignore(amount: int) -> None:
    return None


def _complete(out: Path, arguments: dict[str, JsonValue]) -> LocalCorpus | None:
    record = load_corpus(out)
    if record is None:
        return None
    if _is_other(record, arguments):
        return None
    if not record.is_whole(out):
        log.warning("%s: a source file is missing or damaged, building it again", out)
        return None
    return _result(out, record.sources, record.stages[0], 0.0, was_complete=True)


def _is_other(record: CorpusRecord | None, arguments: dict[str, JsonValue]) -> bool:
    """Whether a corpus of other arguments is on record."""
    made = [(stage.name, stage.options) for stage in record.stages] if record else None
    return made not in (None, [(STAGE, arguments)])


def _result(
    out: Path,
    sources: dict[str, CorpusSource],
    stage: StageRecord,
    seconds: float,
    *,
    was_complete: bool,
) -> LocalCorpus:
    total = Skipped()
    for skipped in stage.dropped.values():
        total.merge(skipped)
    return LocalCorpus(
        folder=out,
        sources=sources,
        skipped=dict(sorted(total.counts.items())),
        left_out={
            source: dict(sorted(skipped.counts.items()))
            for source, skipped in stage.dropped.items()
        },
        own_sources=sorted(stage.options["own_files"]),
        seconds=seconds,
        was_complete=was_complete,
    )


def _of_this_machine(
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


def _of_own_files(own: OwnFiles) -> ExactDuplicates:
    """What is a duplicate among the user's files: the first of two passes over them, as they may be
    larger than memory. Raises DataError: a damaged file, a source without text."""
    duplicates = ExactDuplicates()
    empty = []
    for source in own.files:
        skipped = Skipped(is_announced=False)
        num_documents = 0
        for document in own.documents(source, skipped):
            duplicates.add(document)
            num_documents += 1
        if num_documents == 0:
            empty.append(why_empty(source, skipped))
    if empty:
        raise DataError("\n".join(empty))
    return duplicates


def _write(
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
        file, licences = write_documents(folder, source + SUFFIX, unique(source))
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


def _environment() -> dict[str, JsonValue]:
    packages = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
    return {
        "python": python_version(),
        "platform": sys.platform,
        "packages": dict(sorted(packages.items())),
    }
