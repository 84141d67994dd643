"""Options of `codemix plan` alone; `plan_options` has those of all commands that plan."""

from pathlib import Path
from typing import Annotated

import typer

MOST_GPUS = 10**6
"""Ten times the largest machines; a search among many more layouts would not end."""

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Configuration of a run, or of a model alone (YAML); with --calibrate, a run "
        "directory."
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Changes to it; with --search, what is said of the layout here stays. With "
        "--calibrate, further runs.",
    ),
]
GpusOption = Annotated[int | None, typer.Option(min=1, max=MOST_GPUS, help="How many GPUs.")]
SearchOption = Annotated[
    bool, typer.Option("--search", help="Rank all legal layouts that fit; take the fastest.")
]
TopOption = Annotated[
    int | None, typer.Option(min=1, help="With --search: layouts to show; default: 10.")
]
RejectedOption = Annotated[
    bool,
    typer.Option("--rejected", help="With --search: list every rejected layout, and why."),
]
WriteOption = Annotated[
    Path | None,
    typer.Option(
        help="With --search: write a new configuration that extends CONFIG by the layout."
    ),
]
ExactOption = Annotated[
    bool,
    typer.Option(
        "--exact/--no-exact",
        help="Count parameters, gradients and optimizer on megatron-core's own model, some "
        "ten seconds.",
    ),
]
TokensOption = Annotated[
    str | None, typer.Option(help="To be trained on, for the cost; default: CONFIG's.")
]
ValidateOption = Annotated[
    bool,
    typer.Option("--validate", help="Published speeds beside those that the planner predicts."),
]
CalibrateOption = Annotated[
    bool,
    typer.Option("--calibrate", help="Fit the constants to runs that were made on your GPUs."),
]
OutOption = Annotated[Path | None, typer.Option(help="With --calibrate: file for the constants.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="With --write or --out: show the file instead.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
