"""`codemix bench corpus`."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.bench.corpus.setting import (
    MEGABYTE,
    RESUME_BYTES,
    STREAM_BYTES,
    Setting,
)
from megatron_codemix.bench.corpus.suite import SECTIONS, require_sections, run_sections
from megatron_codemix.bench.rows import TABLE_HEAD, Row, format_row
from megatron_codemix.cli.bench_report import print_json
from megatron_codemix.cli.corpus.evaluation_items import evaluation_tasks
from megatron_codemix.corpus.contamination.items import CODE_NGRAM, PROSE_NGRAM, EvaluationTask
from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import parse_bytes

app = typer.Typer()

_COUNT, _QUICK_COUNT = 2000, 100
_QUICK_STREAM_BYTES, _QUICK_RESUME_BYTES = 200_000_000, 20_000_000
_QUICK_LEFT_OUT = "resume"


def size_of(text: str) -> int:
    """`200MB`; at least 1MB."""
    try:
        num_bytes = parse_bytes(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if num_bytes < MEGABYTE:
        raise typer.BadParameter(f"{text}: too small to measure; give at least 1MB")
    return num_bytes


@app.command()
def corpus(
    sections: Annotated[
        list[str] | None,
        typer.Option(
            "--sections",
            "--only",
            help=f"Only these, by commas or given again: {', '.join(SECTIONS)}.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Small sizes and no kills; no goal is judged."),
    ] = False,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Corpus folder to measure on, in place of this machine's own files."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the evaluation data, as for evaluate; absent: made-up items."),
    ] = None,
    stream_bytes: Annotated[
        int | None,
        typer.Option(
            parser=size_of, metavar="SIZE", help="Generated text for the memory; judged from 10GB."
        ),
    ] = None,
    synthesis_count: Annotated[
        int | None,
        typer.Option(min=1, help=f"Problems, {_COUNT:,} unless told; judged from 100,000."),
    ] = None,
    resume_bytes: Annotated[
        int | None,
        typer.Option(
            "--bytes",
            parser=size_of,
            metavar="SIZE",
            help="Text of the corpus that is killed at every stage; judged from 1GB.",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Measurements of which the median is taken.")
    ] = 3,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to work: up to 25 GB of files, removed at the end."),
    ] = None,
) -> None:
    """Curation: speed beside datatrove's, what is found of planted duplicates and test items,
    memory, synthetic problems an hour, kills. About an hour; --quick two minutes."""
    asked = [name for given in sections or [] for name in given.split(",")]
    names = asked or [name for name in SECTIONS if not (quick and name == _QUICK_LEFT_OUT)]
    require_sections(names)
    if check and quick:
        raise typer.BadParameter("the goals are not for --quick", param_hint="--check")
    setting = Setting(
        folder=folder or Path(tempfile.gettempdir()),
        repeats=1 if quick else repeats,
        is_quick=quick,
        stream_bytes=stream_bytes or (_QUICK_STREAM_BYTES if quick else STREAM_BYTES),
        synthesis_count=synthesis_count or (_QUICK_COUNT if quick else _COUNT),
        resume_bytes=resume_bytes or (_QUICK_RESUME_BYTES if quick else RESUME_BYTES),
        corpus=corpus,
        read_tasks=None if data_dir is None else partial(_tasks, data_dir),
        progress=progress_bar,
    )
    _run(names, setting, json=json, check=check)


def _tasks(data_dir: Path) -> list[EvaluationTask]:
    return evaluation_tasks([], data_dir, ngram=PROSE_NGRAM, code_ngram=CODE_NGRAM)[0]


def _run(names: list[str], setting: Setting, *, json: bool, check: bool) -> None:
    """Each row as it is measured, or all as JSON."""
    rows: list[Row] = []
    if not json:
        print(TABLE_HEAD)
    for row in run_sections(names, setting):
        rows.append(row)
        if not json:
            print(format_row(row), flush=True)
    if json:
        print_json(
            "corpus",
            rows,
            quick=setting.is_quick,
            stream_bytes=setting.stream_bytes,
            synthesis_count=setting.synthesis_count,
            resume_bytes=setting.resume_bytes,
        )
    if check and any(row.met is False for row in rows):
        raise typer.Exit(EXIT_BUG)
