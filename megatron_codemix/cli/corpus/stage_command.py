"""Options that the stages of `codemix corpus` share, how one says what it would do, runs, and says
what it has done.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.record import CorpusRecord, CorpusSource
from megatron_codemix.corpus.stages.parts import ALL, Share, dealt, parts_of
from megatron_codemix.corpus.stages.run import (
    CorpusResult,
    plan_parts,
    require_apart,
    run_stage,
    wanted_files,
)
from megatron_codemix.corpus.stages.stage import Stage
from megatron_codemix.corpus.store import source_sizes
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes, format_duration

log = logging.getLogger(__name__)

_MANY = 20  # documents: of fewer nothing follows
_FEW_LEFT = 0.1


def share_of(text: str) -> Share:
    """`2/8`: the second of eight."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise typer.BadParameter(f"{text!r}: expected I/N with 1 <= I <= N, such as 1/4")
    return Share(int(number) - 1, int(count))


Corpus = Annotated[Path, typer.Argument(help="Corpus folder.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the new corpus.")]
Sources = Annotated[
    list[str] | None, typer.Option("--source", help="Only this source. May be repeated.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]
Task = Annotated[
    Share | None,
    typer.Option(
        "--task",
        parser=share_of,
        metavar="I/N",
        help="Only share I of N, as in a SLURM array: --task $SLURM_ARRAY_TASK_ID/N.",
    ),
]
KeepDropped = Annotated[
    bool, typer.Option("--keep-dropped", help="Write what is left out too, with the reason.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line of a stage asks for."""

    corpus: Path
    out: Path
    sources: list[str] | None
    workers: int
    share: Share | None
    keep_dropped: bool
    dry_run: bool
    as_json: bool


Outcome = CorpusResult | dict[str, JsonValue]
"""What a stage has done; with --dry-run the plan of it."""


def run_request(stage: Stage, request: Request) -> None:
    """Runs a stage and says what it has done, or with --dry-run what it would do."""
    outcome = carry_out(stage, request)
    _warn_of_losses(outcome)
    if request.as_json:
        print_json(outcome_json(outcome))
    else:
        print_outcome(outcome)


def _warn_of_losses(outcome: Outcome) -> None:
    """Where a source is empty, or hardly anything is left of it: mostly a wrong policy, or licences
    in words."""
    if isinstance(outcome, dict) or outcome.record is None:
        return
    stage = outcome.record.stages[-1]
    for name, entry in outcome.record.sources.items():
        num_read, counts = stage.num_read[name], stage.dropped[name].counts
        if num_read == 0:
            log.warning("source %s: its files hold no document", name)
        if num_read >= _MANY and entry.num_documents < _FEW_LEFT * num_read:
            reason = max(counts, key=lambda one: counts[one])
            log.warning(
                "source %s: %d of %d documents are left; most went as %r, which --keep-dropped "
                "shows",
                name,
                entry.num_documents,
                num_read,
                reason,
            )


def carry_out(stage: Stage, request: Request) -> Outcome:
    """As `run_request`, without a word but the progress."""
    sizes = source_sizes(request.corpus, wanted_files(request.corpus, request.sources))
    if request.dry_run:
        return _plan(stage, request, sizes)
    share = request.share or ALL
    with progress_bar(stage.name, sum(sizes.values()) // share.count, "bytes") as advance:
        return run_stage(
            stage,
            request.corpus,
            request.out,
            sources=request.sources,
            workers=request.workers,
            share=share,
            keep_dropped=request.keep_dropped,
            advance=advance,
        )


def _plan(stage: Stage, request: Request, sizes: dict[str, int]) -> dict[str, JsonValue]:
    require_apart(request.corpus, request.out)
    parts = dealt(parts_of(wanted_files(request.corpus, request.sources)), request.share or ALL)
    parts_to_do = plan_parts(
        stage, parts, request.out, sources=request.sources, keep_dropped=request.keep_dropped
    )
    options = {"options": stage.options()} if request.as_json else stage.summary()
    return {
        "out": str(request.out),
        **options,
        "parts": len(parts),
        "parts_to_do": parts_to_do,
        "text_bytes": sizes,
    }


def source_json(entry: CorpusSource) -> dict[str, JsonValue]:
    """A source with its totals."""
    totals = {"num_documents": entry.num_documents, "num_bytes": entry.num_bytes}
    return totals | asdict(entry)


def print_json(value: JsonValue) -> None:
    """As all commands print JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def outcome_json(outcome: Outcome) -> dict[str, JsonValue]:
    """What --json prints."""
    if isinstance(outcome, dict):
        return outcome
    record = outcome.record
    return {
        "folder": str(outcome.folder),
        "is_complete": record is not None,
        "num_parts": outcome.num_parts,
        "num_made": outcome.num_made,
        "num_waiting": outcome.num_waiting,
        "sources": {name: source_json(entry) for name, entry in _sources(record).items()},
        "stage": record.stages[-1].to_json() if record else None,
        "seconds": outcome.seconds,
    }


def print_outcome(result: Outcome) -> None:
    """A line for each source, and one for each reason below it."""
    if isinstance(result, dict):
        print_plan(result, as_json=False)
        return
    if result.record is None:
        print(
            f"{result.folder}: {result.num_made} parts made in {format_duration(result.seconds)}, "
            f"{result.num_waiting} of {result.num_parts} are for other tasks to make"
        )
        return
    stage = result.record.stages[-1]
    for name, entry in result.record.sources.items():
        print(
            f"{name:16s} {entry.num_documents:9d} of {stage.num_read[name]:9d} documents  "
            f"{format_bytes(entry.num_bytes):>10s}  parts: {len(entry.files)}"
        )
        for what, count in sorted(stage.changed[name].items()):
            print(f"    changed  {count:9d}  {what}")
        for reason, count in sorted(stage.dropped[name].counts.items()):
            print(f"    left out {count:9d}  {reason}")
    seconds = format_duration(result.seconds)
    print(f"{result.folder}: {f'in {seconds}' if result.num_made else 'complete already'}")


def _sources(record: CorpusRecord | None) -> dict[str, CorpusSource]:
    return record.sources if record else {}
