"""What a report lacks because files of finished runs were cut, changed or lost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from megatron_codemix.files import Json
from megatron_codemix.obs.metrics import last_lines
from megatron_codemix.report.collect import PhaseRecord, StudyRecords, plan_path
from megatron_codemix.report.items import ItemStore, num_items
from megatron_codemix.results import items_path, make_again, summary_path
from megatron_codemix.run_checkpoints import train_command
from megatron_codemix.runs import HELDOUT, RunDirectory, result_stem
from megatron_codemix.study.evaluation import held_out_files


def damage_notes(
    records: StudyRecords, rows: Sequence[Mapping[str, Json]], store: ItemStore
) -> list[str]:
    """A line for each file, with the phase that it is of and what to do. Files in the study's
    folder are named from there on, so that wherever it lies its report is the same.

    rows: `variants` of the report.
    """
    finished = [
        phase
        for phase in records.phases.values()
        if phase.status.state == "done" and phase.trained_with is None
    ]
    shown = {
        phase.node.key: phase
        for row in rows
        for phase in records.chain(row["cell"], row["name"])[-1:]
    }
    tasks = records.tree.spec.evaluation.tasks
    limit = None if tasks is None else tasks.limit
    notes = [
        *((phase.run, note) for phase in finished for note in _training_notes(phase)),
        *((phase.run, note) for phase in shown.values() for note in _heldout_notes(phase, store)),
        *(
            (phase.run, note)
            for phase in shown.values()
            for note in _task_notes(phase, store, limit)
        ),
    ]
    return [_from_folder_on(records.out, run, note) for run, note in notes]


def _from_folder_on(out: Path, run: RunDirectory, note: str) -> str:
    """`note` about files of `run`; a run in a store outside `out` keeps its whole path."""
    folder, place = out.absolute(), run.path.absolute()
    if not place.is_relative_to(folder):
        return note
    short = place.relative_to(folder)
    there = f"{train_command(run, named=short)} in the study's folder"
    return note.replace(train_command(run), there).replace(f"{run.path}/", f"{short}/")


def _training_notes(phase: PhaseRecord) -> Iterator[str]:
    label, run = phase.node.label, phase.run
    if phase.ledger_damage is not None:
        yield (
            f"{label}: damaged: {phase.ledger_damage}; its tokens are here those of its "
            f"{phase.status.step} steps, and what it has read of each source is left out"
        )
    last = next((line["step"] for line in reversed(last_lines(run.metrics))), None)
    if last != phase.status.step and phase.status.step not in run.skipped_steps():
        ends = "has no line" if last is None else f"ends at step {last} of {phase.status.step}"
        where = ends if run.metrics.exists() else "is missing"
        yield (
            f"{label}: damaged: {run.metrics} {where}; the figures of its training show no more; "
            "restore it from a copy"
        )
    if not phase.plan:
        yield (
            f"{label}: its layout over processes is not known, as {plan_path(run, phase.status)} "
            "is missing; restore it from a copy"
        )
    if not phase.provenance:
        yield (
            f"{label}: its commit, package versions and device are not known, as "
            f"{run.attempt(phase.status.attempts) / 'provenance.json'} is missing; restore it from "
            "a copy"
        )


def _heldout_notes(phase: PhaseRecord, store: ItemStore) -> Iterator[str]:
    if phase.heldout is not None and phase.documents.parent == phase.run.evaluation:
        unscored = held_out_files(phase.node.config).keys() - phase.heldout["sources"].keys()
        if unscored:
            yield (
                f"{phase.node.label}: damaged: {summary_path(phase.run, HELDOUT)} has no scores of "
                f"{', '.join(sorted(unscored))}; {make_again(phase.documents)}"
            )
    lost = [
        source
        for source, sums in (phase.heldout or {"sources": {}})["sources"].items()
        if math.isfinite(sums["nats"]) and store.heldout(phase, source) is None
    ]
    if lost:
        what = "does not add up to the scores" if phase.documents.exists() else "is missing"
        yield (
            f"{phase.node.label}: no intervals over documents of {', '.join(sorted(lost))}: "
            f"{phase.documents} {what}; {make_again(phase.documents)}"
        )


def _task_notes(phase: PhaseRecord, store: ItemStore, limit: int | None) -> Iterator[str]:
    for name, summary in (phase.tasks or {}).items():
        if store.task(phase, name, limit) is not None:
            continue  # it may also be none where a score is no mean
        path = items_path(phase.run, result_stem(name, limit))
        if num_items(phase, name, limit) < summary["items"]:
            what = "does not have all its items" if path.exists() else "is missing"
            yield f"{phase.node.label}: no intervals of {name}: {path} {what}; {make_again(path)}"
