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
from megatron_codemix.corpus.local.own_files import SOURCES, OwnFiles
from megatron_codemix.corpus.output_place import require_folder_place
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
    form = RecordForm(text_field=text_field, origin_field=origin_field)
    own = OwnFiles.of_patterns(patterns or {}, form)
    arguments = _arguments(own, source_bytes)
    complete = _complete(out, arguments)
    if complete is not None:
        log.info("%s: corpus is complete, nothing to do", out)
        return complete
    own_bytes = sum(file.num_bytes() for files in own.files.values() for file in files)
    require_free_bytes(out, 3 * source_bytes + 2 * own_bytes, "the corpus")
    left_out = {source: Skipped() for source in SOURCES}
    local = _of_this_machine(
        machine or this_machine(), own, source_bytes, left_out, advance or _ignore
    )
    with _new_folder(out) as folder:
        sources = _write(folder, local, own, left_out, advance or _ignore)
        (out / CORPUS_FILE).unlink(missing_ok=True)  # before the first of its files goes
        for entry in sources.values():
            os.replace(folder / entry.files[0].file, out / entry.files[0].file)
        stage = StageRecord(STAGE, arguments, dropped=left_out)
        CorpusRecord(sources, (stage,), _environment()).save(out)
    return LocalCorpus(out, sources, _counts(stage), time.monotonic() - start, False)


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
    form = RecordForm(text_field=text_field, origin_field=origin_field)
    own = OwnFiles.of_patterns(patterns, form)
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
    _require_own_place(out)


def _require_own_place(out: Path) -> None:
    """Raises DataError where what is in the folder would be lost, or be a second file of a
    source."""
    record = load_corpus(out)
    is_another = record is not None and [stage.name for stage in record.stages] != [STAGE]
    if is_another or (out / PARTS_FOLDER).exists():
        raise DataError(f"{out}: holds a corpus of another command; name another folder")
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
    if [(stage.name, stage.options) for stage in record.stages] != [(STAGE, arguments)]:
        log.info("%s: made with other arguments, building it again", out)
        return None
    if not record.is_whole(out):
        log.warning("%s: a source file is missing or damaged, building it again", out)
        return None
    return LocalCorpus(out, record.sources, _counts(record.stages[0]), 0.0, True)


def _counts(stage: StageRecord) -> dict[str, int]:
    """What was left out of all sources together, by reason."""
    total = Skipped()
    for skipped in stage.dropped.values():
        total.merge(skipped)
    return dict(sorted(total.counts.items()))


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


def _write(
    folder: Path, local: list[Document], own: OwnFiles, left_out: LeftOut, advance: Advance
) -> dict[str, CorpusSource]:
    """Two passes over the user's files, which may be larger than memory: what is a duplicate, then
    the rest.
    """
    duplicates = ExactDuplicates()
    for document in local:
        duplicates.add(document)
    for source in own.files:
        for document in own.documents(source, Skipped(is_announced=False)):
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
                _empty(source, left_out[source] if source in own.files else None)
                for source in empty
            )
        )
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


def _environment() -> dict[str, JsonValue]:
    packages = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
    return {
        "python": python_version(),
        "platform": sys.platform,
        "packages": dict(sorted(packages.items())),
    }
