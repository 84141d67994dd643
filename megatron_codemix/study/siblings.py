"""Whether studies in folders beside a study's own have trained what it is about to train."""

from pathlib import Path
from typing import Any, NamedTuple

from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.record import RECORD_NAME
from megatron_codemix.study.tree import STORED_DIGITS, StudyTree

_MAX_FOLDERS = 200
"""That are looked into: it must cost nothing."""


class _Found(NamedTuple):
    """A run that a study beside it has finished."""

    path: Path
    store: str | None
    """Where that study keeps its runs, if that is a store."""


def trained_beside(tree: StudyTree, out: Path) -> list[str]:
    """A line that says so, of a study without a store; [] where there is nothing to say."""
    if tree.store is not None:
        return []
    wanted = {
        node.identity: node.label
        for node in tree.nodes.values()
        if node.identity is not None and not tree.run_directory(out, node).status.exists()
    }
    found: dict[str, _Found] = {}
    folders = sorted(out.absolute().parent.glob(f"*/{RECORD_NAME}")) if wanted else []
    for record in folders[:_MAX_FOLDERS]:
        if record.parent != out.absolute():
            found |= _done_in(record, wanted)
    if not found:
        return []
    label, first = next(iter(found.items()))
    others = f", and {len(found) - 1} more phases in such folders" if len(found) > 1 else ""
    store = next((run.store for run in found.values() if run.store is not None), None)
    advice = (
        "studies that are given one --store FOLDER train what they have in common once"
        if store is None
        else f"with --store {store} a study takes what is there from it"
    )
    return [f"{label} has been trained in {first.path} already{others}; {advice}"]


def _done_in(record: Path, wanted: dict[str, str]) -> dict[str, _Found]:
    """Label -> run, of what a study with this record has finished."""
    store, runs = _read(record)
    found = {}
    for run in runs:
        if not any(_may_be(run, identity) for identity in wanted):
            continue
        try:
            status = run.read_status()
        except RunError:  # damaged; not this study's affair
            continue
        if status is not None and status.state == "done" and status.identity in wanted:
            found[wanted[status.identity]] = _Found(run.path, store)
    return found


def _may_be(run: RunDirectory, identity: str) -> bool:
    """By its name: to look into each would cost time."""
    name = run.path.name
    return name.endswith(f"-{identity[:8]}") or name == identity[:STORED_DIGITS]


def _read(record: Path) -> tuple[str | None, list[RunDirectory]]:
    """Store and runs of a study."""
    try:
        raw: dict[str, Any] = read_json(record)  # Any: JSON values
        runs = [RunDirectory(record.parent / place) for place in raw["runs"].values()]
        return raw.get("store"), runs
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not a study's
        return None, []
