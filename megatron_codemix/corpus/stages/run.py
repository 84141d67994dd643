"""Runs a stage over the parts of a corpus, by several processes, by several tasks of an array, and
on after a kill: the same bytes in any case.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.corpus.output_place import announce_replaced, require_folder_place
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.readers.patterns import is_address
from megatron_codemix.corpus.record import CORPUS_FILE, CorpusRecord, StageRecord, load_corpus
from megatron_codemix.corpus.stages.finished import (
    FinishedPart,
    remove_strays,
    sources_of,
    stage_record,
)
from megatron_codemix.corpus.stages.part_job import PartJob
from megatron_codemix.corpus.stages.parts import ALL, PART_BYTES, Part, Share, dealt, parts_of
from megatron_codemix.corpus.stages.stage import Stage
from megatron_codemix.corpus.store import DROPPED_FOLDER, PARTS_FOLDER, source_files
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json, read_json, require_free_bytes, write_json
from megatron_codemix.locks import exclusive_once, exclusive_share
from megatron_codemix.workers import run_tasks

Advance = Callable[[int], None]

_STAGE_FILE = "stage.json"
_UNKNOWN = "something that no stage of a corpus has made"
_RECORD_SECONDS = 60.0
_WAIT_SECONDS = 1.0  # workers of a process that was killed hold its lock until they are gone


@dataclass(frozen=True)
class CorpusResult:
    """What a run of a stage has made, or found (`num_made` is 0 then)."""

    folder: Path
    record: CorpusRecord | None
    """None while other tasks have parts to do."""
    num_parts: int
    num_made: int
    """Parts made by this run."""
    num_waiting: int
    """Parts that other tasks have to do yet."""
    seconds: float


def run_stage(
    stage: Stage,
    corpus: Path,
    out: Path,
    *,
    sources: Sequence[str] | None = None,
    workers: int = 1,
    share: Share = ALL,
    keep_dropped: bool = False,
    part_bytes: int = PART_BYTES,
    advance: Advance | None = None,
) -> CorpusResult:
    """Puts every source of `corpus` (or `sources`) through the stage into `out`: a corpus folder,
    in parts. `advance` is told of UTF-8 bytes of text that are done.

    Raises DataError: no complete corpus, an unknown source, a damaged file, an `out` that holds
    something else, such as sources that `sources` leaves out; RunError where another process does
    the same.
    """
    require_apart(corpus, out)
    return run_parts(
        stage,
        parts_of(wanted_files(corpus, sources), part_bytes),
        out,
        history=history_of(corpus),
        sources=sources,
        workers=workers,
        share=share,
        keep_dropped=keep_dropped,
        advance=advance,
    )


def wanted_files(corpus: Path, sources: Sequence[str] | None) -> dict[str, tuple[InputFile, ...]]:
    """The files of these sources, of all where it is None. Raises DataError: an unknown source."""
    files = source_files(corpus)
    unknown = sorted(set(sources or ()) - set(files))
    if unknown:
        raise DataError(
            f"{corpus}: has no source {', '.join(map(repr, unknown))}; it has {', '.join(files)}"
        )
    return {name: files[name] for name in files if sources is None or name in sources}


def history_of(corpus: Path) -> tuple[StageRecord, ...]:
    """What is on record to have been done with a corpus."""
    record = load_corpus(corpus)
    return record.stages if record else ()


def num_todo(
    stage: Stage,
    parts: Sequence[Part],
    out: Path,
    *,
    sources: Sequence[str] | None = None,
    keep_dropped: bool = False,
) -> int:
    """How many of the parts `run_parts` would make. Raises DataError as it does; writes nothing."""
    _require_place(out, stage, sources)
    return len(PartJob(stage, stage.options(), out, keep_dropped).todo(parts))


def plan_parts(
    stage: Stage,
    parts: Sequence[Part],
    out: Path,
    *,
    sources: Sequence[str] | None = None,
    keep_dropped: bool = False,
) -> int:
    """As `num_todo`; says what `run_parts` would replace."""
    num_parts = num_todo(stage, parts, out, sources=sources, keep_dropped=keep_dropped)
    if any(map(PartJob(stage, stage.options(), out, keep_dropped).replaces, parts)):
        announce_replaced(out, is_plan=True)
    return num_parts


def run_parts(
    stage: Stage,
    parts: Sequence[Part],
    out: Path,
    *,
    history: Sequence[StageRecord] = (),
    sources: Sequence[str] | None = None,
    workers: int = 1,
    share: Share = ALL,
    keep_dropped: bool = False,
    advance: Advance | None = None,
) -> CorpusResult:
    """As `run_stage`, from parts of any origin. history: what was done with them before. sources:
    those that were asked for, None for all; `out` is left with the sources of `parts` alone."""
    start = time.monotonic()
    job = PartJob(stage, stage.options(), out, keep_dropped)
    _require_place(out, stage, sources)
    if any(part.source == DROPPED_FOLDER for part in parts):
        raise DataError(
            f"source {DROPPED_FOLDER!r}: is the folder of what is left out; give it another name"
        )
    _require_inputs_elsewhere(parts, out)
    record = load_corpus(out)
    has_locks = any((out / PARTS_FOLDER).glob(".*.lock"))  # of a run that was killed at its end
    if not has_locks and _is_complete(record, job, history, parts):
        return CorpusResult(out, record, len(parts), 0, 0, time.monotonic() - start)
    what = f"{stage.name} of a corpus"
    with exclusive_share(
        out / PARTS_FOLDER,
        "stage",
        what,
        share.number,
        share.count,
        wait_seconds=_WAIT_SECONDS,
        counts_exclude=True,  # share 1 of 2 and share 1 of 4 both have the first part
    ):
        todo = job.todo(dealt(parts, share))
        require_free_bytes(out, sum(part.num_bytes for part in todo), what)
        if any(map(job.replaces, todo)):
            announce_replaced(out)
        if not (out / PARTS_FOLDER / _STAGE_FILE).exists():
            write_json(out / PARTS_FOLDER / _STAGE_FILE, {"name": stage.name})
        if not _is_complete(record, job, history, parts):
            (out / CORPUS_FILE).unlink(missing_ok=True)  # before the first of its files changes
        run_tasks(job, todo, workers, advance or _ignore)
        finished = [entry for part in parts if (entry := job.finished(part)) is not None]
        num_waiting = len(parts) - len(finished)
        record = None if num_waiting else _completed(job, parts, finished, history)
    seconds = time.monotonic() - start
    return CorpusResult(out, record, len(parts), len(todo), num_waiting, seconds)


def require_apart(corpus: Path, out: Path) -> None:
    """Raises DataError where one folder is the other, or lies in it."""
    one, other = corpus.resolve(), out.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise DataError(f"{out}: is not apart from the corpus {corpus}; name another folder")


def _require_place(out: Path, stage: Stage, sources: Sequence[str] | None) -> None:
    require_folder_place(out, "the corpus")
    try:
        name = read_json(out / PARTS_FOLDER / _STAGE_FILE)["name"]
    except FileNotFoundError:
        if out.is_dir() and any(path.name != PARTS_FOLDER for path in out.iterdir()):
            record = load_corpus(out)
            made = f"a corpus that {record.maker} has made" if record else _UNKNOWN
            raise DataError(f"{out}: holds {made}; name a new folder") from None
        return
    if name != stage.name:
        raise DataError(
            f"{out}: holds what `codemix corpus {name}` has made; name another folder, or remove it"
        )
    there = {path.parent.name for path in (out / PARTS_FOLDER).glob("*/*.json")}
    others = sorted(there - set(there if sources is None else sources))
    if others:
        raise DataError(
            f"{out}: holds {', '.join(others)} too, which would be lost with --source "
            f"{' --source '.join(sources or ())}; name another folder, or all of them"
        )


def _require_inputs_elsewhere(parts: Sequence[Part], out: Path) -> None:
    """Raises DataError where an input is a file in `out`: it would be read again, with what was
    made of it, by the next call."""
    folder = str(out.resolve()) + os.sep
    for part in parts:
        for file in part.files:
            if not is_address(file.place) and os.path.realpath(file.place).startswith(folder):
                raise DataError(
                    f"{file.place}: is an input, and lies in {out}, which is written; name a "
                    "folder apart from the input"
                )


def writing_record(out: Path) -> contextlib.AbstractContextManager[None]:
    """To be held while that is written which tells of all parts.

    Several tasks may end at once, and each removes what killed ones have half written. Raises
    RunError where another one does not end.
    """
    place = out / PARTS_FOLDER / ".record.lock"
    return exclusive_once(place, "another task", wait_seconds=_RECORD_SECONDS)


def _completed(
    job: PartJob,
    parts: Sequence[Part],
    finished: Sequence[FinishedPart],
    history: Sequence[StageRecord],
) -> CorpusRecord:
    """Writes corpus.json. Every task that sees all parts finished does so, one after another."""
    out = job.out
    with writing_record(out):
        made = stage_record(job.stage.name, job.options, parts, finished)
        job.stage.check(made)
        remove_strays(out, parts)
        record = CorpusRecord(sources_of(parts, finished), (*history, made))
        record.save(out)
    return record


def _is_complete(
    record: CorpusRecord | None,
    job: PartJob,
    history: Sequence[StageRecord],
    parts: Sequence[Part],
) -> bool:
    """Whether the corpus is there, and what the job makes of these parts."""
    if record is None or job.todo(parts):
        return False
    *before, last = record.stages
    files = [file.file for source in record.sources.values() for file in source.files]
    # By their hashes: what was a tuple is a list once it is read from JSON.
    return (
        hash_json([entry.to_json() for entry in before])
        == hash_json([entry.to_json() for entry in history])
        and hash_json(last.options) == hash_json(job.options)
        and files == [part.output for part in parts]
    )


def _ignore(amount: int) -> None:
    return None
