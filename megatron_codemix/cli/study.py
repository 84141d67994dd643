"""`codemix study`: check, plan, run, watch and report a study."""

import json as json_module
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatron_codemix.cli.plan_options import (
    GPUS_PER_NODE,
    OF_SITE,
    ConstantsOption,
    GpuOption,
    GpusPerNodeOption,
    NetworkOption,
    PowerPriceOption,
    PriceOption,
    WattsOption,
    read_site,
)
from megatron_codemix.cli.study_check import check_lines, check_record, check_studies
from megatron_codemix.cli.study_plan import plan_notes, plan_record, plan_table
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, ConfigError
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.outlook import outlook
from megatron_codemix.study.spec import StudySpec, load_study
from megatron_codemix.study.state import PhaseProgress, read_record, study_progress
from megatron_codemix.study.tree import StudyTree, expand, identify
from megatron_codemix.units import format_duration

if TYPE_CHECKING:
    from megatron_codemix.cli.study_cost import StudyCost

app = typer.Typer(
    help="A study: phases chained by checkpoint, compared as variants.",
    no_args_is_help=True,
    add_completion=False,
)

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


@app.command()
def check(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="Study files (YAML).")],
    data: DataOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Check study files: names, phases, every configuration and layout, and that the tokens which
    a study states last for its budgets. Needs no data."""
    checked, problems = check_studies(
        studies, lambda path: read_study(path, data, scale, set_), _require_tasks
    )
    if problems and not json:
        raise ConfigError(problems)
    if json:
        _print_json(check_record(checked, problems))
    else:
        for line in check_lines(checked):
            print(line)
    if problems:
        raise typer.Exit(EXIT_INPUT)


@app.command()
def plan(
    context: typer.Context,
    study: StudyArgument,
    data: DataOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    gpu: GpuOption = None,
    gpus_per_node: GpusPerNodeOption = GPUS_PER_NODE,
    network: NetworkOption = None,
    price: PriceOption = None,
    power_price: PowerPriceOption = None,
    watts: WattsOption = None,
    constants: ConstantsOption = None,
    json: JsonOption = False,
) -> None:
    """Show what each phase will do: tokens, steps, learning rates, mixture, epochs, layout; with
    --gpu, or where the study names one, also its memory, time and cost there."""
    spec = read_study(study, data, scale, set_)
    gpu = gpu or spec.gpu
    if gpu is None:
        refuse_unused(context, OF_SITE, "it goes with --gpu")
    tree = identify(expand(spec))
    cost: StudyCost | None = None
    if gpu is not None:
        # Here, so that `study status` does not wait for the planner.
        from megatron_codemix.cli.study_cost import study_cost

        site = read_site(
            gpu=gpu,
            world_size=tree.spec.world_size,
            gpus_per_node=gpus_per_node,
            network=network,
            constants=constants,
            price=price,
            power_price=power_price,
            watts=watts,
        )
        cost = study_cost(tree, site)
    phases = outlook(tree)
    notes = plan_notes(tree, phases)
    if json:
        _print_json(plan_record(tree, phases, notes, cost))
        return
    missing = [f"missing: {name}" for name in tree.inventory.missing]
    _print_table(plan_table(tree, phases), [*missing, *(f"note: {text}" for text in notes)])
    if cost is not None:
        _print_table(cost.table(), [])


@app.command()
def run(
    study: StudyArgument,
    data: DataOption = None,
    out: OutOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            min=1,
            help="Phases that run side by side, each on the study's world_size processes; on GPUs "
            "each gets its own.",
        ),
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would run, and stop.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train and evaluate what is missing, on this machine, then write the report.

    After Ctrl-C, a kill or a failure the same command goes on from the last checkpoint.
    """
    spec = read_study(study, data, scale, set_)
    tree = identify(expand(spec))
    place = place_of(spec, out)
    if dry_run:
        _print_progress(tree, place, json)
        return
    _require_tasks(spec, with_data=True)
    code = run_and_report(tree, place, jobs=jobs, as_json=json)
    if code != EXIT_DONE:
        raise typer.Exit(code)


