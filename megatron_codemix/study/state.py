"""How far a study has come, read from its run directories."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from megatron_codemix.config.plan import RunPlan
from megatron_codemix.errors import CodemixError
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
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
    is_stored: bool = False
    """Whether the run lies in a store, and is not the study's alone."""
    problem: str | None = None
    """Why its results cannot be read; of `shown_progress` alone."""

    @property
    def asked(self) -> tuple[Path, str] | None:
        """What tells its evaluation from others; None while its run is unknown."""
        return None if self.run is None else (self.run.path, self.run.results)

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


def study_progress(tree: StudyTree, out: Path) -> list[PhaseProgress]:
    """State of every phase, parents before children."""
    return [phase_progress(tree, out, node) for node in tree.nodes.values()]


def phase_progress(tree: StudyTree, out: Path, node: PhaseNode) -> PhaseProgress:
    """State of `node` as its run directory below `out` tells it. Raises CodemixError where a file
    that tells is damaged."""
    return _with_results(tree, _trained_progress(tree, out, node))


def shown_progress(tree: StudyTree, out: Path, node: PhaseNode) -> PhaseProgress:
    """As `phase_progress`; `trained`, with the `problem`, where results cannot be read. Raises
    RunError where the status is damaged."""
    phase = _trained_progress(tree, out, node)
    try:
        return _with_results(tree, phase)
    except CodemixError as error:
        return replace(phase, problem=error.problems[0])


def _trained_progress(tree: StudyTree, out: Path, node: PhaseNode) -> PhaseProgress:
    """By the status alone: `trained` also where it is evaluated."""
    plan = tree.plan(node)
    run = None if node.identity is None else tree.run_directory(out, node)
    status = None if run is None else run.read_status()
    return PhaseProgress(
        node=node,
        run=run,
        status=status,
        state=_state(run, status),
        step=0 if status is None else status.step,
        plan=plan,
        is_stored=tree.store is not None,
    )


def _state(run: RunDirectory | None, status: Status | None) -> PhaseState:
    if run is None:
        return "no data"
    if status is None:
        return "pending"
    return "trained" if status.state == "done" else status.state


def _with_results(tree: StudyTree, phase: PhaseProgress) -> PhaseProgress:
    """`phase`; as done where it is trained and evaluated."""
    run, status, asked = phase.run, phase.status, tree.spec.evaluation
    if run is None or status is None or phase.state != "trained":
        return phase
    heldout = read_heldout(asked, run, status)
    is_evaluated = heldout is not None and read_tasks(asked, run, status) is not None
    return replace(phase, state="done") if is_evaluated else phase
