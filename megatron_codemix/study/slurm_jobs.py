"""A study's jobs as SLURM's: what each runs, on how many nodes, for how long."""

from pathlib import Path

from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.files import write_text
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.launch.slurm.script import Job, Shape, render_script, shape_of
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.commands import evaluate_words, train_words
from megatron_codemix.study.evaluation import HeldoutSpec
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


def script_path(out: Path, job: StudyJob) -> Path:
    """Place of the batch script."""
    folder = frozen_study(out).parent if job.kind == "report" else run_of(job).path
    return folder / f"{job.kind}.sbatch"


def slurm_job(tree: StudyTree, out: Path, cluster: ClusterSpec, job: StudyJob) -> Job:
    """`job`, for a batch script."""
    if job.kind == "report":
        return _report_job(tree, out, cluster, job)
    run, identity = run_of(job), job.node.identity
    assert identity is not None, job.name
    ended = ["study", "job-ended", job.kind, "--out", str(out.absolute())]
    ended += ["--study", tree.spec.name, "--phase", job.node.key]
    ended += ["--run", str(run.path), "--max-failures", str(cluster.max_failures)]
    if job.kind == "train":
        num_tasks, limit = tree.spec.world_size, cluster.time_limit
        command = train_words(run, num_tasks)
        failures = job.phase.status.failures if job.phase and job.phase.status else 0
        ended += ["--identity", identity, "--failures-before", str(failures)]
    else:
        heldout = tree.spec.evaluation.heldout
        assert isinstance(heldout, HeldoutSpec), "validations are the trainings' own"
        num_tasks = heldout.world_size
        limit = cluster.evaluation_time_limit or cluster.time_limit
        command = evaluate_words(run, tree.spec.evaluation)
    return Job(
        name=job.name,
        title=f"Study {tree.spec.name}: {job.kind} phase {job.node.label}",
        folder=out.absolute(),
        log=run.path / f"{job.kind}.log",
        command=command,
        shape=shape_of(cluster, num_tasks, needs_gpus=job.node.config.backend.device != "cpu"),
        cpus_per_task=cluster.cpus_per_task,
        memory_per_node=cluster.memory_per_node,
        time_limit_seconds=limit,
        after=ended,
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
    """What a container must see: the study's folder and that of every file of its data."""
    folders = {out.absolute(): None}
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
    """Writes the batch script and what the job reads: a training's configuration, the study for the
    report."""
    if job.kind == "train":
        write_text(run_of(job).config, dump_yaml(tree.resolved_config(out, job.node)))
    elif job.kind == "report":
        write_text(frozen_study(out), dump_study(tree.spec))
    made = slurm_job(tree, out, cluster, job)
    write_text(script_path(out, job), render_script(cluster, made))
    return made
