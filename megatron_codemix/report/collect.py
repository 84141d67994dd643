"""What a study's run directories hold, as records. Nothing is computed here, and nothing else is
read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, field_problem
from megatron_codemix.ledgers import ledger_advice, ledger_damage, read_ledger
from megatron_codemix.obs.metrics import read_metrics
from megatron_codemix.results import read_heldout_summary, read_object
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.chains import taken_steps
from megatron_codemix.study.evaluation import documents_path, read_heldout, read_tasks
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.other_runs import changed_since, other_runs
from megatron_codemix.study.record import PhaseWall, StudyRecord, read_record
from megatron_codemix.study.run_checks import config_problems, record_problems
from megatron_codemix.study.store import Member, Trainer, others_of, own_part, read_trainers
from megatron_codemix.study.tree import StudyTree


@dataclass(frozen=True, kw_only=True)
class PhaseRecord:
    """One phase as it ran, or as far as it ran."""

    node: PhaseNode
    run: RunDirectory
    status: Status
    config: RunConfig
    """As it ran last: its layout may differ from the study's present one."""
    plan: Mapping[str, Json]
    """`plan.json` of the last attempt; {} before the first."""
    provenance: Mapping[str, Json]
    """`provenance.json` of the last attempt that got so far as to write it; {} before that."""
    ledger: list[dict[str, Json]]
    """[] where it is damaged: its last line would pass for the end."""
    ledger_damage: str | None
    """That the ledger of a finished run was cut or lost, and what to do about it."""
    heldout: Mapping[str, Json] | None
    """Summary of the held-out evaluation that the study asks for; None before it."""
    documents: Path
    """Where the same is by document, if it was kept."""
    other_heldout: Mapping[str, Json] | None
    """Summary of another evaluation that stands in its place."""
    tasks: Mapping[str, Mapping[str, Json]] | None
    """Summaries of the tasks that the study asks for, by name; None before they are all there."""
    wall: PhaseWall
    trained_with: str | None = None
    """`cell/phase` of the phase before it that is the same training, in this study."""
    trainers: Sequence[Trainer] = ()
    """Studies that have trained it, where its run lies in a store."""
    other_trainers: Sequence[Trainer] = ()
    """Those of them that are other studies."""
    own_part: float = 1.0
    """Which part of its training was this study's and is not counted elsewhere: what its seconds
    are multiplied with in sums over phases."""
    last_step: int | None = None
    """Of the part that is meant; None: all of it."""

    @property
    def is_done(self) -> bool:
        """Trained and evaluated."""
        is_evaluated = self.heldout is not None and self.tasks is not None
        return self.status.state == "done" and is_evaluated

    @property
    def tokens(self) -> int:
        """Trained on. By the ledger; of a damaged one by the steps that were made."""
        if self.ledger_damage is not None:
            step = self.status.step if self.last_step is None else self.last_step
            return batch_sizes(self.config).tokens(step)
        return int(self.ledger[-1]["tokens"]) if self.ledger else 0

    def until(self, step: int) -> "PhaseRecord":
        """The record as it was after `step` steps."""
        ledger = [line for line in self.ledger if line["step"] <= step]
        return replace(self, ledger=ledger, last_step=step)

    def read_metrics(self) -> list[dict[str, Json]]:
        """Lines of its metrics: read anew each time, as the lines of all phases of a large study
        are tens of gigabytes in memory."""
        lines = read_metrics(self.run.metrics)
        return [line for line in lines if self.last_step is None or line["step"] <= self.last_step]


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """A study with everything that its run directories hold."""

    tree: StudyTree
    out: Path
    """The study's folder."""
    phases: dict[str, PhaseRecord]
    """`cell/phase` -> record, of the phases that were started."""
    study: StudyRecord
    other_runs: Sequence[str]
    """A line for each of the other settings that phases have runs of here (`other_runs`), or with
    which, and not as the study is given now, those that are reported were run."""

    def chain(self, cell: str, variant: str) -> list[PhaseRecord]:
        """Started phases of a variant, from the root on, each up to where the next one starts."""
        nodes = self.tree.variant(cell, variant)
        return [
            self.phases[node.key].until(step)
            for node, step in zip(nodes, taken_steps(nodes), strict=True)
            if node.key in self.phases
        ]

    def is_complete(self, cell: str, variant: str) -> bool:
        """Whether all phases of a variant are trained and its last one evaluated."""
        chain = self.chain(cell, variant)
        return len(chain) == len(self.tree.variant(cell, variant)) and chain[-1].is_done


