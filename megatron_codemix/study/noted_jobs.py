"""Which SLURM job trains or evaluates a run of a store, or will: noted there for the studies that
share it, of whatever user."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from megatron_codemix.errors import RunError
from megatron_codemix.files import (
    Json,
    field_problem,
    hash_json,
    key_problem,
    read_json_object,
    write_json,
)
from megatron_codemix.launch.slurm.client import QueuedJob, Scheduler
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.evaluation import HeldoutSpec, validated_part
from megatron_codemix.study.job_graph import job_name
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.store import Work, work_name
from megatron_codemix.study.tree import StudyTree


@dataclass(frozen=True, kw_only=True)
class NotedJob:
    """A job that trains or evaluates a run of a store, or will, for the studies that share it."""

    id: str
    name: str
    validates: str | None = None
    """Hash of what a training validates (`validation_hash`); None: not known."""


_FIELDS = {"id": str, "name": str, "validates": str | None}


def note_job(store: Path, run: RunDirectory, work: Work, job: NotedJob) -> None:
    """In the place of whatever was noted before."""
    write_json(_note_path(store, run, work), asdict(job))


def noted_job(store: Path, run: RunDirectory, work: Work) -> NotedJob | None:
    """None where there is none. Raises RunError on a damaged file."""
    path = _note_path(store, run, work)
    if not path.exists():
        return None
    try:
        # Earlier versions do not note what is validated.
        raw: dict[str, Json] = {"validates": None} | read_json_object(path)
        problem = field_problem(raw, _FIELDS) or key_problem(raw, NotedJob)
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise RunError(f"{path}: not readable ({problem}); remove it")
    return NotedJob(**raw)


def validation_hash(node: PhaseNode) -> str:
    """What the validations of a training of this phase measure."""
    return hash_json(validated_part(node.config))


def jobs_for(
    tree: StudyTree, phases: Sequence[PhaseProgress], scheduler: Scheduler
) -> list[QueuedJob]:
    """What SLURM has of the jobs that are noted in the store for what is not done."""
    if tree.store is None:
        return []
    runs = [phase.run for phase in phases if phase.run is not None and phase.state != "done"]
    works: tuple[Work, ...] = ("train", "evaluate")
    noted = [noted_job(tree.store, run, work) for run in runs for work in works]
    return scheduler.jobs_numbered(sorted({job.id for job in noted if job is not None}))


def job_of_another_study(
    tree: StudyTree, run: RunDirectory, work: Work, others: Sequence[QueuedJob]
) -> QueuedJob | None:
    """One of `others` that does this, and is not about to be cancelled by SLURM."""
    noted = None if tree.store is None else noted_job(tree.store, run, work)
    return None if noted is None else _alive(noted, others)


def _alive(noted: NotedJob, others: Sequence[QueuedJob]) -> QueuedJob | None:
    found = [other for other in others if (other.id, other.name) == (noted.id, noted.name)]
    return next((other for other in found if not other.waits_in_vain), None)


def validated_otherwise(
    tree: StudyTree,
    phases: Sequence[PhaseProgress],
    own: Collection[str],
    others: Sequence[QueuedJob],
) -> set[str]:
    """`cell/phase` of those that a job of another study trains, which will not validate what is
    asked for here. own: names of the study's jobs in SLURM."""
    if tree.store is None or isinstance(tree.spec.evaluation.heldout, HeldoutSpec):
        return set()
    found = set()
    for phase in phases:
        if phase.run is None or job_name(tree.spec.name, tree.owner(phase.node), "train") in own:
            continue
        noted = noted_job(tree.store, phase.run, "train")
        if noted is None or _alive(noted, others) is None:
            continue
        if noted.validates != validation_hash(phase.node):
            found.add(phase.node.key)
    return found


def _note_path(store: Path, run: RunDirectory, work: Work) -> Path:
    return store / ".jobs" / f"{work_name(run, work)}.json"
