"""Trained phases whose last checkpoint is damaged or gone while something is still to be made of
it: they are trained on from the checkpoint before, to the same end; where there is none, that is
said before anything starts. The ledgers of the others are put back."""

from dataclasses import replace
from pathlib import Path

from megatron_codemix.checkpoints import damage_at_end, read_marker, refusing_damage
from megatron_codemix.config.plan import num_steps
from megatron_codemix.errors import CodemixError, RunError
from megatron_codemix.ledgers import mend_ledger
from megatron_codemix.lineage import start_step
from megatron_codemix.run_checkpoints import final_checkpoint
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import (
    PhaseProgress,
    phase_progress,
    shown_progress,
    study_progress,
)
from megatron_codemix.study.tree import StudyTree


def damaged_end(tree: StudyTree, out: Path, phase: PhaseProgress) -> str | None:
    """What is wrong with the last checkpoint of a trained phase, as far as the sizes of its files
    tell. None where it is whole or nothing needs it, and where there is none before it: to train
    all of a phase again is for its user to decide, whom `lost_end` tells."""
    run, status = phase.run, phase.status
    if run is None or status is None or status.state != "done" or not _has_earlier(run, status):
        return None
    damage = damage_at_end(run, status.num_steps)
    return damage if damage is not None and _is_needed(tree, out, phase.node) else None


def lost_end(tree: StudyTree, out: Path, phase: PhaseProgress) -> str | None:
    """As `damaged_end`, where there is no checkpoint before it: with what to do."""
    run, status = phase.run, phase.status
    if run is None or status is None or status.state != "done" or _has_earlier(run, status):
        return None
    try:
        with refusing_damage(run.checkpoint(status.num_steps)):
            read_marker(final_checkpoint(run))
    except RunError as error:
        return str(error) if _is_needed(tree, out, phase.node) else None
    return None


def _has_earlier(run: RunDirectory, status: Status) -> bool:
    return any(step < status.num_steps for step in run.complete_steps())


def to_be_done(tree: StudyTree, out: Path, phase: PhaseProgress) -> PhaseProgress:
    """`phase`; as one that has failed where its end is to be made again."""
    return phase if damaged_end(tree, out, phase) is None else replace(phase, state="failed")


def mend_ledger_of(tree: StudyTree, phase: PhaseProgress) -> str | None:
    """As `ledgers.mend_ledger`, with the phase's name. None of all but the first phase of one
    training, and where the end is to be made again, which puts the ledger back too.

    phase: as `to_be_done` has it.
    """
    if phase.run is None or phase.state not in ("trained", "done"):
        return None
    told = None if tree.trained_with(phase.node) is not None else mend_ledger(phase.run)
    return None if told is None else f"{phase.node.label}: {told}"


def phases_to_be_done(tree: StudyTree, out: Path) -> list[PhaseProgress]:
    """`to_be_done` of every phase, parents before children."""
    return [to_be_done(tree, out, phase) for phase in study_progress(tree, out)]


def phases_to_show(tree: StudyTree, out: Path) -> list[PhaseProgress]:
    """The same, for who starts nothing: also where results of a phase cannot be read, which has a
    `problem` then. Raises RunError where a status is damaged."""
    return [_to_show(tree, out, node) for node in tree.nodes.values()]


def _to_show(tree: StudyTree, out: Path, node: PhaseNode) -> PhaseProgress:
    phase = shown_progress(tree, out, node)
    try:
        return to_be_done(tree, out, phase)
    except CodemixError:  # a problem of another phase
        return phase


def is_all_done(tree: StudyTree, out: Path) -> bool:
    """Whether nothing is to be trained or evaluated any more. Not where a run is damaged, which
    others tell."""
    try:
        return all(phase.state == "done" for phase in phases_to_be_done(tree, out))
    except CodemixError:
        return False


def is_to_start(tree: StudyTree, out: Path, phase: PhaseProgress) -> bool:
    """Whether a phase is still to begin at its parent's checkpoint: it is not trained, and has no
    complete one of its own, from which it would go on."""
    if phase.state in ("trained", "done"):
        return False
    if phase.run is not None and phase.run.complete_steps():
        return False
    earlier = earlier_run(tree, out, tree.owner(phase.node))
    return earlier is None or not earlier.step


def _is_needed(tree: StudyTree, out: Path, node: PhaseNode) -> bool:
    """Whether a phase that is the training of `node` is not evaluated, or one is to start from its
    end."""
    owner = tree.owner(node)
    same = [one for one in tree.nodes.values() if tree.owner(one).key == owner.key]
    if any(phase_progress(tree, out, one).state == "trained" for one in same):
        return True
    return any(
        is_to_start(tree, out, phase_progress(tree, out, child))
        for one in same
        for child in tree.nodes.values()
        if (child.cell, child.parent) == (one.cell, one.name) and _starts_at_end(child, one)
    )


def _starts_at_end(child: PhaseNode, parent: PhaseNode) -> bool:
    origin = child.config.init_from
    assert origin is not None, child.key
    return start_step(origin, parent.config) == num_steps(parent.config)
