"""The jobs that a study still needs, and which waits for which.

Edges are SLURM's dependencies and nothing else. A job array would show fewer jobs, but its limit
(`--array=...%N`) is one for each array, which is each phase, not for the study, and its edges from
element to element (`aftercorr`) no longer hold once a part of the elements is submitted again.
`singleton` limits a whole study, by one name for many jobs, which hides what is what. So trainings
are dealt out to `max_running` lanes, and each waits for the end of the one before it in its lane.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.study.evaluation import HeldoutSpec
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.tree import StudyTree

JobKind = Literal["train", "evaluate", "report"]


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """One job of a study."""

    kind: JobKind
    name: str
    """In SLURM; unique in the study."""
    phase: PhaseProgress | None
    """None for the report."""
    needs: tuple[str, ...] = ()
    """Names of jobs that must have succeeded (`afterok`)."""
    follows: tuple[str, ...] = ()
    """Names of jobs that must have ended, however (`afterany`)."""

    @property
    def node(self) -> PhaseNode:
        """The phase, of a training or an evaluation."""
        assert self.phase is not None, self.name
        return self.phase.node


def job_name(study: str, node: PhaseNode | None, kind: JobKind) -> str:
    """`initialization:470m.seed1/balanced:train`."""
    return f"{study}:{kind}" if node is None else f"{study}:{node.label}:{kind}"


def job_graph(
    tree: StudyTree,
    phases: Sequence[PhaseProgress],
    *,
    max_running: int | None = None,
    validated_otherwise: Collection[str] = (),
) -> list[StudyJob]:
    """Jobs for all that is not done, those that wait behind those that they wait for; [] where all
    is done. Phases that are one training have one job for it, by the name of the first, and one for
    each evaluation that they ask for. The report comes last, and after failures too: it says what
    was not run.

    validated_otherwise: `cell/phase` of those that a job of another study trains, whose validations
    are not what is asked for here.
    """
    has_evaluations = isinstance(tree.spec.evaluation.heldout, HeldoutSpec)
    study = tree.spec.name
    jobs: dict[str, StudyJob] = {}
    evaluated: set[tuple[Path, str]] = set()
    for phase in phases:
        node = phase.node
        owner = tree.owner(node)
        training = job_name(study, owner, "train")
        if owner.key == node.key and phase.state not in ("trained", "done"):
            parent = None if node.parent is None else tree.nodes[f"{node.cell}/{node.parent}"]
            wanted = None if parent is None else job_name(study, tree.owner(parent), "train")
            needs = (wanted,) if wanted in jobs else ()
            jobs[training] = StudyJob(kind="train", name=training, phase=phase, needs=needs)
        # What another study has trained, or is about to, may have validated something else.
        is_validated = phase.state != "trained" and node.key not in validated_otherwise
        is_missing = phase.state != "done" and (has_evaluations or not is_validated)
        if is_missing and phase.asked not in evaluated:
            evaluated |= {phase.asked} if phase.asked is not None else set()
            name = job_name(study, node, "evaluate")
            needs = (training,) if training in jobs else ()
            jobs[name] = StudyJob(kind="evaluate", name=name, phase=phase, needs=needs)
    if max_running is not None:
        jobs |= {job.name: job for job in _in_lanes(jobs, max_running)}
    if jobs:
        jobs |= {job.name: job for job in [report_job(tree.spec.name, list(jobs.values()))]}
    return list(jobs.values())


def report_job(study: str, jobs: Sequence[StudyJob]) -> StudyJob:
    """The job that waits for the end of all others: of those that no other one waits for."""
    waited_for = {name for job in jobs for name in (*job.needs, *job.follows)}
    last = tuple(job.name for job in jobs if job.name not in waited_for)
    return StudyJob(kind="report", name=job_name(study, None, "report"), phase=None, follows=last)


def _in_lanes(jobs: Mapping[str, StudyJob], num_lanes: int) -> list[StudyJob]:
    """The trainings, each behind the one before it in its lane. A training goes where it could
    begin first, by the work of all before it; of equal lanes to its parent's, where it waits for
    nobody else."""
    ends: dict[str, float] = {}
    lanes: list[list[str]] = [[] for _ in range(num_lanes)]
    limited = []
    for job in jobs.values():
        if job.kind != "train":
            continue
        ready = max((ends[name] for name in job.needs), default=0.0)
        lane = min(lanes, key=lambda lane: _preference(lane, job, ready, ends))
        before = lane[-1:] if lane and lane[-1] not in job.needs else []
        begin = max([ready, *(ends[name] for name in lane[-1:])])
        ends[job.name] = begin + _work(job)
        lane.append(job.name)
        limited.append(replace(job, follows=tuple(before)))
    return limited


def _preference(
    lane: Sequence[str], job: StudyJob, ready: float, ends: Mapping[str, float]
) -> tuple[float, bool]:
    """Smallest for the best lane."""
    free = ends[lane[-1]] if lane else 0.0
    return max(free, ready), not lane or lane[-1] not in job.needs


def _work(job: StudyJob) -> float:
    """Of a training, in parameters times tokens: what its time is about proportional to."""
    assert job.phase is not None, job.name
    return float(count_parameters(job.node.config.model)) * job.phase.tokens
