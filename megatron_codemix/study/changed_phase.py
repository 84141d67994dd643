"""A phase whose mixture was changed while it ran: its run goes on under its new identity.

A run's directory is named by its identity, so the directory takes the new name; everything in it
stays. Only what comes after the newest checkpoint may have changed: else it is another run. In a
store the run may be another study's too, which goes on with it as it is: there the new one begins
as a copy.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.data.changed_run import changed_run
from megatron_codemix.errors import RunError
from megatron_codemix.files import atomic_folder, sync_folder
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.record import placed, read_record
from megatron_codemix.study.tree import StudyTree, identity_with

_COPY_ATTEMPTS = 5
"""A checkpoint may be replaced by the next one while it is copied."""
_COPIED = ("config.yaml", "status.json", "*.jsonl", "chat_template.jinja")
"""With the attempts and the newest checkpoint all that a run goes on from; logs, locks, jobs and
evaluations stay behind."""


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """The run of a phase under the mixture that it had before."""

    run: RunDirectory
    step: int
    """Of its newest checkpoint."""


def earlier_run(tree: StudyTree, out: Path, node: PhaseNode) -> EarlierRun | None:
    """The run that goes on as `node`; None where `node` has one of its own, or none fits. Of
    several the one that is furthest."""
    if node.identity is None or tree.trained_with(node) is not None:
        return None
    own = tree.run_directory(out, node)
    if own.path.exists():
        return None
    others = _noted(tree, out, node) if tree.store else _beside(own.path, node)
    fitting = [run for run in others if _goes_on(tree, node, run)]
    found = [EarlierRun(run=run, step=max(run.complete_steps(), default=0)) for run in fitting]
    return max(found, key=lambda earlier: earlier.step, default=None)


def _beside(own: Path, node: PhaseNode) -> list[RunDirectory]:
    """Of the same phase, by name."""
    return [RunDirectory(path) for path in sorted(own.parent.glob(f"{node.name}-{'[0-9a-f]' * 8}"))]


def _noted(tree: StudyTree, out: Path, node: PhaseNode) -> list[RunDirectory]:
    """What was this study's run of the phase: names in a store do not tell."""
    record = read_record(out, tree.spec.name)
    places = (record.runs.get(node.key), record.earlier.get(node.key))
    return [
        RunDirectory(placed(place, out, tree.store))
        for place in dict.fromkeys(places)
        if place is not None
    ]


def take_over(tree: StudyTree, out: Path, node: PhaseNode) -> EarlierRun | None:
    """Makes the earlier run, if there is one, `node`'s; returns what it was. To be called while no
    other process works in `node`'s, and without a store in the earlier one."""
    earlier = earlier_run(tree, out, node)
    if earlier is None:
        return None
    own = tree.run_directory(out, node)
    if tree.store is not None:
        return _copied(tree, node, earlier, own)
    earlier.run.path.rename(own.path)
    sync_folder(own.path.parent)
    return earlier


def _copied(
    tree: StudyTree, node: PhaseNode, earlier: EarlierRun, own: RunDirectory
) -> EarlierRun | None:
    """Where the earlier run may be trained at this moment, by another study. None where it has no
    checkpoint, or has gone beyond the change meanwhile: then `node` begins anew."""
    for _ in range(_COPY_ATTEMPTS):
        step = max(earlier.run.complete_steps(), default=0)
        if not step:
            return None
        try:
            with atomic_folder(own.path) as folder:
                copy = RunDirectory(folder)
                _copy_run(earlier.run, copy, step)
                if not _goes_on(tree, node, copy):
                    raise _GoneBeyondError
        except _GoneBeyondError:
            return None
        except (FileNotFoundError, shutil.Error):
            if step in earlier.run.complete_steps():  # it was something else
                raise
            continue
        return EarlierRun(run=earlier.run, step=step)
    return None


class _GoneBeyondError(Exception):
    """The copy is not made."""


def _copy_run(run: RunDirectory, copy: RunDirectory, step: int) -> None:
    """Files of a checkpoint are written once, so that a link does. It comes first: the lines of
    each step up to it are there by then, and later ones are cut off when the copy goes on."""
    shutil.copytree(run.checkpoint(step), copy.checkpoint(step), copy_function=os.link)
    if step not in run.complete_steps():  # its files may be going, one by one
        raise FileNotFoundError(run.checkpoint(step))
    for pattern in _COPIED:
        for path in run.path.glob(pattern):
            shutil.copy2(path, copy.path / path.name)
    shutil.copytree(run.path / "attempts", copy.path / "attempts")


def other_run_problems(tree: StudyTree, out: Path, node: PhaseNode) -> list[str]:
    """What is wrong where the run directory of `node`, whose data is there, holds another run; []
    also where that is the one which goes on as `node`."""
    assert node.identity is not None, node.key
    run = tree.run_directory(out, node)
    try:
        run.claim(node.identity)
    except RunError as error:
        with contextlib.suppress(RunError):
            if _goes_on(tree, node, run):
                return []
        return error.problems
    return []


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
