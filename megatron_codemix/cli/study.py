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
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, ConfigError
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.outlook import (
    PhaseOutlook,
    outlook,
    repetition_warnings,
    rounding_warnings,
)
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
    study: StudyArgument,
    data: DataOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Check the study file: names, phases, every configuration and layout. Needs no data."""
    try:
        tree = expand(read_study(study, data, scale, set_))
        _require_tasks(tree.spec, with_data=False)
    except ConfigError as error:
        if not json:
            raise
        _print_json({"ok": False, "problems": error.problems})
        raise typer.Exit(EXIT_INPUT) from error
    cells = len(tree.cells)
    if json:
        counts = {"phases": len(tree.nodes), "cells": cells}
        _print_json({"ok": True, "problems": [], "study": tree.spec.name, **counts})
        return
    print(
        f"{study}: ok, {len(tree.nodes)} phases, {len(tree.spec.variants)} variants"
        + (f", {cells} cells" if cells > 1 else "")
    )


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
    --gpu also its memory, time and cost there."""
    if gpu is None:
        refuse_unused(context, OF_SITE, "it goes with --gpu")
    tree = identify(expand(read_study(study, data, scale, set_)))
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
    budgets = {phase.label: (phase.requested_tokens, phase.train_tokens) for phase in phases}
    warnings = [*repetition_warnings(phases), *rounding_warnings(budgets)]
    if json:
        _print_json(
            {
                "study": tree.spec.name,
                "world_size": tree.spec.world_size,
                "token_scale": float(tree.spec.token_scale),
                "phases": [phase.as_dict() for phase in phases],
                "missing": tree.inventory.missing,
                "warnings": warnings,
                "cost": None if cost is None else cost.as_dict(),
            }
        )
        return
    missing = [f"missing: {name}" for name in tree.inventory.missing]
    _print_table(_plan_table(tree, phases), [*missing, *(f"note: {text}" for text in warnings)])
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


def _require_tasks(spec: StudySpec, *, with_data: bool) -> None:
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


def _plan_table(tree: StudyTree, phases: list[PhaseOutlook]) -> Table:
    layouts = sorted({phase.layout for phase in phases})
    table = Table(
        title=f"{tree.spec.name}: {len(phases)} phases, each on {tree.spec.world_size} processes "
        f"({', '.join(layouts)})",
        show_lines=True,
    )
    for name in ("phase", "tokens", "learning rate", "mixture (epochs along the chain)"):
        table.add_column(name, justify="right" if name == "tokens" else "left", overflow="fold")
    for phase in phases:
        asked = "" if phase.requested_tokens == phase.train_tokens else " asked for"
        origin = f"\nfrom {phase.parent}\n({phase.load})" if phase.parent else ""
        table.add_row(
            escape(phase.label + origin),
            f"{phase.train_tokens:,}\n{phase.num_steps:,} steps"
            + (f"\n{phase.requested_tokens:,}{asked}" if asked else ""),
            _lr_words(phase),
            escape("\n".join(_mixture_words(phase, source) for source in phase.epochs))
            + ("" if phase.is_constant else f"\n{escape(phase.schedule)}")
            + (f"\n{phase.layout}" if len(layouts) > 1 else ""),
        )
    return table


def _mixture_words(phase: PhaseOutlook, source: str) -> str:
    """`text 90% (0.41)`; a source that only parents read has a share of 0%."""
    epochs = phase.epochs[source]
    passes = "?" if epochs is None else f"{epochs:.2f}"
    return f"{source} {100 * phase.mixture.get(source, 0.0):.4g}% ({passes})"


def _lr_words(phase: PhaseOutlook) -> str:
    """Both ends of the edge to the parent, then the phase's own course."""
    edge = "" if phase.parent_final_lr is None else f"parent ends {phase.parent_final_lr:g}\n"
    course = [phase.first_lr, phase.final_lr]
    if phase.peak_lr > max(course):
        course.insert(1, phase.peak_lr)
    return edge + " -> ".join(f"{lr:g}" for lr in course)


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
