"""A phase whose mixture was changed while it ran: its run goes on under its new identity.

A run's directory is named by its identity, so the directory takes the new name; everything in it
stays. Only what comes after the newest checkpoint may have changed: else it is another run.
"""

from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.data.changed_run import changed_run
from megatron_codemix.files import sync_folder
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree, identity_with


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """The run of a phase under the mixture that it had before."""

    run: RunDirectory
    step: int
    """Of its newest checkpoint."""


def earlier_run(tree: StudyTree, out: Path, node: PhaseNode) -> EarlierRun | None:
    """The run below `out` that goes on as `node`; None where `node` has one of its own, or none
    fits. Of several the one that is furthest."""
    if node.identity is None:
        return None
    own = tree.run_directory(out, node)
    if own.path.exists():
        return None
    others = own.path.parent.glob(f"{node.name}-{'[0-9a-f]' * 8}")
    fitting = [run for run in map(RunDirectory, sorted(others)) if _goes_on(tree, node, run)]
    found = [EarlierRun(run=run, step=max(run.complete_steps(), default=0)) for run in fitting]
    return max(found, key=lambda earlier: earlier.step, default=None)


def take_over(tree: StudyTree, out: Path, node: PhaseNode) -> EarlierRun | None:
    """Gives the earlier run, if there is one, the name of `node`'s; returns what it was. To be
    called while no other process works in it."""
    earlier = earlier_run(tree, out, node)
    if earlier is not None:
        own = tree.run_directory(out, node)
        earlier.run.path.rename(own.path)
        sync_folder(own.path.parent)
    return earlier


def _goes_on(tree: StudyTree, node: PhaseNode, run: RunDirectory) -> bool:
    status = run.read_status()
    if status is None or status.state == "done" or node.mixture is None:
        return False
    if status.identity == node.identity:  # the change was taken back before it was trained on
        return True
    parent = None if node.parent is None else tree.nodes[f"{node.cell}/{node.parent}"]
    changed = changed_run(
        run,
        node.mixture,
        lambda mixture: identity_with(
            node.config, mixture, tree.inventory, parent.identity if parent else None
        ),
        source_names=tree.inventory.content_hashes(node.config),
        batches=batch_sizes(node.config),
    )
    return changed is not None and changed.first_difference is None
