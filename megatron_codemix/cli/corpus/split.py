"""`codemix corpus split`."""

import logging
from dataclasses import replace
from typing import Annotated

import typer

from megatron_codemix.cli.corpus.stage_command import (
    Corpus,
    DryRun,
    JsonOption,
    Out,
    Request,
    Sources,
    Task,
    Workers,
    carry_out,
    outcome_json,
    print_json,
    print_outcome,
)
from megatron_codemix.corpus.split import SPLITS
from megatron_codemix.corpus.stages.run import CorpusResult
from megatron_codemix.corpus.stages.split_stage import (
    SplitStage,
    empty_sides,
    require_split_place,
)

log = logging.getLogger(__name__)
app = typer.Typer()


@app.command()
def split(
    corpus: Corpus,
    out: Out,
    validation_fraction: Annotated[
        float,
        typer.Option("--validation-fraction", help="Share of the origins that is held out."),
    ] = 0.05,
    source: Sources = None,
    workers: Workers = 1,
    task: Task = None,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Make two corpora, one for training, one held out.

    OUT/train and OUT/validation have the documents that `codemix data` would train on, and those
    that it would hold out. Prepare them with --validation-fraction 0: each is one side already.
    """
    request = Request(
        corpus=corpus,
        out=out,
        sources=source,
        workers=workers,
        share=task,
        keep_dropped=False,
        dry_run=dry_run,
        as_json=json,
    )
    require_split_place(out)
    outcomes = {
        side: carry_out(SplitStage(side, validation_fraction), replace(request, out=out / side))
        for side in SPLITS
    }
    for side, outcome in outcomes.items():
        if isinstance(outcome, CorpusResult) and outcome.record is not None:
            for problem in empty_sides(side, outcome.record):
                log.warning("%s", problem)
    if json:
        print_json({side: outcome_json(outcome) for side, outcome in outcomes.items()})
        return
    for outcome in outcomes.values():
        print_outcome(outcome)
