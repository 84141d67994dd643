"""Places of a study's data: relative to the study file as they are written, absolute as they are
used."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from megatron_codemix.config.tree import Tree
from megatron_codemix.study.evaluation import EvaluationSpec

DATA_ROOT = "{data}"
"""Stands for the study's `data_root` in every path of the run configuration."""


def plain_place(path: Path) -> Path:
    """`path` absolute and without `..`, so that one place has one name however it was given, and
    what is told apart by names is equal where places are. Symbolic links stay: nodes of a cluster
    may resolve them to different places. Only where a `..` leaves one is it resolved."""
    plain, real = os.path.abspath(path), os.path.realpath(path)
    return Path(plain if os.path.realpath(plain) == real else real)


def data_root_of(stated: Path | None, folder: Path, given: Path | None) -> Path | None:
    """What DATA_ROOT stands for: `given` by the command line, or `stated` in the study file, which
    lies in `folder`."""
    if given is not None:
        return plain_place(given)
    return None if stated is None else plain_place(folder / stated)


def absolute_data(evaluation: EvaluationSpec, folder: Path) -> EvaluationSpec:
    """The tasks' data folder is relative to the study file."""
    tasks = evaluation.tasks
    if tasks is None or tasks.data_dir is None:
        return evaluation
    placed = tasks.model_copy(update={"data_dir": plain_place(folder / tasks.data_dir)})
    return evaluation.model_copy(update={"tasks": placed})


def absolute_paths(defaults: Tree, root: Path | None, folder: Path) -> Tree:
    """DATA_ROOT filled in where the root is known; other paths are relative to the study file."""

    def resolve(text: Any) -> Any:  # Any: what is not text is left for the schema to refuse
        if not isinstance(text, str) or (DATA_ROOT in text and root is None):
            return text
        return str(plain_place(folder / text.replace(DATA_ROOT, str(root))))

    def resolve_all(section: Any, fields: Collection[str]) -> Any:  # Any: as above
        if not isinstance(section, Mapping):
            return section
        return {key: resolve(v) if key in fields else v for key, v in section.items()}

    resolved = dict(defaults)
    if "tokenizer" in defaults:
        resolved["tokenizer"] = resolve_all(defaults["tokenizer"], ("path",))
    data = defaults.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("sources"), Mapping):
        files = ("train", "validation")
        sources = {name: resolve_all(one, files) for name, one in data["sources"].items()}
        resolved["data"] = {**data, "sources": sources}
    return resolved


def absolute_settings(
    settings: Mapping[Any, Any], root: Path | None, folder: Path
) -> dict[Any, Any]:
    """The same of what a phase or a value of an axis sets: dotted key -> value."""
    placed = {}
    for key, value in settings.items():
        parts = key.split(".")
        tree = value
        for part in reversed(parts):
            tree = {part: tree}
        tree = absolute_paths(tree, root, folder)
        for part in parts:
            tree = tree[part]
        placed[key] = tree
    return placed
