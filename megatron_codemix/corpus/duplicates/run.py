"""Makes a corpus without its duplicates of another."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.duplicates.search import SearchOptions
from megatron_codemix.corpus.duplicates.stage import REPORT_FILE, DedupStage
from megatron_codemix.corpus.stages.parts import PART_BYTES, parts_of
from megatron_codemix.corpus.stages.run import (
    CorpusResult,
    num_todo,
    require_apart,
    run_stage,
    wanted_files,
)
from megatron_codemix.corpus.store import PARTS_FOLDER, source_sizes
from megatron_codemix.files import read_json
from megatron_codemix.locks import exclusive_once
from megatron_codemix.workers import run_tasks

Advance = Callable[[float], None]
Progress = Callable[[str, float | None, str], AbstractContextManager[Advance]]
"""A step's name, its total and the unit -> what is told of progress during the step."""

_WAIT_SECONDS = 1.0  # workers of a process that was killed hold its lock until they are gone


def no_progress(step: str, total: float | None, unit: str) -> AbstractContextManager[Advance]:
    """Tells nobody."""
    return nullcontext(lambda amount: None)


@dataclass(frozen=True)
class Deduplicated:
    """report: what `duplicates.json` says; None where somebody has removed it."""

    corpus: CorpusResult
    report: JsonValue | None


def plan_dedup(
    corpus: Path,
    out: Path,
    options: SearchOptions,
    *,
    sources: Sequence[str] | None = None,
    part_bytes: int = PART_BYTES,
) -> DedupStage:
    """The stage, with what is wrong with the input said before anything is done."""
    require_apart(corpus, out)
    return DedupStage(parts_of(wanted_files(corpus, sources), part_bytes), options, out)


def dedup_corpus(
    corpus: Path,
    out: Path,
    options: SearchOptions,
    *,
    sources: Sequence[str] | None = None,
    workers: int = 1,
    keep_dropped: bool = False,
    part_bytes: int = PART_BYTES,
    progress: Progress = no_progress,
) -> Deduplicated:
    """Writes a corpus to `out`, with duplicates.json beside it. A kill at any moment, and the same
    call again, give the same bytes.

    Raises DataError as `run_stage` does; UnavailableError where datatrove is missing; RunError
    where another process does the same.
    """
    stage = plan_dedup(corpus, out, options, sources=sources, part_bytes=part_bytes)
    files = wanted_files(corpus, sources)
    parts = parts_of(files, part_bytes)
    num_bytes = sum(source_sizes(corpus, files).values())

    def run(step: str, job: Any, tasks: Sequence[Any]) -> None:  # Any: any job
        total, unit = (num_bytes, "bytes") if step == "fingerprints" else (len(tasks), "tasks")
        with progress(step, total, unit) as advance:
            run_tasks(job, tasks, workers, advance)

    is_left = num_todo(stage, parts, out, sources=sources, keep_dropped=keep_dropped) > 0
    lock = out / PARTS_FOLDER / "dedup.lock"  # not hidden, as the locks of the stage are
    with exclusive_once(lock, "dedup of a corpus", _WAIT_SECONDS):
        stage.remove_leftovers()
        if is_left or stage.work.exists():
            stage.search(run)
        with progress(stage.name, num_bytes, "bytes") as advance:
            result = run_stage(
                stage,
                corpus,
                out,
                sources=sources,
                workers=workers,
                keep_dropped=keep_dropped,
                part_bytes=part_bytes,
                advance=advance,
            )
        stage.finish()
    path = out / REPORT_FILE
    return Deduplicated(result, read_json(path) if path.exists() else None)
