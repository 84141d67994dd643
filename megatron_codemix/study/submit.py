"""A study on SLURM: submits what is missing, asks what is queued, cancels.

SLURM is asked what is queued or running, so the same call at any time submits only what neither
runs nor is done. A job that waits for one that is submitted anew would wait in vain: it is
cancelled and submitted anew with it.

What another study's queued job trains, in a store that both have, is not submitted: what comes
after it waits for that job. Its number is noted in the store, and counts only where SLURM has a job
of this number and name. Where it fails or is cancelled, SLURM cancels those that wait for it, and
the next submission of their study has it as a job of its own.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from megatron_codemix.errors import CodemixError, ConfigError, RetryableError
from megatron_codemix.launch.slurm.client import QueuedJob, Scheduler
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.study.changed_phase import earlier_run, take_over
from megatron_codemix.study.damaged_ends import mend_ledger_of, phases_to_be_done
from megatron_codemix.study.data_checks import data_of_the_rest
from megatron_codemix.study.job_graph import StudyJob, job_graph, job_name, report_job
from megatron_codemix.study.job_records import JobRecord, read_records, write_records
from megatron_codemix.study.locks import exclusive_study, record_lock
from megatron_codemix.study.noted_jobs import (
    NotedJob,
    job_of_another_study,
    jobs_for,
    note_job,
    validated_otherwise,
    validation_hash,
)
from megatron_codemix.study.record import read_record, write_record
from megatron_codemix.study.run_checks import mend_configs, run_problems
from megatron_codemix.study.slurm_jobs import run_of, script_path, write_job
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.store import require_store, submitting
from megatron_codemix.study.tree import StudyTree

CANCEL_SECONDS = 180.0
"""How long a cancellation may take: SLURM waits KillWait (30 s where a site does not say otherwise)
for what a job still does, and its epilog."""

_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class SubmissionPlan:
    """What a submission would do."""

    jobs: list[StudyJob]
    """All that is not done, in an order in which they can be submitted."""
    kept: dict[str, QueuedJob] = field(default_factory=dict)
    """Name -> job that is queued or running, and stays."""
    replaced: list[QueuedJob] = field(default_factory=list)
    """Jobs that wait in vain: cancelled, and submitted anew."""
    notes: list[str] = field(default_factory=list)
    """Configurations and ledgers of trained phases that were cut or lost, and what has become of
    them."""

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


def cancel_jobs(
    study: str,
    out: Path,
    scheduler: Scheduler,
    *,
    names: Collection[str] | None = None,
    patience_seconds: float = CANCEL_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> list[QueuedJob]:
    """Cancels the study's jobs, or those of these names, and waits until SLURM has none of them;
    they, as they were found.

    A script that was just about to put its job back into the queue does so behind the first
    `scancel`, so what is there again is cancelled again. Raises RetryableError naming those that
    are there still after `patience_seconds`.
    """
    found: dict[str, QueuedJob] = {}
    give_up_at = time.monotonic() + patience_seconds
    while left := _of_names(queued_jobs(study, out, scheduler), names):
        if found and time.monotonic() >= give_up_at:
            raise RetryableError(
                f"{patience_seconds:.0f} s after they were cancelled SLURM still has "
                f"{', '.join(f'{job.words} ({job.name})' for job in left)}; a job that stays "
                "COMPLETING hangs on its node"
            )
        found = {job.id: job for job in left} | found
        alive = [job.id for job in left if not job.is_ending]
        if alive:
            scheduler.cancel(alive)
        pause(_LOOK_AGAIN_SECONDS)
    return list(found.values())


def _of_names(jobs: Sequence[QueuedJob], names: Collection[str] | None) -> list[QueuedJob]:
    return [job for job in jobs if names is None or job.name in names]


def plan_submission(
    tree: StudyTree,
    out: Path,
    cluster: ClusterSpec,
    phases: Sequence[PhaseProgress],
    queued: Sequence[QueuedJob],
    others: Sequence[QueuedJob] = (),
) -> SubmissionPlan:
    """What is missing, given the jobs that SLURM has: the study's, and those that are noted in its
    store (`jobs_for`). phases: `phases_to_be_done`."""
    records = read_records(out)
    live = {job.name: job for job in queued}
    otherwise = validated_otherwise(tree, phases, live, others)
    graph = job_graph(tree, phases, max_running=cluster.max_running, validated_otherwise=otherwise)
    kept: dict[str, QueuedJob] = {}
    replaced: list[QueuedJob] = []
    for job in graph:
        found = live.get(job.name)
        if job.kind == "report":
            continue
        if found is None:
            elsewhere = job_of_another_study(tree, run_of(job), job.kind, others)
            kept |= {} if elsewhere is None else {job.name: elsewhere}
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
    """All that keeps the study from being submitted: data that is missing or damaged, run
    directories that hold other runs, jobs that work on what the study was before it was changed."""
    problems = data_of_the_rest(tree, out).problems
    try:
        read_record(out, tree.spec.name)
        records = read_records(out)
    except CodemixError as error:
        return problems + error.problems
    problems += run_problems(tree, out)
    live = {job.name: job for job in queued}
    for node in tree.nodes.values():
        if node.identity is None:
            continue
        run = tree.run_directory(out, node)
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
    if tree.store is not None:
        require_store(tree.store)
    with exclusive_study(out), submitting(tree.store):
        queued = queued_jobs(tree.spec.name, out, scheduler)
        problems = submission_problems(tree, out, queued)
        if problems:
            raise ConfigError(problems)
        _note_runs(tree, out)
        for node in tree.nodes.values():
            if earlier_run(tree, out, node) is not None:
                take_over(tree, out, node)
        phases = phases_to_be_done(tree, out)
        told = [*mend_configs(tree, out), *(mend_ledger_of(tree, phase) for phase in phases)]
        others = jobs_for(tree, phases, scheduler)
        plan = plan_submission(tree, out, cluster, phases, queued, others)
        plan = replace(plan, notes=[text for text in told if text is not None])
        for job in plan.missing:
            write_job(tree, out, cluster, job)
        for script in _one_of_each_kind(out, plan.missing):
            scheduler.check(script)
        if plan.replaced:
            scheduler.cancel([job.id for job in plan.replaced])
        return plan, _submit(tree, out, plan, scheduler)


def _one_of_each_kind(out: Path, jobs: Sequence[StudyJob]) -> list[Path]:
    return list({job.kind: script_path(out, job) for job in jobs}.values())


def _note_runs(tree: StudyTree, out: Path) -> None:
    """Where each phase lies, for reports without data files."""
    with record_lock(out):
        record = read_record(out, tree.spec.name)
        noted = record.with_runs(tree, out)
        if record != noted:
            write_record(out, noted)


def _submit(
    tree: StudyTree, out: Path, plan: SubmissionPlan, scheduler: Scheduler
) -> dict[str, str]:
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
        write_records(out, tree.spec.name, records)
        if run is not None and tree.store is not None and job.kind != "report":
            validates = validation_hash(job.node) if job.kind == "train" else None
            noted = NotedJob(id=numbers[job.name], name=job.name, validates=validates)
            note_job(tree.store, run, job.kind, noted)
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
