"""`codemix study`: check, plan, run, watch and report a study."""

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

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
from megatron_codemix.cli.study_job_begins import job_begins
from megatron_codemix.cli.study_job_ended import job_ended
from megatron_codemix.cli.study_logs import logs
from megatron_codemix.cli.study_options import (
    DataOption,
    JsonOption,
    OutOption,
    ScaleOption,
    SetOption,
    StoreOption,
    StudyArgument,
    collecting,
    place_of,
    read_study,
    require_tasks_of,
    with_store,
)
from megatron_codemix.cli.study_plan import plan_notes, plan_record, plan_table
from megatron_codemix.cli.study_status import print_progress
from megatron_codemix.cli.study_submit import cancel, submit
from megatron_codemix.cli.study_watch import watch_progress
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, EXIT_RETRY, ConfigError, RunError
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.study.damaged_ends import is_all_done
from megatron_codemix.study.data_checks import data_of_all, missing_line
from megatron_codemix.study.outlook import outlook
from megatron_codemix.study.run_checks import identity_problems, start_problems
from megatron_codemix.study.tree import StudyTree, expand, identify

if TYPE_CHECKING:
    from megatron_codemix.cli.study_cost import StudyCost

app = typer.Typer(
    help="A study: phases chained by checkpoint, compared as variants.",
    no_args_is_help=True,
    add_completion=False,
)


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
        studies,
        lambda path: read_study(path, data, scale, set_),
        lambda spec: require_tasks_of(spec, with_data=False),
    )
    if json:
        _print_json(check_record(checked, problems))
        if problems:
            raise typer.Exit(EXIT_INPUT)
        return
    for line in check_lines(checked):
        print(line)
    if problems:
        raise ConfigError(problems)


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
    phases, data_found = outlook(tree), data_of_all(tree)
    notes = plan_notes(tree, phases)
    if json:
        _print_json(plan_record(tree, phases, data_found.missing, notes, cost))
    else:
        missing = map(missing_line, data_found.missing)
        _print_table(plan_table(tree, phases), [*missing, *(f"note: {text}" for text in notes)])
    if cost is not None and not json:
        _print_table(cost.table(), [])
    if data_found.damaged:
        raise ConfigError(data_found.damaged)


@app.command()
def run(
    study: StudyArgument,
    data: DataOption = None,
    out: OutOption = None,
    store: StoreOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Phases that run side by side, each on the study's world_size processes; on GPUs "
            "each gets its own. By default as many as this machine has GPUs, or cores, for.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would run, and what keeps it from starting, and stop."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train and evaluate what is missing, on this machine, then write the report.

    After Ctrl-C, a kill or a failure the same command goes on from the last checkpoint.
    """
    spec = read_study(study, data, scale, set_)
    place = place_of(spec, out)
    tree = with_store(identify(expand(spec)), place, store)
    problems: list[str] = []
    if not is_all_done(tree, place):
        with collecting(problems):
            require_tasks_of(spec, with_data=True)
    if dry_run:
        _show_what_would_run(tree, place, problems, as_json=json)
        return
    code = run_and_report(tree, place, jobs=jobs, as_json=json, problems=problems)
    if code != EXIT_DONE:
        raise typer.Exit(code)


def _show_what_would_run(tree: StudyTree, out: Path, problems: list[str], *, as_json: bool) -> None:
    """The state of every phase; then raises ConfigError with all that keeps it from starting."""
    found: list[str] = []
    with collecting(found):
        print_progress(tree, out, as_json=as_json)
    found += [*start_problems(tree, out), *problems]
    if found:
        raise ConfigError(list(dict.fromkeys(found)))


def run_and_report(
    tree: StudyTree,
    out: Path,
    *,
    jobs: int | None = None,
    as_json: bool = False,
    problems: Sequence[str] = (),
) -> int:
    """Runs the study and writes its report; prints the table. Returns the exit code. problems: as
    in `run_study`."""
    # Here, so that `study status` does not wait for matplotlib.
    from megatron_codemix.report.render import print_report, write_report
    from megatron_codemix.study.runner import run_study

    outcome = run_study(tree, out, jobs=jobs, problems=problems)
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
    store: StoreOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Keep showing it until all is done, Ctrl-C, or for a "
            "minute nothing ran or was queued (exit code 75).",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show how far each phase is, and its job where the study was submitted to SLURM."""
    if watch and json:
        raise typer.BadParameter("--json prints once; leave one of them out", param_hint="--watch")
    spec = read_study(study, data, scale, set_)
    place = place_of(spec, out)
    tree = with_store(identify(expand(spec)), place, store)
    if problems := identity_problems(tree, place):
        raise RunError(*problems)
    if watch:
        if not watch_progress(tree, place):
            raise typer.Exit(EXIT_RETRY)
    else:
        print_progress(tree, place, as_json=json)


app.command()(submit)
app.command()(cancel)
app.command()(logs)
app.command(hidden=True)(job_begins)
app.command(hidden=True)(job_ended)


@app.command()
def report(
    study: StudyArgument,
    data: DataOption = None,
    out: OutOption = None,
    store: StoreOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write report.html, .md, .json and report/*.csv from what is there; unfinished variants are
    left out."""
    from megatron_codemix.report.render import print_report, write_report

    spec = read_study(study, data, scale, set_)
    place = place_of(spec, out)
    written = write_report(with_store(identify(expand(spec)), place, store), place)
    if json:
        _print_json(written.report)
    else:
        print_report(written, Console())


def _print_json(value: Any) -> None:  # Any: JSON values
    print(json_module.dumps(value, indent=1, ensure_ascii=False))


def _print_table(table: WholeTable, lines: list[str]) -> None:
    """A table, and lines that are printed as they are."""
    console = Console()
    console.print(table)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
