"""A study on SLURM: submits what is missing, asks what is queued, cancels.

SLURM is asked what is queued or running, so the same call at any time submits only what neither
runs nor is done. A job that waits for one that is submitted anew would wait in vain: it is
cancelled and submitted anew with it.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from megatron_codemix.errors import CodemixError, ConfigError, RunError
from megatron_codemix.launch.slurm.client import QueuedJob, Scheduler
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.locks import exclusive
from megatron_codemix.study.changed_phase import earlier_run, take_over
from megatron_codemix.study.job_graph import StudyJob, job_graph, job_name, report_job
from megatron_codemix.study.job_records import JobRecord, read_records, write_records
from megatron_codemix.study.slurm_jobs import run_of, script_path, write_job
from megatron_codemix.study.state import (
    PhaseProgress,
    read_record,
    record_lock,
    study_progress,
    write_record,
)
from megatron_codemix.study.tree import StudyTree


@dataclass(frozen=True, kw_only=True)
class SubmissionPlan:
    """What a submission would do."""

    jobs: list[StudyJob]
    """All that is not done, in an order in which they can be submitted."""
    kept: dict[str, QueuedJob] = field(default_factory=dict)
    """Name -> job that is queued or running, and stays."""
    replaced: list[QueuedJob] = field(default_factory=list)
    """Jobs that wait in vain: cancelled, and submitted anew."""

    @property
    def missing(self) -> list[StudyJob]:
        """What is submitted."""
        return [job for job in self.jobs if job.name not in self.kept]


def queued_jobs(study: str, out: Path, scheduler: Scheduler) -> list[QueuedJob]:
    """Jobs of the study in `out` that SLURM has, by their numbers in `slurm.json` or, where that
    was lost, by name and folder."""
    known = {record.id for record in read_records(out).values()}
    return [
        job
        for job in scheduler.jobs()
        if job.id in known
        or (job.folder == str(out.absolute()) and job.name.startswith(f"{study}:"))
    ]


def plan_submission(
    tree: StudyTree, out: Path, cluster: ClusterSpec, queued: Sequence[QueuedJob]
) -> SubmissionPlan:
    """What is missing, given the study's jobs that SLURM has."""
    phases, records = study_progress(tree, out), read_records(out)
    graph = job_graph(tree, phases, max_running=cluster.max_running)
    live = {job.name: job for job in queued}
    kept: dict[str, QueuedJob] = {}
    replaced: list[QueuedJob] = []
    for job in graph:
        found = live.get(job.name)
        if found is None or job.kind == "report":
            continue
        if _may_stay(job, found, records.get(job.name), kept):
            kept[job.name] = found
        else:
            replaced.append(found)
    is_changed = len(kept) < sum(job.kind != "report" for job in graph)
    report = live.get(job_name(tree.spec.name, None, "report"))
    if report is not None and not is_changed:
        kept[report.name] = report
    elif report is not None and report.is_waiting:
        replaced.append(report)
    if not graph and report is None and _is_report_due(out, phases):
        graph = [report_job(tree.spec.name, [])]
    return SubmissionPlan(jobs=graph, kept=kept, replaced=replaced)


def _may_stay(
    job: StudyJob, found: QueuedJob, record: JobRecord | None, kept: Mapping[str, QueuedJob]
) -> bool:
    """Whether a queued job will begin at the right time by itself."""
    if not found.is_waiting:
        return True
    if found.waits_in_vain or any(name not in kept for name in job.needs):
        return False
    if record is None or record.id != found.id:  # submitted, and not noted before a kill
        return True
    return all(record.needs.get(name) == kept[name].id for name in job.needs)


def _is_report_due(out: Path, phases: Iterable[PhaseProgress]) -> bool:
    """Whether something was finished after the last report."""
    report = out / "report.json"
    if not report.exists():
        return True
    runs = [phase.run for phase in phases if phase.run is not None]
    files = [run.status for run in runs] + [run.evaluation for run in runs]
    written = report.stat().st_mtime
    return any(file.stat().st_mtime > written for file in files if file.exists())


