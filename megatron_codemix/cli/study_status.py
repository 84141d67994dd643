"""How far a study is: each phase, and its job where it was submitted to SLURM."""

import json as json_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement

from megatron_codemix.cli.study_jobs import StudyJobs
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.damaged_ends import damaged_end, phases_to_show
from megatron_codemix.study.data_checks import missing_line
from megatron_codemix.study.job_graph import job_name
from megatron_codemix.study.other_runs import other_runs
from megatron_codemix.study.progress import last_records
from megatron_codemix.study.record import read_record
from megatron_codemix.study.run_checks import checkpoint_problems, status_problems
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.store import Member, others_of, read_trainers
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration


def print_progress(tree: StudyTree, out: Path, *, as_json: bool) -> None:
    """The state of every phase, as a table with what is wrong below it."""
    phases, jobs = phases_to_show(tree, out), StudyJobs(tree, out)
    jobs.ask()
    record = read_record(out, tree.spec.name)
    if as_json:
        shown = {
            "study": tree.spec.name,
            "out": str(out),
            "store": None if tree.store is None else str(tree.store),
            "wall_seconds": record.wall_seconds,
            "missing": tree.inventory.missing,
            "other_runs": other_runs(tree, out),
            "problems": _run_notes(tree, out, phases),
            "phases": [_progress_record(tree, phase, jobs) for phase in phases],
        }
        print(json_module.dumps(shown, indent=1, ensure_ascii=False))
        return
    console = Console()
    console.print(fitting_table(tree, out, phases, jobs, console))
    for line in notes(tree, out, phases, jobs):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def fitting_table(
    tree: StudyTree, out: Path, phases: list[PhaseProgress], jobs: StudyJobs, console: Console
) -> WholeTable:
    """With whole names of run directories where there is room for them, else with their digits
    alone: what is before them is the phase's name."""
    table = _table(tree, out, phases, jobs, has_room=True)
    unbound = console.options.update(max_width=10**6)
    if Measurement.get(console, unbound, table).minimum <= console.width:
        return table
    return _table(tree, out, phases, jobs, has_room=False)


def _table(
    tree: StudyTree, out: Path, phases: list[PhaseProgress], jobs: StudyJobs, *, has_room: bool
) -> WholeTable:
    record = read_record(out, tree.spec.name)
    so_far = f", {format_duration(record.wall_seconds)} so far" if record.wall_seconds else ""
    table = WholeTable(title=escape(f"{tree.spec.name} in {out}{so_far}"))
    has_jobs = jobs.were_submitted
    names = ["phase", "state", "step", "tokens/s", "attempts", *(["job"] if has_jobs else [])]
    for name in [*names, "run directory" if has_room else "run"]:
        table.add_column(name)
    for phase in phases:
        step, speed = newest_step(phase)
        job = jobs.of(phase)
        cells = [
            phase.node.label,
            phase.state,
            f"{step} / {phase.num_steps}",
            speed,
            str(phase.status.attempts if phase.status else 0),
            *([job.words if job else "-"] if has_jobs else []),
            "-" if phase.run is None else _directory_words(phase.run, has_room=has_room),
        ]
        table.add_row(*map(escape, cells))
    return table


def _directory_words(run: RunDirectory, *, has_room: bool) -> str:
    return run.path.name if has_room else run.path.name.rpartition("-")[2]


def newest_step(phase: PhaseProgress) -> tuple[int, str]:
    """Steps done, and the speed of the last one; those of the last logged line while it trains,
    which the status follows only now and then."""
    if phase.run is None or phase.state != "running":
        return phase.step, "-"
    last = last_records(phase.run.metrics)[-1:]
    if not last:
        return phase.step, "-"
    return int(last[0]["step"]), f"{last[0]['throughput/tokens_per_second']:,.0f}"


def notes(tree: StudyTree, out: Path, phases: list[PhaseProgress], jobs: StudyJobs) -> list[str]:
    """What is said below the table."""
    lines = [missing_line(name) for name in tree.inventory.missing]
    lines += [f"jobs: {jobs.problem}"] if jobs.problem else []
    report = jobs.live.get(job_name(tree.spec.name, None, "report"))
    lines += [f"report: {report.words}"] if report else []
    lines += [f"runs: in {tree.store}"] if tree.store is not None else []
    lines += [f"note: {line}" for line in other_runs(tree, out)]
    lines += [f"note: {line}" for line in _run_notes(tree, out, phases)]
    lines += _sharing_notes(tree, out, phases)
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
    return lines


def _run_notes(tree: StudyTree, out: Path, phases: list[PhaseProgress]) -> list[str]:
    """What is to be mended in runs before or by the next `study run`."""
    unread = [f"{phase.node.label}: {phase.problem}" for phase in phases if phase.problem]
    damaged = [
        f"{phase.node.label}: is trained, but its last checkpoint, which is needed, is not whole; "
        f"'study run' makes it again from the one before: {'; '.join(damage.splitlines())}"
        for phase in phases
        if phase.state == "failed"
        and tree.trained_with(phase.node) is None
        and (damage := damaged_end(tree, out, phase)) is not None
    ]
    return [*status_problems(tree, out), *checkpoint_problems(tree, out), *unread, *damaged]


def _sharing_notes(tree: StudyTree, out: Path, phases: list[PhaseProgress]) -> list[str]:
    """What is trained for several cells, or by another study."""
    lines = [
        f"{phase.node.label}: is the training of {owner}"
        for phase in phases
        if (owner := tree.trained_with(phase.node)) is not None
    ]
    member = Member.of(tree.spec.name, out)
    for phase in phases:
        if phase.run is None or tree.trained_with(phase.node) is not None:
            continue
        others = others_of(read_trainers(phase.run), member)
        if others:
            words = ", ".join(f"{one.study} ({one.out})" for one in others)
            lines.append(f"{phase.node.label}: was trained by study {words}")
    return lines


def _progress_record(
    tree: StudyTree, phase: PhaseProgress, jobs: StudyJobs
) -> dict[str, Any]:  # Any: JSON values
    job = jobs.of(phase)
    return {
        "cell": phase.node.cell,
        "phase": phase.node.name,
        "parent": phase.node.parent,
        "trained_with": tree.trained_with(phase.node),
        "state": phase.state,
        "step": phase.step,
        "num_steps": phase.num_steps,
        "run": None if phase.run is None else str(phase.run.path),
        "last_error": phase.status.last_error if phase.status else None,
        "job": None if job is None else {"id": job.id, "state": job.state, "reason": job.reason},
    }
