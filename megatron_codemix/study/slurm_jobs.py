"""A study's jobs as SLURM's: what each runs, on how many nodes, for how long."""

from pathlib import Path

from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.files import write_text
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.launch.slurm.script import Job, Shape, render_script, shape_of
from megatron_codemix.launch.slurm.starts import starts_beside
from megatron_codemix.launch.slurm.waits import waits_beside
from megatron_codemix.runs import EVALUATION, RunDirectory
from megatron_codemix.study.commands import (
    asked_config,
    evaluate_words,
    files_folder,
    train_words,
)
from megatron_codemix.study.frozen import dump_study
from megatron_codemix.study.job_graph import StudyJob
from megatron_codemix.study.tree import StudyTree


def frozen_study(out: Path) -> Path:
    """Place of the study as it was submitted."""
    return out.absolute() / "slurm" / "study.yaml"


def run_of(job: StudyJob) -> RunDirectory:
    """Run directory of a training or an evaluation."""
    assert job.phase is not None, job.name
    assert job.phase.run is not None, f"{job.name}: submitted only with its data there"
    return job.phase.run


def job_folder(out: Path, job: StudyJob) -> Path:
    """Where script and log of a job lie: in its run directory, or below the study's folder where
    the run lies in a store and is not the study's alone."""
    if job.kind == "report":
        return frozen_study(out).parent
    if job.phase is not None and job.phase.is_stored:
        return frozen_study(out).parent / job.node.cell / job.node.name
    return files_folder(run_of(job), job.kind)


def script_path(out: Path, job: StudyJob) -> Path:
    """Place of the batch script."""
    return job_folder(out, job) / f"{job.kind}.sbatch"


def _config_path(out: Path, job: StudyJob) -> Path | None:
    """Place of the configuration that a training or an evaluation reads; None where an evaluation
    needs none but the run's. In a store the run's own is whoever's trains it."""
    assert job.phase is not None, job.name
    if job.phase.is_stored:
        return job_folder(out, job) / "config.yaml"
    run = run_of(job)
    if job.kind == "train":
        return run.config
    return None if run.results == EVALUATION else asked_config(run)


def slurm_job(tree: StudyTree, out: Path, cluster: ClusterSpec, job: StudyJob) -> Job:
    """`job`, for a batch script."""
    if job.kind == "report":
        return _report_job(tree, out, cluster, job)
    run, identity = run_of(job), job.node.identity
    log = job_folder(out, job) / f"{job.kind}.log"
    assert identity is not None, job.name
    asked = [job.kind, "--run", str(run.path), "--results", run.results]
    asked += ["--waits", str(waits_beside(log))]
    ended = ["study", "job-ended", *asked, "--out", str(out.absolute())]
    ended += ["--study", tree.spec.name, "--phase", job.node.key]
    ended += ["--max-failures", str(cluster.max_failures), "--starts", str(starts_beside(log))]
    if job.kind == "train":
        num_tasks, limit = tree.spec.world_size, cluster.time_limit
        command = train_words(run, num_tasks, _config_path(out, job))
        failures = job.phase.status.failures if job.phase and job.phase.status else 0
        ended += ["--identity", identity, "--failures-before", str(failures)]
    else:
        measured = tree.spec.evaluation.by_processes(job.node.config)
        num_tasks = measured.num_processes
        limit = cluster.evaluation_time_limit or cluster.time_limit
        command = evaluate_words(run, measured, _config_path(out, job))
    return Job(
        name=job.name,
        title=f"Study {tree.spec.name}: {job.kind} phase {job.node.label}",
        folder=out.absolute(),
        log=log,
        command=command,
        shape=shape_of(cluster, num_tasks, needs_gpus=job.node.config.backend.device != "cpu"),
        cpus_per_task=cluster.cpus_per_task,
        memory_per_node=cluster.memory_per_node,
        time_limit_seconds=limit,
        before=["study", "job-begins", *asked] if job.phase and job.phase.is_stored else None,
        after=ended,
        starts=starts_beside(log),
        sign_of_life=run.status if job.kind == "train" else run.evaluation / "rank0.log",
        stop_before_end_seconds=cluster.stop_before_end,
        mounts=_needed_folders(tree, out),
    )


def _report_job(tree: StudyTree, out: Path, cluster: ClusterSpec, job: StudyJob) -> Job:
    report, study = cluster.report, frozen_study(out)
    return Job(
        name=job.name,
        title=f"Study {tree.spec.name}: report",
        folder=out.absolute(),
        log=study.with_name("report.log"),
        command=["study", "report", str(study), "--out", str(out.absolute())],
        shape=Shape(nodes=1, tasks_per_node=1, gpus_per_node=0),
        cpus_per_task=report.cpus,
        memory_per_node=report.memory,
        time_limit_seconds=report.time_limit,
        partition=report.partition,
        mounts=_needed_folders(tree, out),
    )


def _needed_folders(tree: StudyTree, out: Path) -> list[Path]:
    """What a container must see: the study's folder, its store, and the folder of every file of its
    data."""
    folders: dict[Path, None] = {out.absolute(): None}
    if tree.store is not None:
        folders[tree.store] = None
    for node in tree.nodes.values():
        files = [node.config.tokenizer.path]
        for source in node.config.data.sources.values():
            files += [path for path in (source.train, source.validation) if path is not None]
        folders |= dict.fromkeys(file.absolute().parent for file in files)
    tasks = tree.spec.evaluation.tasks
    if tasks is not None and tasks.data_dir is not None:
        folders[tasks.data_dir.absolute()] = None
    return list(folders)


def write_job(tree: StudyTree, out: Path, cluster: ClusterSpec, job: StudyJob) -> Job:
    """Writes the batch script and what the job reads: the configuration of its phase, the study for
    the report."""
    if job.kind == "report":
        write_text(frozen_study(out), dump_study(tree.spec))
    elif (place := _config_path(out, job)) is not None:
        write_text(place, dump_yaml(tree.resolved_config(out, job.node)))
    made = slurm_job(tree, out, cluster, job)
    write_text(script_path(out, job), render_script(cluster, made))
    return made
