"""The cluster file: what a site's SLURM has to be told, once for all studies.

Read by the rules of every configuration file: scalars typed by their field, unknown keys refused
with the nearest known one, all problems in one block.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, StringConstraints

from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.config.schema import Section
from megatron_codemix.errors import ConfigError
from megatron_codemix.files import Json
from megatron_codemix.units import parse_duration

Word = Annotated[str, StringConstraints(pattern=r"^[^\s'\"\\]+$")]
"""Text without spaces and quotes."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\n\r]+$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Memory = Annotated[str, StringConstraints(pattern=r"^\d+[KMGT]?$")]

OWN_OPTIONS = frozenset(
    {
        "--account", "--array", "--chdir", "--constraint", "--cpus-per-task", "--dependency",
        "--error", "--gpus-per-node", "--job-name", "--kill-on-invalid-dep", "--mem", "--nodes",
        "--no-requeue", "--ntasks", "--ntasks-per-node", "--open-mode", "--output", "--parsable",
        "--partition", "--qos", "--requeue", "--signal", "--time", "--wait", "--wrap",
    }
)  # fmt: skip
"""Options of sbatch that follow from the study or from other fields."""
_OWN_OF_SRUN = frozenset(
    {
        "--container-image", "--container-mounts", "--cpus-per-task", "--kill-on-bad-exit",
        "--nodes", "--ntasks", "--ntasks-per-node", "--wait",
    }
)  # fmt: skip
"""The same, of srun."""


def read_time_limit(value: Json) -> Json:
    """Seconds of `2-12:00:00`, `12:00:00`, `90m` or `1h30m`. Raises ValueError, for a bare number
    too: it would be minutes to SLURM and seconds to everyone else."""
    if not isinstance(value, str):
        return value
    days, dash, rest = value.strip().rpartition("-")
    is_clock = re.fullmatch(r"\d+:\d\d:\d\d", rest) is not None
    is_bare = re.fullmatch(r"[\d.]+", rest) is not None
    if is_bare or (dash and not (days.isdecimal() and is_clock)):
        raise ValueError(f"expected a time such as 2-12:00:00, 12:00:00 or 90m, got {value!r}")
    return int(parse_duration(rest)) + (86400 * int(days) if dash else 0)


def time_words(seconds: int) -> str:
    """As sbatch reads it: `2-12:00:00`. Parts of a second do not count."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


TimeLimit = Annotated[int, BeforeValidator(read_time_limit), Field(gt=0)]


class PyxisContainer(Section):
    """Containers by NVIDIA's plugin for srun (`--container-image`)."""

    kind: Literal["pyxis"]
    image: Line
    """A squashfs file, or what enroot imports (`nvcr.io#nvidia/pytorch:25.09-py3`)."""
    mounts: list[Line] = []
    """`/outside:/inside`, with an optional `:ro`. The study's folder and its data are added."""


class ApptainerContainer(Section):
    """Containers by `apptainer exec`."""

    kind: Literal["apptainer"]
    image: Line
    """A .sif file, or what apptainer pulls (`docker://...`)."""
    mounts: list[Line] = []
    """`/outside:/inside`, with an optional `:ro`. The study's folder and its data are added."""


Container = Annotated[PyxisContainer | ApptainerContainer, Field(discriminator="kind")]


class ReportJob(Section):
    """What the job that writes the report asks for: one process, no GPU."""

    partition: Word | None = None
    """Absent: the cluster's. Many sites refuse jobs without GPUs in the partition of GPUs."""
    time_limit: TimeLimit = 1800
    """As the cluster's."""
    cpus: PositiveInt = 2
    """Cores."""
    memory: Memory | None = None
    """Such as 8G; absent: the partition's default."""


