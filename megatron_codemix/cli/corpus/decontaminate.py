"""`codemix corpus decontaminate`."""

from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.corpus.evaluation_items import evaluation_tasks
from megatron_codemix.cli.corpus.stage_command import (
    Corpus,
    DryRun,
    JsonOption,
    KeepDropped,
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
from megatron_codemix.corpus.contamination.items import CODE_NGRAM, PROSE_NGRAM
from megatron_codemix.corpus.contamination.report import table
from megatron_codemix.corpus.contamination.stage import TEXT_FILE, DecontaminateStage
from megatron_codemix.corpus.stages.parts import parts_of
from megatron_codemix.corpus.stages.run import wanted_files

app = typer.Typer()


@app.command()
def decontaminate(
    corpus: Corpus,
    out: Out,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="Folder of the evaluation data, as for evaluate.")
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            "-t",
            help="Suite or task; may be given several times, or with commas. Absent: all.",
        ),
    ] = None,
    cut: Annotated[
        bool,
        typer.Option(
            "--cut", help="Cut the items out, with 200 characters around, not whole documents."
        ),
    ] = False,
    ngram: Annotated[
        int, typer.Option(min=5, help="Words in a row that make a document hold an item.")
    ] = PROSE_NGRAM,
    code_ngram: Annotated[
        int, typer.Option(min=5, help="The same for items that are programs.")
    ] = CODE_NGRAM,
    source: Sources = None,
    workers: Workers = 1,
    task: Task = None,
    keep_dropped: KeepDropped = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Leave out the items of evaluations.

    They are those of the tasks whose data is in --data-dir. OUT/contamination.json and .txt say
    for each task how many of its items were found, and show some beside the documents that hold
    them.
    """
    names = [name for given in tasks or [] for name in given.split(",")]
    sought, missing = evaluation_tasks(names, data_dir, ngram=ngram, code_ngram=code_ngram)
    stage = DecontaminateStage(sought, "cut" if cut else "drop", out)
    request = Request(
        corpus=corpus,
        out=out,
        sources=source,
        workers=workers,
        share=task,
        keep_dropped=keep_dropped,
        dry_run=dry_run,
        as_json=json,
    )
    outcome = carry_out(stage, request)
    is_made = not isinstance(outcome, dict) and outcome.record is not None
    report = stage.finish(parts_of(wanted_files(corpus, source))) if is_made else None
    if json:
        without_data = {"tasks_without_data": missing, "contamination": report}
        print_json(outcome_json(outcome) | without_data)
        return
    print_outcome(outcome)
    if missing:
        print(f"not looked for, as their data is not in {data_dir}: {', '.join(missing)}")
    if report is not None:
        print(table(report), end="")
        print(f"items beside the documents that held them: {out / TEXT_FILE}")
