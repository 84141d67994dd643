"""Runs that a study has had at its place under other settings: another --scale or --set, or before
its file or its data was changed; and runs of phases that had another name."""

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import RunError
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.record import StudyRecord, placed, read_record
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.study.twins import settings_identity

_MAX_NAMED = 5


def other_runs(tree: StudyTree, out: Path) -> list[str]:
    """A line for each of the settings that phases were started with which, as the study is given
    now, have no run, and for each run that a phase without one would have by another name; []
    where there is none."""
    record = read_record(out, tree.spec.name)
    found: dict[str | None, list[str]] = {}
    for node in tree.nodes.values():
        for options in _options_of_others(tree, out, record, node):
            found.setdefault(options, []).append(node.label)
    of_settings = [_words(tree, options, labels) for options, labels in found.items()]
    return of_settings + _renamed(tree, out)


def _renamed(tree: StudyTree, out: Path) -> list[str]:
    """Without a store a run lies where its phase's cell and name say."""
    if tree.store is not None:
        return []
    own: dict[str, set[Path]] = {}
    labels: dict[Path, str] = {}
    for node in tree.nodes.values():
        if node.identity is not None:
            path = tree.run_directory(out, node).path
            own.setdefault(node.identity, set()).add(path)
            labels.setdefault(path, node.label)
    lines = []
    for there in sorted(out.absolute().glob("*/*-????????")):
        status = None if there in labels else _status_of(RunDirectory(there))
        places = own.get(status.identity, set()) if status is not None else set()
        if len(places) != 1:  # cells that learn the same and run differently: which is not known
            continue
        [path] = places
        if not RunDirectory(path).status.exists():
            lines.append(_renamed_words(labels[path], there, path))
    return lines


def _status_of(run: RunDirectory) -> Status | None:
    """None also of one that is damaged: no run that a phase could have."""
    with contextlib.suppress(RunError):
        return run.read_status()
    return None


def _renamed_words(label: str, there: Path, own: Path) -> str:
    move = f"`{shlex.join(['mv', str(there), str(own)])}`"
    if own.exists():
        move += f", with {own} out of the way,"
    elif not own.parent.exists():
        move = f"`{shlex.join(['mkdir', str(own.parent)])}` and {move}"
    return (
        f"{label}: the same training lies in {there}, under another name; {move} makes it this "
        "phase's, else it is trained again; in a --store names do not count"
    )


def changed_since(tree: StudyTree, out: Path, ran: Mapping[str, RunConfig]) -> list[str]:
    """A line for each of the options that phases were last started with which, as the study is
    given now, are told to learn something else; [] where there is none. For a study without its
    data, of which no identity is known.

    ran: `cell/phase` -> configuration with which the run of the last start ran.
    """
    record = read_record(out, tree.spec.name)
    found: dict[str | None, list[str]] = {}
    for key, config in ran.items():
        if _is_changed(tree.nodes[key], config, record):
            options = record.started.get(key, {}).get(record.runs[key])
            found.setdefault(options, []).append(tree.nodes[key].label)
    return [_changed_words(tree, options, labels) for options, labels in found.items()]


def _is_changed(node: PhaseNode, ran: RunConfig, record: StudyRecord) -> bool:
    if settings_identity(node.config) != settings_identity(ran):
        return True
    parent = record.runs.get(f"{node.cell}/{node.parent}")
    if parent is None or ran.init_from is None:
        return False
    return _digits(Path(parent)) != _digits(ran.init_from.run)


def _digits(run: Path) -> str:
    """Of the identity, in the name of a run directory: `text-01234567`, or a store's."""
    return run.name.rpartition("-")[2][:8]


def _changed_words(tree: StudyTree, options: str | None, labels: list[str]) -> str:
    more = len(labels) - _MAX_NAMED
    named = ", ".join(labels[:_MAX_NAMED]) + (f" and {more} more phases" if more > 0 else "")
    reported = "reported are the runs of the last start"
    if options is None or options == tree.spec.options:
        return (
            f"{reported}; since then the study's file has changed {named}; give --data to report "
            "what has been run of it as it is now"
        )
    given = f"with {options}" if options else "without --scale and --set"
    return (
        f"{reported}, which was given {given}: as the study is given now {named} would be other "
        f"runs; give the command {given}, and --data"
    )


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
        if _digits(Path(run)) != node.identity[:8]  # its cell had another name
        and RunDirectory(placed(run, out, tree.store)).status.exists()
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
