"""The items of the tasks of `codemix evaluate`, as decontamination looks for them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.contamination.items import EvaluationTask, Item
from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.data import MissingDataError, read_task
from megatron_codemix.evaluation.suites.registry import TaskInfo, all_tasks, expand

_CODE_READERS = {"humaneval", "mbpp", "mbpp_sanitized", "cos_qa"}
_CODE_TASKS = {"code_bpb"}
_NO_TEXTS = {"task_id", "entry_point", "answerKey", "label", "gold"}
"""Fields of numbers, names and letters."""


def evaluation_tasks(
    names: Sequence[str], data_dir: Path, *, ngram: int, code_ngram: int
) -> tuple[list[EvaluationTask], list[str]]:
    """The tasks of these names (suites or tasks; none: all) with their items, and the names of
    those whose data is not below `data_dir`.

    Raises ConfigError for unknown names; DataError: data that is wrong, or no data at all.
    """
    if not data_dir.is_dir():
        raise DataError(f"--data-dir {data_dir}: there is no such folder")
    tasks: list[EvaluationTask] = []
    missing: list[str] = []
    for name in expand(names, lambda: ()) if names else all_tasks():
        info = all_tasks()[name]
        is_code = info.reader in _CODE_READERS or name in _CODE_TASKS
        try:
            items = tuple(_items(info, data_dir))
        except MissingDataError:
            missing.append(name)
        else:
            tasks.append(EvaluationTask(name, items, code_ngram if is_code else ngram))
    if not tasks:
        raise DataError(
            f"--data-dir {data_dir}: has data of none of the tasks {', '.join(missing)}; "
            "`codemix evaluate --list-tasks` says where to get it"
        )
    return tasks, missing


def _items(info: TaskInfo, data_dir: Path) -> Iterator[Item]:
    for number, document in enumerate(read_task(info, data_dir, None).documents):
        yield Item(str(document.get("task_id", number)), tuple(_texts(document)))


def _texts(value: Any) -> Iterator[str]:  # Any: a field of an item, or of one in it
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, field in value.items():
            if name not in _NO_TEXTS:
                yield from _texts(field)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
