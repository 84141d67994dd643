"""`codemix study submit | cancel`: a study as a graph of SLURM jobs."""

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from megatron_codemix.cli.study_options import (
    DataOption,
    JsonOption,
    OutOption,
    ScaleOption,
    SetOption,
    StoreOption,
    StudyArgument,
    collecting,
    phases_named,
    place_of,
    read_study,
    require_tasks_of,
    with_store,
)
from megatron_codemix.errors import ConfigError
from megatron_codemix.launch.slurm.client import QueuedJob, SlurmPrograms, missing_programs
from megatron_codemix.launch.slurm.cluster import ClusterSpec, load_cluster, time_words
from megatron_codemix.launch.slurm.script import render_script
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.study.damaged_ends import is_all_done, phases_to_be_done
from megatron_codemix.study.job_graph import StudyJob, job_name
from megatron_codemix.study.job_records import read_records
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.noted_jobs import jobs_for
from megatron_codemix.study.other_runs import other_runs
from megatron_codemix.study.record import read_record
from megatron_codemix.study.slurm_jobs import script_path, slurm_job
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.submit import (
    SubmissionPlan,
    cancel_jobs,
    plan_submission,
    queued_jobs,
    submission_problems,
    submit_study,
)
from megatron_codemix.study.tree import StudyTree, expand, identify


