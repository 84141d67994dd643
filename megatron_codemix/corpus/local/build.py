"""A corpus of code, markup and English prose from this machine alone; the user's own files in place
of any of them.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.local.installed import Machine, python_version, this_machine
from megatron_codemix.corpus.local.own_files import SOURCES, OwnFiles
from megatron_codemix.corpus.local.place import STAGE, new_folder, require_own_place
from megatron_codemix.corpus.local.selection import (
    Advance,
    duplicates_of_own_files,
    of_this_machine,
    write_sources,
)
from megatron_codemix.corpus.output_place import announce_replaced, require_folder_place
from megatron_codemix.corpus.readers import RecordForm, Skipped
from megatron_codemix.corpus.record import (
    CORPUS_FILE,
    CorpusRecord,
    CorpusSource,
    StageRecord,
    load_corpus,
)
from megatron_codemix.errors import DataError
from megatron_codemix.files import require_free_bytes

log = logging.getLogger(__name__)

SOURCE_BYTES = 16_000_000
"""Cap of each source of this machine. 16 MB of files give 13 MB of code and its docstrings in ten
seconds.
"""
_COLLECTOR_VERSION = 1  # raise when the same machine would give another corpus


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
    machine_bytes = source_bytes * (len(SOURCES) - len(own.files))
    require_free_bytes(out, machine_bytes + 2 * own_bytes, "the corpus")
    left_out = {source: Skipped() for source in SOURCES}
    with new_folder(out) as folder:
        # The user's files first: what is wrong with them is said before this machine is read.
        duplicates = duplicates_of_own_files(own)
        if _is_other(load_corpus(out), arguments):
            announce_replaced(out)
        local = of_this_machine(
            machine or this_machine(), own, source_bytes, left_out, advance or _ignore
        )
        sources = write_sources(folder, local, own, duplicates, left_out, advance or _ignore)
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
    require_own_place(out)


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


def _environment() -> dict[str, JsonValue]:
    packages = {str(one.metadata["Name"]): one.version for one in metadata.distributions()}
    return {
        "python": python_version(),
        "platform": sys.platform,
        "packages": dict(sorted(packages.items())),
    }