class ClusterSpec(Section):
    """One cluster, as a study uses it."""

    partition: Word
    """Where trainings and evaluations run."""
    account: Word | None = None
    """Who pays."""
    qos: Word | None = None
    """Quality of service."""
    constraint: Line | None = None
    """Features that nodes must have, such as `h100&nvlink`."""
    gpus_per_node: NonNegativeInt
    """GPUs that a job takes of each node; 0: nodes without. Not asked for where a study's
    `backend.device` is cpu."""
    gpu_type: Word | None = None
    """Name of the GPUs in SLURM, such as h100."""
    tasks_per_node: PositiveInt | None = None
    """Processes on each node; absent: one for each GPU."""
    cpus_per_task: PositiveInt
    """Cores of each process, and its OMP_NUM_THREADS."""
    memory_per_node: Memory | None = None
    """Such as 1800G, or 0 for all; absent: the partition's default."""
    time_limit: TimeLimit
    """Of one job, such as 2-12:00:00. A training that needs longer saves before it, is requeued and
    goes on."""
    stop_before_end: TimeLimit = 300
    """How long before the limit a training is asked to save and stop. SLURM may be a minute
    early."""
    evaluation_time_limit: TimeLimit | None = None
    """Of an evaluation; absent: as of a training."""
    report: ReportJob = ReportJob()
    """The last job."""
    max_failures: NonNegativeInt = 3
    """Failures after which a training is requeued once more. Preemptions and time limits do not
    count; every new submission counts from 0."""
    max_running: PositiveInt | None = None
    """Trainings of a study that may run at once; absent: as many as SLURM lets."""
    environment: dict[VariableName, Line] = {}
    """Exported in the job, as written: nothing is expanded."""
    modules: list[Word] = []
    """`module load`ed in this order."""
    setup: list[Line] = []
    """Lines of bash before the ranks start, such as `source /shared/venv/bin/activate`."""
    program: list[Line] | None = None
    """Words that start codemix on a node; absent: the Python that submits, or `codemix` in a
    container."""
    container: Container | None = None
    """What ranks run in; absent: the node itself."""
    srun_options: list[Line] = []
    """More options of srun, such as `--mpi=none`."""
    extra_sbatch: list[Line] = []
    """More options of sbatch, such as `--mail-type=FAIL`."""

    @property
    def ranks_per_node(self) -> int:
        """Processes on a full node."""
        return self.tasks_per_node or self.gpus_per_node or 1


def load_cluster(path: Path) -> ClusterSpec:
    """The cluster in a YAML file. Raises ConfigError with all problems found."""
    cluster = build_section(ClusterSpec, load_tree(path), str(path))
    problems = [f"{path}: {problem}" for problem in _problems(cluster)]
    if problems:
        raise ConfigError(problems)
    return cluster


def _problems(cluster: ClusterSpec) -> list[str]:
    """What two fields say against one another, and options that are ours to set."""
    problems = []
    if cluster.gpus_per_node == 0 and cluster.tasks_per_node is None:
        problems.append("tasks_per_node: missing (required where gpus_per_node is 0)")
    if cluster.gpus_per_node == 0 and cluster.gpu_type is not None:
        problems.append(f"gpu_type: {cluster.gpu_type}, but gpus_per_node is 0; remove one of them")
    limits = {"time_limit": cluster.time_limit}
    if cluster.evaluation_time_limit is not None:
        limits["evaluation_time_limit"] = cluster.evaluation_time_limit
    problems += [
        f"stop_before_end: {time_words(cluster.stop_before_end)} leaves nothing of {name}, "
        f"{time_words(limit)}; lower it"
        for name, limit in limits.items()
        if cluster.stop_before_end >= limit
    ]
    problems += _option_problems("extra_sbatch", cluster.extra_sbatch, OWN_OPTIONS)
    problems += _option_problems("srun_options", cluster.srun_options, _OWN_OF_SRUN)
    container = cluster.container
    if container is not None:
        problems += [
            f"container.mounts: {mount!r}: expected /outside:/inside"
            for mount in container.mounts
            if not re.fullmatch(r"/[^:,]*:/[^:,]*(:(ro|rw))?", mount)
        ]
        if container.image.startswith("/") and not Path(container.image).exists():
            problems.append(f"container.image: {container.image} is not there; give its path")
    return problems


def _option_problems(field: str, options: Sequence[str], ours: frozenset[str]) -> list[str]:
    problems = []
    for option in options:
        name = re.split(r"[=\s]", option, maxsplit=1)[0]
        if not name.startswith("--"):
            problems.append(f"{field}: {option!r}: write the long form, --name=value")
        elif name in ours:
            problems.append(f"{field}: {option!r}: codemix sets {name} itself; remove it")
    return problems