def submission_problems(tree: StudyTree, out: Path, queued: Sequence[QueuedJob] = ()) -> list[str]:
    """All that keeps the study from being submitted: data that is not there, run directories that
    hold other runs, jobs that work on what the study was before it was changed."""
    problems = [f"missing: {name}; prepare it, or set --data" for name in tree.inventory.missing]
    try:
        read_record(out, tree.spec.name)
        records = read_records(out)
    except CodemixError as error:
        return problems + error.problems
    live = {job.name: job for job in queued}
    for node in tree.nodes.values():
        if node.identity is None:
            continue
        run = tree.run_directory(out, node)
        try:
            run.claim(node.identity)
        except RunError as error:
            problems += error.problems
        for kind in ("train", "evaluate"):
            name = job_name(tree.spec.name, node, kind)
            record, found = records.get(name), live.get(name)
            if record and found and record.id == found.id and record.run != str(run.path):
                problems.append(
                    f"{node.label}: job {found.words} works in {record.run}, and the study was "
                    f"changed since: it is {run.path.name} now; 'codemix study cancel' ends the job"
                )
    return problems


def submit_study(
    tree: StudyTree, out: Path, cluster: ClusterSpec, scheduler: Scheduler
) -> tuple[SubmissionPlan, dict[str, str]]:
    """Submits what is missing. Returns what was done, and name -> number of the new jobs.

    Raises ConfigError with all problems, before anything is submitted; UnavailableError with
    SLURM's words where it refuses one of the scripts; RunError where a `study run` or another
    submission works in `out`. After an error in between, the same call submits the rest.
    """
    with exclusive(out / ".study.lock", "a study"):
        queued = queued_jobs(tree.spec.name, out, scheduler)
        problems = submission_problems(tree, out, queued)
        if problems:
            raise ConfigError(problems)
        for node in tree.nodes.values():
            if earlier_run(tree, out, node) is not None:
                take_over(tree, out, node)
        plan = plan_submission(tree, out, cluster, queued)
        for job in plan.missing:
            write_job(tree, out, cluster, job)
        for script in _one_of_each_kind(out, plan.missing):
            scheduler.check(script)
        if plan.replaced:
            scheduler.cancel([job.id for job in plan.replaced])
        _note_runs(tree, out)
        return plan, _submit(tree.spec.name, out, plan, scheduler)


def _one_of_each_kind(out: Path, jobs: Sequence[StudyJob]) -> list[Path]:
    return list({job.kind: script_path(out, job) for job in jobs}.values())


def _note_runs(tree: StudyTree, out: Path) -> None:
    """Where each phase lies, for reports without data files."""
    runs = {
        key: str(tree.run_directory(out, node).path.relative_to(out.absolute()))
        for key, node in tree.nodes.items()
    }
    with record_lock(out):
        record = read_record(out, tree.spec.name)
        if record.runs != runs:
            write_record(out, replace(record, runs=runs))


def _submit(study: str, out: Path, plan: SubmissionPlan, scheduler: Scheduler) -> dict[str, str]:
    """Submits in order; each number is noted before the next job, so that a kill loses none."""
    records = read_records(out)
    numbers = {name: job.id for name, job in plan.kept.items()}
    for job in plan.missing:
        script = script_path(out, job)
        numbers[job.name] = scheduler.submit(script, dependency_of(job, numbers))
        run = None if job.kind == "report" else run_of(job)
        records[job.name] = JobRecord(
            id=numbers[job.name],
            run=None if run is None else str(run.path),
            log=str(script.with_suffix(".log")),
            script=str(script),
            needs={name: numbers[name] for name in job.needs},
            submitted_unix=time.time(),
        )
        write_records(out, study, records)
    return {job.name: numbers[job.name] for job in plan.missing}


def dependency_of(job: StudyJob, numbers: Mapping[str, str]) -> str:
    """As sbatch takes it: `afterok:12,afterany:9:10`."""
    edges = {"afterok": job.needs, "afterany": job.follows}
    parts = [
        ":".join([kind, *(numbers[name] for name in names)])
        for kind, names in edges.items()
        if names
    ]
    return ",".join(parts)
