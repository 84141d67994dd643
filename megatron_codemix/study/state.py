"""How far a study has come, read from its run directories; and `study.json`, its own few
records."""

import contextlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from megatron_codemix.config.plan import RunPlan
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.locks import exclusive
from megatron_codemix.runs import RunDirectory, Status
from megatron_codemix.study.evaluation import read_heldout, read_tasks
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree

PhaseState = Literal["no data", "pending", "running", "failed", "trained", "done"]


@dataclass(frozen=True, kw_only=True)
class PhaseProgress:
    """State of one phase; `trained` lacks the evaluation, `running` may also mean killed."""

    node: PhaseNode
    run: RunDirectory | None
    status: Status | None
    state: PhaseState
    step: int
    plan: RunPlan

    @property
    def num_steps(self) -> int:
        return self.plan.num_steps

    @property
    def tokens_done(self) -> int:
        return self.tokens_after(self.step)

    @property
    def tokens(self) -> int:
        return self.plan.train_tokens

    def tokens_after(self, step: int) -> int:
        """Tokens of the phase's first steps."""
        return self.plan.batches.tokens(step)


@dataclass(frozen=True, kw_only=True)
class PhaseWall:
    """Wall seconds of child processes of one phase, over all attempts."""

    train: float = 0.0
    evaluate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """`study.json` in the study's folder."""

    name: str
    wall_seconds: float = 0.0
    """Time that `study run` has spent, over all its starts."""
    starts: int = 0
    runs: dict[str, str] = field(default_factory=dict)
    """`cell/phase` -> run directory below the study's folder, so that a report needs no data
    files."""
    phases: dict[str, PhaseWall] = field(default_factory=dict)

    def with_wall(self, key: str, *, train: float = 0.0, evaluate: float = 0.0) -> "StudyRecord":
        """The record after some more seconds of phase `key`."""
        old = self.phases.get(key, PhaseWall())
        wall = PhaseWall(train=old.train + train, evaluate=old.evaluate + evaluate)
        return replace(self, phases={**self.phases, key: wall})


def record_path(out: Path) -> Path:
    """Place of `study.json`."""
    return out / "study.json"


def read_record(out: Path, name: str) -> StudyRecord:
    """The record in `out`, new where there is none. Raises RunError where it is another study's or
    damaged."""
    path = record_path(out)
    if not path.exists():
        return StudyRecord(name=name)
    try:
        raw: dict[str, Any] = read_json(path)  # Any: JSON values
        phases = {key: PhaseWall(**wall) for key, wall in raw.pop("phases", {}).items()}
        record = StudyRecord(**raw, phases=phases)
    except (ValueError, TypeError) as error:
        raise RunError(f"{path}: not a readable study record ({error}); move it away") from error
    if record.name != name:
        raise RunError(f"{out}: holds the study {record.name!r}, not {name!r}; use another --out")
    return record


def write_record(out: Path, record: StudyRecord) -> None:
    """Writes `study.json`, atomically."""
    write_json(record_path(out), asdict(record))


def add_wall(out: Path, name: str, key: str, *, train: float = 0.0, evaluate: float = 0.0) -> None:
    """Adds seconds of phase `key` to the record, which several jobs may do at once."""
    with record_lock(out):
        record = read_record(out, name)
        write_record(out, record.with_wall(key, train=train, evaluate=evaluate))


def record_lock(out: Path) -> contextlib.AbstractContextManager[None]:
    """Held by whoever changes a record that others may change meanwhile."""
    return exclusive(out / ".record.lock", "a change of its record", wait_seconds=60.0)


def study_progress(tree: StudyTree, out: Path) -> list[PhaseProgress]:
    """State of every phase, parents before children."""
    return [phase_progress(tree, out, node) for node in tree.nodes.values()]


def phase_progress(tree: StudyTree, out: Path, node: PhaseNode) -> PhaseProgress:
    """State of `node` as its run directory below `out` tells it."""
    plan = tree.plan(node)
    run = None if node.identity is None else tree.run_directory(out, node)
    status = None if run is None else run.read_status()
    return PhaseProgress(
        node=node,
        run=run,
        status=status,
        state=_state(tree, run, status),
        step=0 if status is None else status.step,
        plan=plan,
    )


def _state(tree: StudyTree, run: RunDirectory | None, status: Status | None) -> PhaseState:
    if run is None:
        return "no data"
    if status is None:
        return "pending"
    if status.state != "done":
        return status.state
    asked = tree.spec.evaluation
    is_evaluated = (
        read_heldout(asked, run, status) is not None and read_tasks(asked, run, status) is not None
    )
    return "done" if is_evaluated else "trained"
