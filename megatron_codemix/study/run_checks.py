"""What keeps a study from starting on its data and the runs that are there, before anything is
started."""

from pathlib import Path

from megatron_codemix.errors import RunError
from megatron_codemix.ledgers import ledger_damage, read_ledger
from megatron_codemix.lineage import start_step
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import other_run_problems
from megatron_codemix.study.data_checks import data_of_the_rest
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree


def start_problems(tree: StudyTree, out: Path) -> list[str]:
    """Data that is missing or damaged, then what `run_problems` finds."""
    return [*data_of_the_rest(tree, out).problems, *run_problems(tree, out)]


def run_problems(tree: StudyTree, out: Path) -> list[str]:
    """Directories that hold other runs than those that they are named for, ledgers that cannot be
    read or go on behind the run's end and, in a store, runs without the checkpoint that a phase
    starts from. Phases whose data is not there are passed over."""
    problems = []
    for node in tree.nodes.values():
        if node.identity is not None:
            problems += other_run_problems(tree, out, node)
            problems += _ledger_problems(tree.run_directory(out, node))
            problems += [] if tree.store is None else _branch_problems(tree, out, node)
    return list(dict.fromkeys(problems))


def _ledger_problems(run: RunDirectory) -> list[str]:
    """Now, and not by a phase that starts from the run, or by the report behind all trainings."""
    try:
        lines, status = read_ledger(run), run.read_status()
        if status is not None:
            ledger_damage(run, status, lines)  # what was cut is put back, or told of, later
    except RunError as error:
        return error.problems
    return []


def _branch_problems(tree: StudyTree, out: Path, node: PhaseNode) -> list[str]:
    """What is kept for good is no part of an identity: another study may have kept less."""
    origin = node.config.init_from
    if node.parent is None or origin is None or origin.at_tokens is None:
        return []
    parent = tree.nodes[f"{node.cell}/{node.parent}"]
    run, step = tree.run_directory(out, parent), start_step(origin, parent.config)
    try:
        status = run.read_status()
    except RunError:  # told by other_run_problems
        return []
    is_kept = status is None or status.step < step or step in run.complete_steps()
    if is_kept:
        return []
    return [
        f"{node.label}: starts from step {step} of {parent.label}, and its run in the store, "
        f"{run.path}, was trained without keeping that checkpoint; move the directory away to "
        "train it again, or use another store"
    ]
