"""The text of a batch script, from one template that is meant to be read
(`templates/job.sbatch.j2`)."""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from megatron_codemix.launch.slurm.cluster import (
    ApptainerContainer,
    ClusterSpec,
    PyxisContainer,
    time_words,
)

_SECONDS_FOR_THE_OTHERS = 60
"""After the first rank has ended. Ranks that stop in order end within moments of one another, the
last of them after it has written the status; ranks that have lost another may wait for ever."""

NO_STORE = 3
"""Exit code of what is asked before the processes, and of the job then, where the folder of runs
that studies share is not there."""
_LOOK_AGAIN = "now+15minutes"
"""When a job begins again whose run another process works on, in SLURM's words: often enough for
trainings of hours, and no more than an allocation of seconds."""


class Shape(NamedTuple):
    """How processes lie on nodes."""

    nodes: int
    tasks_per_node: int
    gpus_per_node: int

    @property
    def num_tasks(self) -> int:
        return self.nodes * self.tasks_per_node


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, of whatever kind."""

    name: str
    title: str
    """For whoever opens the script."""
    folder: Path
    """Where it works."""
    log: Path
    command: Sequence[str]
    """Words of codemix that each process runs."""
    shape: Shape
    cpus_per_task: int
    time_limit_seconds: int
    memory_per_node: str | None = None
    partition: str | None = None
    """Absent: the cluster's."""
    before: Sequence[str] | None = None
    """Words of codemix, run before the processes are started: 75 puts the job back for a while
    without them, NO_STORE ends it. Goes with `after`; None: nothing is asked."""
    after: Sequence[str] | None = None
    """Words of codemix, run once when the processes have ended: 75 requeues the job. None: it is
    over whatever happened."""
    starts: Path | None = None
    """Takes a line for each start (`starts.py`); None: they are not noted."""
    sign_of_life: Path | None = None
    """File that the processes write now and then; goes with `starts`."""
    stop_before_end_seconds: int | None = None
    """When to ask the processes to save and stop; None: never."""
    mounts: Sequence[Path] = ()
    """Folders that a container must see."""


def shape_of(cluster: ClusterSpec, num_tasks: int, *, needs_gpus: bool) -> Shape:
    """The fewest nodes on which `num_tasks` processes lie evenly."""
    nodes = math.ceil(num_tasks / cluster.ranks_per_node)
    while num_tasks % nodes:
        nodes += 1
    tasks = num_tasks // nodes
    # Fewer processes than GPUs still leave nobody else's job on theirs, and no GPU idle.
    gpus = min(cluster.gpus_per_node, tasks) if needs_gpus else 0
    return Shape(nodes, tasks, gpus)


def render_script(cluster: ClusterSpec, job: Job) -> str:
    """The script, for sbatch."""
    import jinja2  # here, so that a status does not wait for it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    variables = {"OMP_NUM_THREADS": str(job.cpus_per_task), **cluster.environment}
    before, after = (
        None if words is None else shlex.join([*own_program(), *words])
        for words in (job.before, job.after)
    )
    return environment.get_template("job.sbatch.j2").render(
        title=job.title,
        options=sbatch_options(cluster, job),
        setup=[*(f"module load {module}" for module in cluster.modules), *cluster.setup],
        environment=[(name, shlex.quote(value)) for name, value in variables.items()],
        srun=_srun_line(cluster, job),
        before=before,
        no_store=NO_STORE,
        look_again=_LOOK_AGAIN,
        after=after,
        starts=None if job.starts is None else shlex.quote(str(job.starts)),
        sign_of_life=shlex.quote(str(job.sign_of_life)),
    )


def sbatch_options(cluster: ClusterSpec, job: Job) -> list[str]:
    """What stands behind `#SBATCH`, quoted as sbatch reads it there."""
    shape = job.shape
    gpus = f"{cluster.gpu_type}:{shape.gpus_per_node}" if cluster.gpu_type else shape.gpus_per_node
    stop = job.stop_before_end_seconds
    values = {
        "job-name": job.name,
        "partition": job.partition or cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "nodes": shape.nodes,
        "ntasks-per-node": shape.tasks_per_node,
        "cpus-per-task": job.cpus_per_task,
        "gpus-per-node": gpus if shape.gpus_per_node else None,
        "mem": job.memory_per_node,
        "time": time_words(job.time_limit_seconds),
        "signal": None if stop is None else f"B:USR1@{stop}",
        "chdir": job.folder,
        # In a file's name, SLURM takes %j for the job's number.
        "output": str(job.log).replace("%", "%%"),
        "open-mode": "append",
    }
    options = [f"--{name}={value}" for name, value in values.items() if value is not None]
    options.append("--no-requeue" if job.after is None else "--requeue")
    options.append("--kill-on-invalid-dep=yes")
    return [shlex.quote(option) for option in options] + list(cluster.extra_sbatch)


def own_program() -> list[str]:
    """Words that start codemix with the Python that runs now, for what speaks with SLURM: that has
    to happen outside of a container."""
    return [sys.executable, "-m", "megatron_codemix"]


def _srun_line(cluster: ClusterSpec, job: Job) -> str:
    """srun with the processes' command, a line for each part."""
    shape = job.shape
    placing = [
        "srun",
        f"--nodes={shape.nodes}",
        f"--ntasks={shape.num_tasks}",
        # srun does not take it over from sbatch (SLURM 22.05).
        f"--cpus-per-task={job.cpus_per_task}",
    ]
    # The first rank that ends must not have the others killed while they write their last words.
    ending = ["--kill-on-bad-exit=0", f"--wait={_SECONDS_FOR_THE_OTHERS}"]
    lines = [placing, [*ending, *cluster.srun_options], *_inside(cluster, job)]
    return " \\\n    ".join(shlex.join(words) for words in lines)


def _inside(cluster: ClusterSpec, job: Job) -> list[list[str]]:
    """The command, behind what leads into the container."""
    container = cluster.container
    program = cluster.program or (own_program() if container is None else ["codemix"])
    command = [*program, *job.command]
    if container is None:
        return [command]
    mounts = [*container.mounts, *_missing_mounts(container.mounts, job.mounts)]
    if isinstance(container, PyxisContainer):
        binding = [f"--container-mounts={','.join(mounts)}"] if mounts else []
        return [[f"--container-image={container.image}", *binding], command]
    assert isinstance(container, ApptainerContainer), container
    gpus = ["--nv"] if job.shape.gpus_per_node else []
    binding = [word for mount in mounts for word in ("--bind", mount)]
    return [["apptainer", "exec", *gpus, *binding, container.image], command]


def _missing_mounts(mounts: Sequence[str], wanted: Sequence[Path]) -> list[str]:
    """Mounts, each under its own name, of the wanted folders that no mount brings along so."""
    same = [Path(one.split(":")[0]) for one in mounts if one.split(":")[0] == one.split(":")[1]]
    missing: list[Path] = []
    for folder in wanted:
        if not any(folder.is_relative_to(place) for place in [*same, *missing]):
            missing.append(folder)
    return [f"{folder}:{folder}" for folder in missing]