def collect(tree: StudyTree, out: Path) -> StudyRecords:
    """Records of all phases that were started, below `out` or in its store. Raises RunError if
    there is none, a directory holds another run than its name says, or a file is damaged."""
    study = read_record(out, tree.spec.name)
    if problems := [*record_problems(tree, out), *config_problems(tree, out)]:
        raise RunError(*problems)
    runs = {key: _run_of(tree, out, study, node) for key, node in tree.nodes.items()}
    if lost := [problem for run in runs.values() if run and (problem := run.lost_status())]:
        raise RunError(*dict.fromkeys(lost))
    member = Member.of(study.name, out)
    phases: dict[str, PhaseRecord] = {}
    for key, run in runs.items():
        status = None if run is None else run.read_status()
        if run is not None and status is not None:
            wall = study.phases.get(key, PhaseWall())
            phase = _read_phase(tree, tree.nodes[key], run, status, wall)
            phases[key] = _with_trainers(phase, phases, member)
    others = other_runs(tree, out)
    if not phases:
        if others:
            raise RunError(*(f"{out}: nothing to report of this study: {line}" for line in others))
        raise RunError(
            f"{out}: no phase of the study {tree.spec.name!r} was started here; start it with "
            "'codemix study run', or "
            "name its folder with --out"
        )
    ran = {key: one.config for key, one in phases.items() if one.node.identity is None}
    others += changed_since(tree, out, ran)
    return StudyRecords(tree=tree, out=out, phases=phases, study=study, other_runs=others)


def _run_of(tree: StudyTree, out: Path, study: StudyRecord, node: PhaseNode) -> RunDirectory | None:
    """By identity where the data is there, else where `study.json` says that the phase was."""
    if node.identity is None:
        return study.run_directory(out, node.key, tree.store)
    return tree.run_directory(out, node)


def _with_trainers(
    phase: PhaseRecord, before: Mapping[str, PhaseRecord], member: Member
) -> PhaseRecord:
    """With who has trained it; `before` are the phases that come before it."""
    for key, other in before.items():
        if other.run.path == phase.run.path and other.trained_with is None:
            return replace(phase, trained_with=key, trainers=other.trainers, own_part=0.0)
    trainers = read_trainers(phase.run)
    return replace(
        phase,
        trainers=trainers,
        other_trainers=others_of(trainers, member),
        own_part=own_part(trainers, member),
    )


def _read_phase(
    tree: StudyTree, node: PhaseNode, run: RunDirectory, status: Status, wall: PhaseWall
) -> PhaseRecord:
    if status.state == "done":
        run.require_config()
    asked = tree.spec.evaluation
    heldout = read_heldout(asked, run, status)
    ledger = read_ledger(run)
    damage = ledger_damage(run, status, ledger)
    return PhaseRecord(
        node=node,
        run=run,
        status=status,
        config=load_run_config(run.config) if run.config.exists() else node.config,
        plan=read_object(plan_path(run, status), _plan_problem) or {},
        provenance=_read_provenance(run, status.attempts),
        ledger=ledger if damage is None else [],
        ledger_damage=None if damage is None else f"{damage}; {ledger_advice(run, status, ledger)}",
        heldout=heldout,
        documents=documents_path(asked, run),
        other_heldout=read_heldout_summary(run) if heldout is None else None,
        tasks=read_tasks(asked, run, status),
        wall=wall,
    )


def _read_provenance(run: RunDirectory, attempts: int) -> Mapping[str, Json]:
    """Of the newest attempt that has one: an attempt may die before it writes it."""
    for number in range(attempts, 0, -1):
        found = read_object(run.attempt(number) / "provenance.json", _provenance_problem)
        if found is not None:
            return found
    return {}


def plan_path(run: RunDirectory, status: Status) -> Path:
    """Place of what the last attempt has worked out, its layout above all."""
    return run.attempt(status.attempts) / "plan.json"


def _plan_problem(record: Mapping[str, Json]) -> str | None:
    wanted = ("train_tokens", "data_parallel", "world_size")
    return field_problem(record, dict.fromkeys(wanted, int))


def _provenance_problem(record: Mapping[str, Json]) -> str | None:
    optional = {"versions": dict, **dict.fromkeys(("commit", "backend", "device"), str | None)}
    return field_problem(record, {name: optional[name] for name in optional.keys() & record.keys()})