def submit(
    study: StudyArgument,
    cluster: Annotated[
        Path, typer.Option("--cluster", help="Cluster file, such as examples/slurm/h100.yaml.")
    ],
    data: DataOption = None,
    out: OutOption = None,
    store: StoreOption = None,
    scale: ScaleOption = None,
    set_: SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the jobs, with --json their scripts too, and stop."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Submit what is missing to SLURM: a job for each training and each evaluation, and one for the
    report.

    The same command again, at any time, submits only what is neither done, queued nor running.
    """
    problems: list[str] = []
    spec: ClusterSpec | None = None
    tree: StudyTree | None = None
    with collecting(problems):
        spec = load_cluster(cluster)
    with collecting(problems):
        tree = identify(expand(read_study(study, data, scale, set_)))
    if tree is not None:
        with collecting(problems):
            tree = with_store(tree, place_of(tree.spec, out), store)
            problems += submission_problems(tree, place_of(tree.spec, out))
            if not is_all_done(tree, place_of(tree.spec, out)):
                require_tasks_of(tree.spec, with_data=True)
    problems += [] if dry_run else missing_programs()
    if problems or spec is None or tree is None:
        raise ConfigError(problems)
    place = place_of(tree.spec, out)
    numbers: dict[str, str] = {}
    if dry_run:
        phases = phases_to_be_done(tree, place)
        queued, others = _queues_if_any(tree, place, phases)
        plan = plan_submission(tree, place, spec, phases, queued, others)
    else:
        plan, numbers = submit_study(tree, place, spec, SlurmPrograms())
    if json:
        _print_json(_plan_record(tree, place, spec, plan, numbers, with_text=dry_run))
    else:
        _print_plan(tree, place, spec, plan, numbers, is_dry=dry_run)


def cancel(
    study: StudyArgument,
    phases: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHASE]...", help="Only their jobs; all where none is named."),
    ] = None,
    out: OutOption = None,
    store: StoreOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Cancel the study's jobs in SLURM, and wait until they are gone.

    A training that runs saves first, if that takes no longer than the cluster's KillWait;
    'codemix study submit' goes on from there.
    """
    tree = expand(read_study(study, None, None, set_))
    place, name = place_of(tree.spec, out), tree.spec.name
    tree = with_store(tree, place, store, needs_runs=False)
    chosen = [node for text in phases or [] for node in phases_named(tree, text)]
    chosen = _with_same_runs(tree, place, chosen)
    wanted = {job_name(name, node, kind) for node in chosen for kind in ("train", "evaluate")}
    if missing := missing_programs():
        raise ConfigError(missing)
    with Console(stderr=True).status("waiting until SLURM has ended the jobs"):
        found = cancel_jobs(name, place, SlurmPrograms(), names=wanted if chosen else None)
    if json:
        _print_json({"study": name, "cancelled": [_job_record(job) for job in found]})
        return
    for job in found:
        print(f"cancelled  {job.words}  {job.name}")
    if not found:
        print(f"{place}: none of these jobs is queued or running")


def _queues_if_any(
    tree: StudyTree, out: Path, phases: Sequence[PhaseProgress]
) -> tuple[list[QueuedJob], list[QueuedJob]]:
    """What SLURM has of the study, and of those that share its store; nothing where nothing was
    submitted from here and no other study can have what is asked for, so that a dry run needs no
    SLURM."""
    if not (read_records(out) or tree.store) or missing_programs():
        return [], []
    scheduler = SlurmPrograms()
    queued = queued_jobs(tree.spec.name, out, scheduler)
    return queued, jobs_for(tree, phases, scheduler)


def _with_same_runs(tree: StudyTree, out: Path, chosen: list[PhaseNode]) -> list[PhaseNode]:
    """With the phases that are one training with them, one of which the job is named for."""
    runs = read_record(out, tree.spec.name).runs
    wanted = {runs[node.key] for node in chosen if node.key in runs}
    same = [node for node in tree.nodes.values() if runs.get(node.key) in wanted]
    return list({node.key: node for node in (*chosen, *same)}.values())


def _job_record(job: QueuedJob) -> dict[str, str]:
    return {"id": job.id, "name": job.name, "state": job.state, "reason": job.reason}


def _plan_record(
    tree: StudyTree,
    out: Path,
    cluster: ClusterSpec,
    plan: SubmissionPlan,
    numbers: dict[str, str],
    *,
    with_text: bool,
) -> dict[str, Any]:  # Any: JSON values
    """For programs; with_text: the scripts too, which are not written yet."""
    jobs = []
    for job in plan.missing:
        made = slurm_job(tree, out, cluster, job)
        record = {
            "name": job.name,
            "kind": job.kind,
            "phase": None if job.phase is None else job.phase.node.key,
            "id": numbers.get(job.name),
            "needs": list(job.needs),
            "follows": list(job.follows),
            **made.shape._asdict(),
            "time_limit_seconds": made.time_limit_seconds,
            "log": str(made.log),
            "script": str(script_path(out, job)),
        }
        jobs.append(record | ({"text": render_script(cluster, made)} if with_text else {}))
    return {
        "study": tree.spec.name,
        "out": str(out),
        "submitted": [] if with_text else jobs,
        **({"would_submit": jobs} if with_text else {}),
        "kept": [_job_record(job) for job in plan.kept.values()],
        "cancelled": [_job_record(job) for job in plan.replaced],
        "notes": plan.notes,
    }


def _print_plan(
    tree: StudyTree,
    out: Path,
    cluster: ClusterSpec,
    plan: SubmissionPlan,
    numbers: dict[str, str],
    *,
    is_dry: bool,
) -> None:
    for line in plan.notes:
        print(f"note: {line}")
    if not plan.jobs:
        live = "".join(f"; {job.words}  {job.name}" for job in plan.kept.values())
        print(f"{tree.spec.name} in {out}: all is done{live}")
        return
    table = WholeTable(title=escape(f"{tree.spec.name} in {out}, partition {cluster.partition}"))
    for name in ("job", "number", "nodes", "processes", "GPUs", "time limit", "waits for"):
        table.add_column(name)
    for job in plan.jobs:
        made = slurm_job(tree, out, cluster, job)
        kept = plan.kept.get(job.name)
        cells = [
            job.name.partition(":")[2],
            _kept_words(kept, job) if kept else numbers.get(job.name, "-"),
            str(made.shape.nodes),
            str(made.shape.num_tasks),
            str(made.shape.nodes * made.shape.gpus_per_node),
            time_words(made.time_limit_seconds),
            "-" if kept else _waits_for(job),
        ]
        table.add_row(*map(escape, cells))
    console = Console()
    console.print(table)
    verb = "would be submitted" if is_dry else "submitted"
    counts = [f"{len(plan.missing)} {verb}"]
    counts += [f"{len(plan.kept)} there already"] if plan.kept else []
    counts += [f"{len(plan.replaced)} that waited in vain cancelled"] if plan.replaced else []
    console.print(", ".join(counts), markup=False, highlight=False)
    for line in other_runs(tree, out):
        console.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)


def _kept_words(kept: QueuedJob, job: StudyJob) -> str:
    """With its name, where that is another study's."""
    return kept.words if kept.name == job.name else f"{kept.words}, {kept.name}"


def _waits_for(job: StudyJob) -> str:
    """Names without the study's; of those that need only have ended, where they are many, the
    number."""
    words = [name.partition(":")[2] for name in job.needs]
    if len(job.follows) > 2:
        return ", ".join([*words, f"end of {len(job.follows)} jobs"])
    return ", ".join([*words, *(f"end of {name.partition(':')[2]}" for name in job.follows)]) or "-"


def _print_json(value: Any) -> None:  # Any: JSON values
    print(json_module.dumps(value, indent=1, ensure_ascii=False))
