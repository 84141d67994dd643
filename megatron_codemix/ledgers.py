"""The file of a run's ledger: its lines, whether they reach the run's end, and the lines that
checkpoints have as well."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from megatron_codemix.checkpoints import marker_record
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.plan import RunPlan, is_save_due, make_plan
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.files import Json, field_problem, read_json_object, read_jsonl, rewrite_jsonl
from megatron_codemix.locks import try_lock
from megatron_codemix.run_checkpoints import train_command
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory

LedgerLine = dict[str, Any]  # Any: JSON values, of a form that was checked

_FIELDS = {"step": int, "samples": int, "tokens": int, "sources": dict}
_SOURCE_FIELDS = {
    **dict.fromkeys(("consumed_samples", "consumed_tokens", "skipped_samples"), int),
    **dict.fromkeys(("cursor", "chain_tokens"), int),
    **dict.fromkeys(("planned_samples", "planned_tokens", "epochs"), int | float),
}


def read_ledger(run: RunDirectory) -> list[LedgerLine]:
    """A line for each scheduled checkpoint; [] where the file is absent. Raises RunError that names
    file and line where a line is damaged, or of no later step than the one before."""
    reached = -1

    def problem_of(line: LedgerLine) -> str | None:
        nonlocal reached
        problem = _line_problem(line)
        if problem is None and line["step"] <= reached:
            return f"step {line['step']} behind step {reached}"
        reached = reached if problem else line["step"]
        return problem

    return read_jsonl(run.ledger, problem_of)


def _line_problem(line: Json) -> str | None:
    problem = field_problem(line, _FIELDS | {"max_error_samples": int | float})
    if problem is not None:
        return problem
    for name, source in line["sources"].items():
        problem = field_problem(source, _SOURCE_FIELDS)
        if problem is not None:
            return f"source {name!r}: {problem}"
    return None


def ledger_damage(run: RunDirectory, status: Status, lines: Sequence[LedgerLine]) -> str | None:
    """That the ledger of a finished run does not end at its last step, for which every run has a
    line, imported and averaged ones too, or lacks lines before it. None where it does not, and of a
    run that is not done. Raises RunError where it goes on behind the last step: then it is not the
    ledger that is damaged."""
    last = lines[-1]["step"] if lines else 0
    missing = missing_steps(run, status, lines)
    if last > status.step and status.state == "done":
        raise RunError(
            f"{run.ledger} ends at step {last}, and the run is done at step {status.step}: "
            f"{run.status.name} was changed; restore it, or move the run directory away"
        )
    if not missing:
        return None
    if last == status.step:
        steps = ", ".join(map(str, missing))
        return f"{run.ledger} lacks the lines of step {steps}: they were cut out or lost"
    ends = f"ends at step {last}" if lines else "has no line"
    found = ends if run.ledger.exists() else "is missing"
    return f"{run.ledger} {found}, and the run is done at step {status.step}: it was cut or lost"


def missing_steps(run: RunDirectory, status: Status, lines: Sequence[LedgerLine]) -> list[int]:
    """Of a finished run: its last step where that has no line, and what `lost_steps` finds."""
    if status.state != "done":
        return []
    is_end_there = bool(lines) and lines[-1]["step"] >= status.step
    return lost_steps(run, lines) + ([] if is_end_there else [status.step])


def with_lines_of_checkpoints(
    run: RunDirectory, lines: Iterable[LedgerLine], step: int
) -> list[LedgerLine]:
    """`lines` up to `step`, with those that markers of complete checkpoints have and the file has
    not. A marker that is damaged has none."""
    found = {line["step"]: line for line in lines if line["step"] <= step}
    for missing in {number for number in run.complete_steps() if number <= step} - found.keys():
        line = _line_of_checkpoint(run, missing)
        if line is not None:
            found[missing] = line
    return [found[number] for number in sorted(found)]


def _line_of_checkpoint(run: RunDirectory, step: int) -> LedgerLine | None:
    """Other files of the checkpoint may be damaged."""
    try:
        marker = marker_record(run.checkpoint(step))
    except RunError:
        return None
    line = marker.get("ledger") if marker.get("is_scheduled") else None
    return line if _line_problem(line) is None else None


def mend_ledger(run: RunDirectory) -> str | None:
    """Puts back what the checkpoints of a finished run have of a ledger that was cut or lost. What
    was wrong and what has become of it, or what can be done; None where nothing is wrong, or a
    training holds the run, which puts it back itself.

    Raises RunError where a line or the status is damaged.
    """
    found = _damage_now(run)
    if found is None:
        return None
    try:
        return _put_back(run)
    except OSError as error:  # perhaps another user's run
        return f"{found}; it cannot be put back: {error.filename}: {error.strerror}"


def _put_back(run: RunDirectory) -> str | None:
    handle = try_lock(run.path / ".lock")
    if handle is None:
        return None
    with handle:
        status, damage = run.require_status(), _damage_now(run)
        if damage is None:
            return None
        before = read_ledger(run)
        lines = with_lines_of_checkpoints(run, before, status.step)
        lost = missing_steps(run, status, lines)
        if len(lines) == len(before) or status.step in lost:
            return f"{damage}; {ledger_advice(run, status, before)}"
        rewrite_jsonl(run.ledger, lines)
    there = {line["step"] for line in before}
    steps = ", ".join(str(line["step"]) for line in lines if line["step"] not in there)
    told = f"{damage}; put back from its checkpoints: the lines of step {steps}"
    return f"{told}; those of step {', '.join(map(str, lost))} stay lost" if lost else told


def lost_steps(run: RunDirectory, lines: Sequence[LedgerLine]) -> list[int]:
    """Scheduled steps before the last line that have none. What its attempts were told of saving
    may differ, and is no part of its identity: only steps that all of them save at are wanted.
    None where the configuration, which says when, cannot be read."""
    if not lines or not run.config.is_file():
        return []
    try:
        config = load_run_config(run.config)
    except ConfigError:
        return []
    plan = make_plan(config, config.layout.model_parallel)
    plans = [plan, *_plans_of_attempts(run, plan)]
    there = {line["step"] for line in lines}
    return [
        step
        for step in range(1, lines[-1]["step"])
        if step not in there and all(is_save_due(step, one) for one in plans)
    ]


def _plans_of_attempts(run: RunDirectory, plan: RunPlan) -> Iterator[RunPlan]:
    """`plan` with the intervals at which each attempt saved, as far as that is known."""
    for path in run.attempt(1).parent.glob("*/plan.json"):
        with contextlib.suppress(OSError, ValueError):
            record = read_json_object(path)
            kept = record.get("keep_every_steps")
            if field_problem(record, {"save_every_steps": int}) is None:
                every = record["save_every_steps"]
                yield replace(plan, save_every_steps=every, keep_every_steps=kept)


def require_ledger(run: RunDirectory) -> list[LedgerLine]:
    """As `read_ledger`. Raises RunError also where that of a finished run was cut or lost."""
    status = run.read_status()  # first: a run may finish meanwhile
    lines = read_ledger(run)
    damage = None if status is None else ledger_damage(run, status, lines)
    if status is not None and damage is not None:
        raise RunError(f"{damage}; {ledger_advice(run, status, lines)}")
    return lines


def _damage_now(run: RunDirectory) -> str | None:
    status = run.read_status()
    return None if status is None else ledger_damage(run, status, read_ledger(run))


def ledger_advice(run: RunDirectory, status: Status, lines: Sequence[LedgerLine]) -> str:
    """What can be done about a ledger that was cut or lost, of which `lines` are left."""
    missing = missing_steps(run, status, lines)
    can_end = status.step not in missing or _line_of_checkpoint(run, status.step) is not None
    if can_end and any(_line_of_checkpoint(run, step) is not None for step in missing):
        return (
            "'codemix study run', or the 'codemix train' command of the run, puts back what its "
            "checkpoints have of it"
        )
    if can_end:
        return (
            "no checkpoint has them any more: restore the file from a copy, or move the run "
            "directory away to train it again"
        )
    again = (
        f"give {train_command(run)}, which makes both again from the checkpoint before"
        if any(step < status.step for step in run.complete_steps())
        else "move the run directory away to train it again"
    )
    return (
        "its last checkpoint, which would have that line too, is gone or damaged: restore the file "
        f"from a copy, or {again}"
    )
