"""What all commands on a study take: the file, its data, its folder, changes to it."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.study.spec import StudySpec, load_study

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="Study file (YAML).")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder that {data} stands for in the study's paths.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the study; default runs/<name of the study>."),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        "--scale", help="Multiply the study's token_scale, as in 0.1 for a tenth of the tokens."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="key=value: changes the study file (world_size=2) or its defaults (train.seed=2). "
        "May be repeated.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def read_study(
    study: Path, data: Path | None, scale: str | None, overrides: list[str] | None
) -> StudySpec:
    """The study file with the command line's changes."""
    factor = None if scale is None else parse_scale(scale)
    return load_study(study, data_root=data, scale=factor, overrides=overrides or [])


def parse_scale(scale: str) -> Decimal:
    """The factor of --scale."""
    try:
        factor = Decimal(scale)
    except InvalidOperation as error:
        raise typer.BadParameter(f"expected a number such as 0.1, got {scale!r}") from error
    if not (factor.is_finite() and factor > 0):
        raise typer.BadParameter(f"--scale must be above 0, got {scale}")
    return factor


def place_of(spec: StudySpec, out: Path | None) -> Path:
    """The study's folder."""
    return out if out is not None else Path("runs") / spec.name


def require_tasks_of(spec: StudySpec, *, with_data: bool) -> None:
    """Raises now what the evaluation after the first training would."""
    asked = spec.evaluation.tasks
    if asked is None:
        return
    from megatron_codemix.cli.task_choice import TaskChoice, require_tasks

    choice = TaskChoice(names=asked.names, data_dir=asked.data_dir, limit=asked.limit)
    require_tasks(choice, with_data=with_data)
