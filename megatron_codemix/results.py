"""What evaluations and validations have left of a run, read back and checked for its form: sums by
source, scores of tasks, documents and items one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from megatron_codemix.errors import RunError
from megatron_codemix.files import CUT_OFF, field_problem, read_json_object, read_jsonl
from megatron_codemix.runs import EVALUATED_TASKS, HELDOUT, RunDirectory

Record = dict[str, Any]  # Any: JSON values

_SUMS = {"bytes": int, "tokens": int, "nats": int | float, "bits_per_byte": int | float}
_DIVERGED = ("nats", "bits_per_byte", "value", "stderr")
"""What is no finite number for a model that has diverged."""
_SAFETY_ITEMS = (
    {"prompt": str, "seed": int},
    {"source": str, "split": str, "document": int},
)
"""Of generations, and of documents that are to be continued."""


def read_object(
    path: Path, problem_of: Callable[[Record], str | None] = lambda record: None
) -> Record | None:
    """A JSON object; None where the file is absent. Raises RunError where it is damaged."""
    if not path.exists():
        return None
    try:
        record = read_json_object(path)
        problem = problem_of(record)
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise RunError(f"{path}: damaged ({problem}); remove it")
    return record


def read_heldout_summary(run: RunDirectory) -> Record | None:
    """Of the held-out evaluation: what was scored, and sums by source."""
    return read_object(summary_path(run, HELDOUT), _heldout_problem)


def read_task_summary(run: RunDirectory, stem: str) -> Record | None:
    """Scores of a task. stem: `runs.result_stem`."""
    return read_object(summary_path(run, stem), _task_problem)


def read_evaluated_tasks(run: RunDirectory) -> Record | None:
    """What the last evaluation was asked for, with the names of its `tasks`."""

    def problem_of(record: Record) -> str | None:
        return field_problem(record, {"tasks": list})

    return read_object(run.evaluation / EVALUATED_TASKS, problem_of)


def read_validations(run: RunDirectory) -> list[Record]:
    """Sums by source after each step that was validated, in order; [] before the first."""
    return read_jsonl(run.validation, _validation_problem)


def read_documents(path: Path) -> list[Record]:
    """Sums of each held-out document, of an evaluation or of the last validation; [] where they
    were not kept."""
    fields = {"source": str, "document": int, "id": str, "bytes": int, "nats": int | float}
    return read_jsonl(
        path, lambda line: field_problem(line, fields, may_be_nan=_DIVERGED), advice=_advice(path)
    )


def read_items(run: RunDirectory, stem: str) -> list[Record]:
    """Scores of each item of a task; [] where they were not kept. Items of the safety tasks are not
    numbered."""
    path = items_path(run, stem)
    return read_jsonl(path, _item_problem, advice=_advice(path))


def items_path(run: RunDirectory, stem: str) -> Path:
    """Place of what `read_items` reads."""
    return run.evaluation / f"{stem}.jsonl"


def summary_path(run: RunDirectory, stem: str) -> Path:
    """Place of a task's summary, by which its evaluation is done."""
    return run.evaluation / f"{stem}.summary.json"


def make_again(items: Path) -> str:
    """What to do about a file of documents or items: by the summary beside it an evaluation is
    done; a validation is a part of its training."""
    summary = items.with_suffix(".summary.json")
    if summary.exists():
        return f"delete {summary}, and 'codemix study run' evaluates it again"
    return "restore it from a copy"


def _advice(path: Path) -> str:
    again = make_again(path)
    return again if path.with_suffix(".summary.json").exists() else CUT_OFF


def _item_problem(line: Record) -> str | None:
    problem = field_problem(line, {"item": int | str})
    if problem is None or "item" in line:
        return problem
    is_of_safety = any(field_problem(line, fields) is None for fields in _SAFETY_ITEMS)
    return None if is_of_safety else problem


def _sums_problem(record: Record) -> str | None:
    for name, sums in record["sources"].items():
        problem = field_problem(sums, _SUMS, may_be_nan=_DIVERGED)
        if problem is None and sums["bytes"] <= 0:
            problem = f"'bytes' is {sums['bytes']}"
        if problem is not None:
            return f"source {name!r}: {problem}"
    return None


def _heldout_problem(record: Record) -> str | None:
    with_layout: Record = {"layout": {}} | record  # those of earlier versions have none
    return field_problem(with_layout, {"sources": dict, "layout": dict}) or _sums_problem(record)


def _validation_problem(line: Record) -> str | None:
    return field_problem(line, {"step": int, "sources": dict}) or _sums_problem(line)


def _task_problem(record: Record) -> str | None:
    problem = field_problem(record, {"reported": str, "metrics": dict, "items": int})
    if problem is not None:
        return problem
    fields = dict.fromkeys(("value", "stderr"), int | float | None)
    found = (
        field_problem(score, fields, may_be_nan=_DIVERGED) for score in record["metrics"].values()
    )
    return next((problem for problem in found if problem is not None), None)
