"""The file of a run's ledger: its lines, whether they reach the run's end, and the lines that
checkpoints have as well."""

from collections.abc import Iterable, Sequence
from typing import Any

from megatron_codemix.checkpoints import marker_record
from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, field_problem, read_jsonl, rewrite_jsonl
from megatron_codemix.locks import try_lock
from megatron_codemix.runs import RunDirectory, Status, train_command

LedgerLine = dict[str, Any]  # Any: JSON values, of a form that was checked

_FIELDS = {"step": int, "samples": int, "tokens": int, "sources": dict}
_SOURCE_FIELDS = {
    **dict.fromkeys(("consumed_samples", "consumed_tokens", "skipped_samples"), int),
    **dict.fromkeys(("cursor", "chain_tokens"), int),
    **dict.fromkeys(("planned_samples", "planned_tokens", "epochs"), int | float),
}


def read_ledger(run: RunDirectory) -> list[LedgerLine]:
    """A line for each scheduled checkpoint; [] where the file is absent. Raises RunError that names
    file and line where a line is damaged."""
    return read_jsonl(run.ledger, _line_problem)


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
    """That the ledger of a finished run does not end at its last step: every run has a line for
    that, imported and averaged ones too. None where it does, and of a run that is not done."""
    last = lines[-1]["step"] if lines else 0
    if status.state != "done" or last == status.step:
        return None
    ends = f"ends at step {last}" if lines else "has no line"
    found = ends if run.ledger.exists() else "is missing"
    return f"{run.ledger} {found}, and the run is done at step {status.step}: it was cut or lost"


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
        lines = with_lines_of_checkpoints(run, read_ledger(run), status.step)
        if ledger_damage(run, status, lines) is not None:
            return f"{damage}; {ledger_advice(run, status)}"
        rewrite_jsonl(run.ledger, lines)
    steps = ", ".join(str(line["step"]) for line in lines)
    return f"{damage}; put back from its checkpoints: the lines of step {steps}"


def require_ledger(run: RunDirectory) -> list[LedgerLine]:
    """As `read_ledger`. Raises RunError also where that of a finished run was cut or lost."""
    lines, status = read_ledger(run), run.read_status()
    damage = None if status is None else ledger_damage(run, status, lines)
    if status is not None and damage is not None:
        raise RunError(f"{damage}; {ledger_advice(run, status)}")
    return lines


def _damage_now(run: RunDirectory) -> str | None:
    status = run.read_status()
    return None if status is None else ledger_damage(run, status, read_ledger(run))


def ledger_advice(run: RunDirectory, status: Status) -> str:
    """What can be done about a ledger that was cut or lost."""
    if _line_of_checkpoint(run, status.step) is not None:
        return (
            "'codemix study run', or the 'codemix train' command of the run, puts back what its "
            "checkpoints have of it"
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
