"""`codemix bench`: ours beside a peer, measured on this machine."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.bench.data.suite import SECTIONS, require_sections, run_sections
from megatron_codemix.bench.rows import TABLE_HEAD, format_row
from megatron_codemix.cli import bench_corpus
from megatron_codemix.cli.bench_chaos import chaos
from megatron_codemix.cli.bench_collectives import collectives
from megatron_codemix.cli.bench_report import print_json, print_sections
from megatron_codemix.cli.bench_train import train
from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.obs.progress import progress_bar

app = typer.Typer(
    help="Ours beside a peer, measured on this machine.", no_args_is_help=True, add_completion=False
)
app.add_typer(bench_corpus.app)


@app.command()
def data(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    scale: Annotated[
        float,
        typer.Option(min=0.0001, max=1.0, help="Shrinks all sizes; goals are judged only at 1."),
    ] = 1.0,
    repeats: Annotated[
        int, typer.Option(min=1, help="Measurements of which the median is taken.")
    ] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this section. May be repeated.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to work: up to 10 GB of files, removed at the end."),
    ] = None,
) -> None:
    """The data engine against megatron-core's: start-up, memory, orders, blends, gather,
    preparation. About 15 minutes; 8 GB of memory, most of it the peer's."""
    names = list(only or SECTIONS)
    require_sections(names)
    if check and scale != 1:
        raise typer.BadParameter(f"the goals are for scale 1, not {scale:g}", param_hint="--check")
    print_sections("data", names, run_sections, folder, scale, repeats, json=json, check=check)


@app.command()
def checkpoint(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    scale: Annotated[
        float,
        typer.Option(min=0.0001, max=1.0, help="Shrinks the model; goals are judged only at 1."),
    ] = 1.0,
    repeats: Annotated[
        int, typer.Option(min=1, help="Measurements of which the median is taken.")
    ] = 3,
    folder: Annotated[
        Path | None, typer.Option(help="Where to work: up to 4 GB of files, removed at the end.")
    ] = None,
) -> None:
    """What a save of 1.1 GB costs the training, beside megatron-core's synchronous save; loading.
    About 3 minutes, 6 GB of memory."""
    if check and scale != 1:
        raise typer.BadParameter(f"the goals are for scale 1, not {scale:g}", param_hint="--check")
    with progress_bar("bench checkpoint", repeats + 1, "rounds") as advance:
        # Here: the other benchmarks need no megatron-core to begin.
        from megatron_codemix.bench.checkpoint import checkpoint_rows

        place = folder or Path(tempfile.gettempdir())
        rows = checkpoint_rows(place, scale=scale, repeats=repeats, finished=advance)
    if json:
        print_json("checkpoint", rows, scale=scale)
    else:
        print("\n".join([TABLE_HEAD, *map(format_row, rows)]))
    if check and any(row.met is False for row in rows):
        raise typer.Exit(EXIT_BUG)


@app.command()
def evaluate(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    scale: Annotated[
        float,
        typer.Option(
            min=0.0001, max=1.0, help="Shrinks model and items; goals are judged only at 1."
        ),
    ] = 1.0,
    repeats: Annotated[
        int, typer.Option(min=1, help="Measurements of which the median is taken.")
    ] = 3,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only choices, generation, rolling or copies. May be repeated."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder with the tasks' data; absent: made-up items as long."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to work: up to 1 GB of files, removed at the end.")
    ] = None,
) -> None:
    """Multiple choice and generation beside lm-evaluation-harness's own `hf` model on the exported
    checkpoint; two copies of the model beside one. About 15 minutes."""
    from megatron_codemix.bench.evaluate.suite import (
        SECTIONS,
        require_packages,
        require_sections,
        run_sections,
    )

    names = list(only or SECTIONS)
    require_sections(names)
    if check and scale != 1:
        raise typer.BadParameter(f"the goals are for scale 1, not {scale:g}", param_hint="--check")
    require_packages()
    run = partial(run_sections, data_dir=data_dir)
    print_sections("evaluate", names, run, folder, scale, repeats, json=json, check=check)


@app.command()
def scaling(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    draws: Annotated[
        int, typer.Option(min=1, help="Sets of made-up runs; goals are judged from 200.")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Decides the runs' noise.")] = 0,
) -> None:
    """How often the 90% interval of a fitted scaling law holds the parameters from which the runs
    were made up, and the loss of a larger model. About 6 minutes."""
    from megatron_codemix.bench.scaling.coverage import DRAWS, LADDERS, coverage_rows

    if check and draws < DRAWS:
        raise typer.BadParameter(
            f"the goals are for {DRAWS} draws, not {draws}", param_hint="--check"
        )
    with progress_bar("bench scaling", draws * len(LADDERS), "draws") as advance:
        rows = list(coverage_rows(draws=draws, seed=seed, finished=advance))
    if json:
        print_json("scaling", rows, draws=draws, seed=seed)
    else:
        print("\n".join([TABLE_HEAD, *map(format_row, rows)]))
    if check and any(row.met is False for row in rows):
        raise typer.Exit(EXIT_BUG)


app.command()(train)
app.command()(collectives)
app.command()(chaos)
