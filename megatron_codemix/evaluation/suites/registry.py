"""The tasks and suites that there are. Free of torch and of the harness: it reads task files."""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from megatron_codemix.errors import ConfigError

TASK_FOLDER = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class TaskInfo:
    """What a task file says of its task.

    metric: the one that suites report; others come beside it.
    random_baseline: what guessing scores by that metric; None where that has no meaning.
    num_items: of the published data that the task is defined on.
    source: where to get the data.
    files: names looked for below the data folder, without extensions.
    better_files: names that are taken where both are there.
    reader: of `readers.READERS`.
    """

    name: str
    describes: str
    metric: str
    random_baseline: float | None
    num_items: int | None
    source: str
    licence: str
    files: tuple[str, ...]
    better_files: tuple[str, ...]
    reader: str
    suites: tuple[str, ...]

    @property
    def how_to_get(self) -> str:
        """For the message that its data is missing."""
        names = ", ".join(self.better_files + self.files)
        return (
            f"get it from {self.source}, licence: {self.licence}; looked for as {names} with "
            ".jsonl, .json, .parquet, .csv or .txt, also .gz or .zst"
        )


class _Loader(yaml.SafeLoader):
    """Passes over functions: a task's prompt is the harness's business."""


_Loader.add_constructor("!function", lambda loader, node: None)


@cache
def all_tasks() -> dict[str, TaskInfo]:
    """By name, in the order of the names."""
    found = [_read(path) for path in sorted(TASK_FOLDER.glob("*.yaml"))]
    return {one.name: one for one in found}


def suites() -> dict[str, list[str]]:
    """Names of the tasks of each suite."""
    members: dict[str, list[str]] = {}
    for info in all_tasks().values():
        for suite in info.suites:
            members.setdefault(suite, []).append(info.name)
    return dict(sorted(members.items()))


def expand(names: Sequence[str], known_elsewhere: Callable[[], Collection[str]]) -> list[str]:
    """Tasks of the suites and tasks that are named, each once, in the order asked for.

    known_elsewhere: the harness's own names, asked for only where a name is not ours (they stand in
    14,000 files). Raises ConfigError for names that nobody knows, with the nearest that are known.
    """
    groups, ours = suites(), all_tasks()
    tasks: list[str] = []
    strange = [name for name in names if name not in groups and name not in ours]
    others = known_elsewhere() if strange else ()
    problems = [_unknown(name, [*groups, *ours], others) for name in strange if name not in others]
    if problems:
        raise ConfigError(problems)
    for name in names:
        tasks += groups.get(name, [name])
    return list(dict.fromkeys(tasks))


def table() -> list[dict[str, str]]:
    """One row for each task, for people."""
    return [
        {
            "task": info.name,
            "suites": ", ".join(info.suites),
            "metric": info.metric,
            "random": "" if info.random_baseline is None else f"{info.random_baseline:.3g}",
            "items": "" if info.num_items is None else str(info.num_items),
            "licence": info.licence,
            "data": info.source,
            "describes": info.describes,
        }
        for info in all_tasks().values()
    ]


def _read(path: Path) -> TaskInfo:
    with open(path, encoding="utf-8") as file:
        config: dict[str, Any] = yaml.load(file, _Loader)  # a SafeLoader
    said = config["metadata"]
    return TaskInfo(
        name=config["task"],
        describes=said["describes"],
        metric=said["reported"],
        random_baseline=said.get("random_baseline"),
        num_items=said.get("items"),
        source=said["source"],
        licence=said["licence"],
        files=tuple(said["files"]),
        better_files=tuple(said.get("better_files", ())),
        reader=said["reader"],
        suites=tuple(said["suites"]),
    )


def _unknown(name: str, ours: Sequence[str], others: Collection[str]) -> str:
    near = difflib.get_close_matches(name, ours, n=3, cutoff=0.6)
    near += difflib.get_close_matches(name, others, n=3 - len(near), cutoff=0.8) if not near else []
    all_names = "; `codemix evaluate --list-tasks` has all"
    hint = f"; did you mean {', '.join(near)}?" if near else all_names
    return f"--tasks: there is no task or suite '{name}'{hint}"