def _require_tasks(spec: StudySpec, *, with_data: bool = False) -> None:
    """Raises now what the evaluation after the first training would."""
    asked = spec.evaluation.tasks
    if asked is None:
        return
    from megatron_codemix.cli.task_choice import TaskChoice, require_tasks

    choice = TaskChoice(names=asked.names, data_dir=asked.data_dir, limit=asked.limit)
    require_tasks(choice, with_data=with_data)


def run_and_report(tree: StudyTree, out: Path, *, jobs: int = 1, as_json: bool = False) -> int:
    """Runs the study and writes its report; prints the table. Returns the exit code."""
    # Here, so that `study status` does not wait for matplotlib.
    from megatron_codemix.report.render import print_report, write_report
    from megatron_codemix.study.runner import run_study

    outcome = run_study(tree, out, jobs=jobs)
    if outcome.exit_code != EXIT_DONE:
        Console(stderr=True).print(outcome.message, markup=False, highlight=False, soft_wrap=True)
        return outcome.exit_code
    written = write_report(tree, out)
    if as_json:
        _print_json(written.report)
    else:
        print_report(written, Console())
    return EXIT_DONE


@app.command()
def status(
    study: StudyArgument,
    data: DataOption = None,
    out: OutOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Show how far each phase is."""
    spec = read_study(study, data, scale, set_)
    _print_progress(identify(expand(spec)), place_of(spec, out), json)


@app.command()
def report(
    study: StudyArgument,
    data: DataOption = None,
    out: OutOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write report.html, report.md and report.json from what is there; unfinished variants are left
    out."""
    from megatron_codemix.report.render import print_report, write_report

    spec = read_study(study, data, scale, set_)
    written = write_report(identify(expand(spec)), place_of(spec, out))
    if json:
        _print_json(written.report)
    else:
        print_report(written, Console())


def _print_json(value: Any) -> None:  # Any: JSON values
    print(json_module.dumps(value, indent=1, ensure_ascii=False))


def _print_table(table: Table, lines: list[str]) -> None:
    """A table, and lines that are printed as they are."""
    console = Console()
    console.print(table)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_progress(tree: StudyTree, out: Path, as_json: bool) -> None:
    phases = study_progress(tree, out)
    record = read_record(out, tree.spec.name)
    if as_json:
        _print_json(
            {
                "study": tree.spec.name,
                "out": str(out),
                "wall_seconds": record.wall_seconds,
                "missing": tree.inventory.missing,
                "phases": [_progress_record(phase) for phase in phases],
            }
        )
        return
    so_far = f"{format_duration(record.wall_seconds)} so far"
    table = Table(title=escape(f"{tree.spec.name} in {out}, {so_far}"))
    for name in ("phase", "state", "step", "attempts", "run directory"):
        table.add_column(name)
    for phase in phases:
        table.add_row(
            escape(phase.node.label),
            phase.state,
            f"{phase.step} / {phase.num_steps}",
            str(phase.status.attempts if phase.status else 0),
            "-" if phase.run is None else phase.run.path.name,
        )
    lines = [f"missing: {name}" for name in tree.inventory.missing]
    lines += [
        f"{phase.node.label}: goes on in place from step {earlier.step}, its mixture has changed"
        for phase in phases
        if (earlier := earlier_run(tree, out, phase.node)) is not None
    ]
    lines += [
        f"{phase.node.label}: {phase.status.last_error}"
        for phase in phases
        if phase.status and phase.status.state == "failed" and phase.status.last_error
    ]
    _print_table(table, lines)


def _progress_record(phase: PhaseProgress) -> dict[str, Any]:  # Any: JSON values
    return {
        "cell": phase.node.cell,
        "phase": phase.node.name,
        "parent": phase.node.parent,
        "state": phase.state,
        "step": phase.step,
        "num_steps": phase.num_steps,
        "run": None if phase.run is None else str(phase.run.path),
        "last_error": phase.status.last_error if phase.status else None,
    }
