"""`codemix corpus dedup`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.corpus.stage_command import (
    Corpus,
    DryRun,
    JsonOption,
    KeepDropped,
    Out,
    Request,
    Sources,
    Workers,
    carry_out,
    outcome_json,
    print_json,
    print_outcome,
)
from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.duplicates.report import Loss, great_losses
from megatron_codemix.corpus.duplicates.run import Deduplicated, dedup_corpus, plan_dedup
from megatron_codemix.corpus.duplicates.search import JACCARD, SearchOptions
from megatron_codemix.corpus.duplicates.stage import REPORT_FILE
from megatron_codemix.obs.progress import progress_bar

log = logging.getLogger(__name__)

app = typer.Typer()


@app.command()
def dedup(
    corpus: Corpus,
    out: Out,
    within: Annotated[
        bool,
        typer.Option(
            "--within/--across", help="Compare documents of one source only, or of all sources."
        ),
    ] = False,
    jaccard: Annotated[
        float,
        typer.Option(
            "--jaccard", help="Near-duplicates are those from this similarity of their 5-grams on."
        ),
    ] = JACCARD,
    exact_only: Annotated[
        bool, typer.Option("--exact-only", help="No near-duplicates: these need datatrove.")
    ] = False,
    keep_first: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-first",
            help="A source whose documents stay before those of others. May be repeated. Without "
            "it, what is held out first stays.",
        ),
    ] = None,
    source: Sources = None,
    workers: Workers = 1,
    keep_dropped: KeepDropped = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Keep one of each text, and of those nearly the same.

    Near-duplicates are found by MinHash, and go only where a document stays that is like them.
    OUT/duplicates.json says between which sources they were, and shows some.
    """
    options = SearchOptions(
        jaccard=None if exact_only else jaccard,
        within=within,
        keep_first=tuple(keep_first or ()),
    )
    if dry_run:
        request = Request(
            corpus=corpus,
            out=out,
            sources=source,
            workers=workers,
            share=None,
            keep_dropped=keep_dropped,
            dry_run=True,
            as_json=json,
        )
        plan = carry_out(plan_dedup(corpus, out, options, sources=source), request)
        print_json(outcome_json(plan)) if json else print_outcome(plan)
        return
    made = dedup_corpus(
        corpus,
        out,
        options,
        sources=source,
        workers=workers,
        keep_dropped=keep_dropped,
        progress=progress_bar,
    )
    losses = _losses(made)
    if json:
        lost = [loss._asdict() for loss in losses]
        print_json(outcome_json(made.corpus) | {"duplicates": made.report, "great_losses": lost})
    else:
        _print(made, out)
    for loss in losses:
        kept = ", ".join(f"{count} for {other}" for other, count in loss.kept.items())
        log.warning(
            "%s has lost %d of its %d documents to other sources (%s): --keep-first %s leaves out "
            "theirs instead, --within compares documents of one source only",
            *(loss.source, loss.num_lost, loss.num_read, kept, loss.source),
        )


def _losses(made: Deduplicated) -> list[Loss]:
    record = made.corpus.record
    if made.report is None or record is None:
        return []
    return great_losses(made.report["pairs"], record.stages[-1].num_read)


def _print(made: Deduplicated, out: Path) -> None:
    print_outcome(made.corpus)
    if made.report is not None:
        _print_pairs(made.report)
        print(f"examples side by side: {out / REPORT_FILE}")


def _print_pairs(report: JsonValue) -> None:
    for kind, pairs in report["pairs"].items():
        for source, kept in pairs.items():
            for other, count in kept.items():
                print(f"    {count:9d}  {kind} in {source} of a document in {other}")
