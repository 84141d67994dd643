"""Arguments and options that commands of `codemix scaling` share."""

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be written.")]
RunsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUNS",
        help="Table of runs (.csv, .jsonl), folder of a study's runs, or a published data set.",
    ),
]
FitArgument = Annotated[
    Path, typer.Argument(metavar="FIT", help="fit.json, or the folder that 'fit --out' wrote.")
]
LawOption = Annotated[
    str | None,
    typer.Option("--law", help="A law's name ('codemix scaling laws'); default: by the runs."),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="Column to predict, such as loss_nats.code, or code. May be repeated; default: all.",
    ),
]
CountedOption = Annotated[
    str | None,
    typer.Option("--parameters", help="How parameters are counted: total or without_embedding."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="COLUMN=VALUE, or COLUMN>NUMBER (<, <=, >=): only these runs. May be repeated.",
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", help="Column that tells populations apart, each fitted by itself."),
]
BootstrapsOption = Annotated[
    int, typer.Option("--bootstraps", min=2, help="Resamples behind the intervals.")
]
KeepDivergedOption = Annotated[
    bool,
    typer.Option(
        "--keep-diverged",
        help="Leave out no run for its losses alone: only those marked as diverged.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of the resamples.")]
ShareOption = Annotated[
    list[str] | None,
    typer.Option("--share", help="SOURCE=PART of the mixture, such as code=0.25; may be repeated."),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", help="Another quantity that the law takes: unique_tokens=100e9."),
]
TargetParameters = Annotated[
    str | None, typer.Option("--parameters", help="Size that is asked about, such as 2.8B.")
]
TargetModel = Annotated[
    Path | None, typer.Option("--model", help="Model file, in place of --parameters.")
]
TargetTokens = Annotated[
    str | None, typer.Option("--tokens", help="Training tokens that are asked about: 400B.")
]
