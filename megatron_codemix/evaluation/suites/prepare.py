"""From names of tasks to the harness's task objects, with their data read and checked."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites import registry
from megatron_codemix.evaluation.suites.data import MissingDataError
from megatron_codemix.evaluation.suites.harness_names import harness_names
from megatron_codemix.evaluation.suites.programs import run_checks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedTask:
    """A task that is ready to run: `simple_evaluate(tasks=[prepared.task])`.

    task: a harness task.
    metric: the one to report.
    random_baseline: of the items that were read; None where guessing has no meaning, or the task is
        the harness's own and no multiple choice.
    data_file, data_sha256: None for a task of the harness's own.
    notes: what sets its scores apart from those of others.
    runs_programs: whether the model's answers are executed, in the sandbox.
    """

    name: str
    task: Any
    metric: str
    random_baseline: float | None
    num_items: int
    data_file: Path | None
    data_sha256: str | None
    notes: tuple[str, ...] = ()
    runs_programs: bool = False


def expand(names: Sequence[str]) -> list[str]:
    """Suites, tasks and the harness's own names -> tasks. Raises ConfigError for unknown ones."""
    return registry.expand(names, harness_names)


@dataclass(frozen=True)
class ProgramOptions:
    """How tasks whose answers are programs are run.

    samples: drawn for each item, for pass@k; one is the most probable answer, without sampling.
    temperature: of the draws, with top-p 0.95 (Chen et al. 2021 take 0.2 for pass@1, 0.8 for
        pass@100).
    unsafe: run programs where they cannot be isolated.
    """

    samples: int = 1
    temperature: float = 0.8
    unsafe: bool = False


def prepare_tasks(
    names: Iterable[str],
    data_dir: Path | None,
    limit: int | None = None,
    programs: ProgramOptions = ProgramOptions(),
    *,
    skip_missing: bool = False,
) -> list[PreparedTask]:
    """Reads the data of every task (names as `expand` gives them), nothing from the network.

    limit: the first so many items of each.
    skip_missing: leave out tasks of ours whose data is not there, and say which.

    Raises DataError that lists every task whose data is missing or wrong, with where to get it;
    UnavailableError where a task runs programs and this machine cannot isolate them.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"--data-dir {data_dir}: there is no such folder")
    _stay_offline()
    from lm_eval.tasks import TaskManager

    _compile_templates_once()
    metadata: dict[str, Any] = asdict(programs)
    if data_dir is not None:
        metadata["data_dir"] = str(data_dir)
    if limit is not None:
        metadata["limit"] = limit
    ours = TaskManager(include_path=registry.TASK_FOLDER, include_defaults=False, metadata=metadata)
    prepared: list[PreparedTask] = []
    problems: list[str] = []
    missing: list[str] = []
    for name in names:
        try:
            if name in registry.all_tasks():
                prepared.append(_prepare_ours(name, ours))
            else:
                prepared += _prepare_theirs(name, _harness_tasks())
        except MissingDataError as error:
            missing.append(name)
            problems += [] if skip_missing else [str(error)]
        except DataError as error:
            problems.append(str(error))
    if missing and not prepared and not problems:
        raise DataError(f"{', '.join(missing)}: no data of any of them below {data_dir}")
    if missing and not problems:
        log.warning("left out, as their data is not there: %s", ", ".join(missing))
    if problems:
        if missing:
            problems.append("give the folder as --data-dir, or leave them out with --skip-missing")
        raise DataError(*problems)
    if any(one.runs_programs for one in prepared):
        run_checks([], unsafe=programs.unsafe)  # before the model is loaded, not after
    return prepared


def _prepare_ours(name: str, manager: Any) -> PreparedTask:
    info = registry.all_tasks()[name]
    task = manager.load([name])["tasks"][name]
    baseline = info.random_baseline
    if task.OUTPUT_TYPE == "multiple_choice" and info.metric.startswith("acc"):
        baseline = _guessing(task)
    for note in task.data.notes:
        log.info("%s: %s", name, note)
    return PreparedTask(
        name=name,
        task=task,
        metric=info.metric,
        random_baseline=baseline,
        num_items=len(task.data.documents),
        data_file=task.data.file,
        data_sha256=task.data.sha256,
        notes=task.data.notes,
        runs_programs="program" in task.config.metadata,
    )


def _prepare_theirs(name: str, manager: Any) -> list[PreparedTask]:
    """A name of the harness may stand for several tasks."""
    try:
        tasks = manager.load([name])["tasks"]
    except Exception as error:  # whatever its loaders and dataset scripts raise
        first = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{name}: a task of the harness's own, whose data could not be loaded from Hugging "
            f"Face's cache on this machine ({type(error).__name__}: {first}); load it once where "
            "there is a network, or take a task that reads --data-dir (--list-tasks)"
        ) from error
    return [
        PreparedTask(
            name=one,
            task=task,
            metric=_first_metric(task),
            random_baseline=_guessing(task) if task.OUTPUT_TYPE == "multiple_choice" else None,
            num_items=len(task.eval_docs),
            data_file=None,
            data_sha256=None,
        )
        for one, task in tasks.items()
    ]


def _guessing(task: Any) -> float:
    """Accuracy of uniform guesses on these items, whose numbers of choices may differ."""
    return fmean(1 / len(task.doc_to_choice(document)) for document in task.eval_docs)


def _first_metric(task: Any) -> str:
    """As results name it: with the filter by which answers are read, where that has a name."""
    name, way = next(iter(task.aggregation())), task._filters[0].name
    return str(name) if way == "none" else f"{name}/{way}"


@lru_cache(maxsize=1)
def _harness_tasks() -> Any:
    """A TaskManager. Takes 6 to 12 seconds: the harness reads its 14,000 task files."""
    _stay_offline()
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _stay_offline() -> None:
    """Before the harness and `datasets` are imported: they ask the hub even for what is cached."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"


def _compile_templates_once() -> None:
    """The harness compiles a prompt's template anew for every item, 0.20 ms each where a compiled
    one takes 0.006."""
    from lm_eval.utils import env

    if not hasattr(env.from_string, "cache_info"):
        env.from_string = lru_cache(env.from_string)
