"""Tasks of the suites, and of the harness itself, from their names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from megatron_codemix.errors import UnavailableError
from megatron_codemix.evaluation.harness.task import HarnessTask, Metrics
from megatron_codemix.evaluation.suites.above_random import is_above_random
from megatron_codemix.evaluation.suites.prepare import (
    PreparedTask,
    ProgramOptions,
    expand,
    prepare_tasks,
)
from megatron_codemix.evaluation.suites.registry import TASK_FOLDER
from megatron_codemix.evaluation.tasks.run import Task
from megatron_codemix.files import Json, hash_file


def harness_tasks(
    names: Sequence[str],
    data_dir: Path | None,
    limit: int | None,
    programs: ProgramOptions,
    *,
    skip_missing: bool = False,
) -> list[Task]:
    """The tasks of suites and tasks that are named, with their data.

    skip_missing: as of `prepare_tasks`.
    Raises ConfigError for a name that nobody knows, DataError that lists each task without data,
    UnavailableError where programs would have to run that cannot be isolated.
    """
    found = prepare_tasks(expand(names), data_dir, limit, programs, skip_missing=skip_missing)
    _refuse_own_execution(found, programs)
    return [_task(one, limit, programs) for one in found]


def _refuse_own_execution(prepared: Sequence[PreparedTask], programs: ProgramOptions) -> None:
    names = [one.name for one in prepared if getattr(one.task, "UNSAFE_CODE", False)]
    if names and not programs.unsafe:
        raise UnavailableError(
            f"{', '.join(names)}: the harness would run the model's programs without isolation; "
            "humaneval and mbpp run in the sandbox (--list-tasks), and --unsafe runs these as they "
            "are"
        )


def _task(prepared: PreparedTask, limit: int | None, programs: ProgramOptions) -> HarnessTask:
    file = TASK_FOLDER / f"{prepared.name}.yaml"
    return HarnessTask(
        name=prepared.name,
        loaded={"tasks": {prepared.name: prepared.task}, "groups": {}},
        limit=limit,
        details={
            "version": prepared.task.VERSION,
            "task_file_sha256": hash_file(file) if file.exists() else None,
            "data_sha256": prepared.data_sha256,
            **(asdict(programs) if prepared.runs_programs else {}),
        },
        judged=partial(_judged, prepared),
    )


def _judged(prepared: PreparedTask, metrics: Metrics) -> Mapping[str, Json]:
    reported = metrics.get(prepared.metric, {"value": None, "stderr": None})
    value, error, baseline = reported["value"], reported["stderr"], prepared.random_baseline
    above = None
    if value is not None:
        above = is_above_random(value, error, baseline, prepared.num_items)
    return {
        "reported": prepared.metric,
        "random_baseline": baseline,
        "above_random": above,
        "notes": list(prepared.notes),
    }
