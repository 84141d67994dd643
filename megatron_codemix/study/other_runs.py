"""Runs that a study has had at its place under other settings: another --scale or --set, or before
its file or its data was changed."""

from pathlib import Path

from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import StudyRecord, placed, read_record
from megatron_codemix.study.tree import StudyTree


def other_runs(tree: StudyTree, out: Path) -> list[str]:
    """A line for each of the settings that phases were started with which, as the study is given
    now, have no run; [] where there is none."""
    record = read_record(out, tree.spec.name)
    found: dict[str | None, list[str]] = {}
    for node in tree.nodes.values():
        for options in _options_of_others(tree, out, record, node):
            found.setdefault(options, []).append(node.label)
    return [_words(tree, options, labels) for options, labels in found.items()]


def _options_of_others(
    tree: StudyTree, out: Path, record: StudyRecord, node: PhaseNode
) -> set[str | None]:
    """Of the runs that a phase without one has had; None: not known."""
    if node.identity is None or tree.run_directory(out, node).status.exists():
        return set()
    started: dict[str, str | None] = dict(record.started.get(node.key, {}))
    if node.key in record.runs:  # all that earlier versions have noted
        started.setdefault(record.runs[node.key], None)
    there = {
        options
        for run, options in started.items()
        if RunDirectory(placed(run, out, tree.store)).status.exists()
    }
    return there if there and earlier_run(tree, out, node) is None else set()


def _words(tree: StudyTree, options: str | None, labels: list[str]) -> str:
    one = len(labels) == 1
    what = f"{labels[0]} has a run" if one else f"{len(labels)} phases ({labels[0]}, ...) have runs"
    if options == tree.spec.options:
        return (
            f"{what} here from before the study's file or its data was changed; with these as they "
            f"were {'it goes' if one else 'they go'} on, and another --out keeps both apart"
        )
    if options is None:
        return f"{what} here of other settings (--scale, --set, or a study's file as it was before)"
    given = f"with {options}" if options else "without --scale and --set"
    return f"{what} here that began {given}; give the command {given} to go on with them"
