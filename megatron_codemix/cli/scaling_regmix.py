"""`codemix scaling regmix`: the best mixture by a regression on many small runs."""

from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.scaling_input import read_numbers
from megatron_codemix.cli.scaling_options import JsonOption, KeepDivergedOption, WhereOption


def command(
    runs: Annotated[
        Path,
        typer.Argument(
            metavar="RUNS", help="Table of runs of one scale on many mixtures, or RegMix's folder."
        ),
    ],
    target: Annotated[
        str, typer.Option("--target", help="Column of the loss, such as loss_nats.code, or code.")
    ],
    regression: Annotated[
        str,
        typer.Option(help="trees (LightGBM, the extra 'laws') or ridge."),
    ] = "trees",
    where: WhereOption = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            help="SOURCE=AMOUNT of all sources, such as their tokens: which mixtures are tried; "
            "default: the runs' mean.",
        ),
    ] = None,
    keep_diverged: KeepDivergedOption = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the mixtures that are tried.")] = 42,
    json: JsonOption = False,
) -> None:
    """The mixture with the lowest loss, by a regression on many small runs that is tried on 100,000
    random mixtures (RegMix)."""
    from megatron_codemix.cli.scaling_output import print_json, simulated_lines
    from megatron_codemix.scaling.conditions import read_conditions, runs_that
    from megatron_codemix.scaling.readers.detect import read_runs
    from megatron_codemix.scaling.simulated_mixture import simulate_mixture

    table = read_runs(runs, keep_diverged=keep_diverged)
    table = runs_that(table, read_conditions("--where", where))
    column = target if "." in target else f"loss_nats.{target}"
    found = simulate_mixture(
        table, column, regression, read_numbers("--prior", prior) or None, seed
    )
    if json:
        print_json(found.as_dict())
    else:
        simulated_lines(found)
