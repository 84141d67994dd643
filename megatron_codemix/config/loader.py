"""From YAML files and `key=value` to a typed configuration, all problems at once, and back to YAML.

Precedence: field defaults < `extends:` files in order < the file < `key=value`. Paths inside a
configuration are relative to the directory in which the command runs, those in `extends:` to the
file that holds them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from megatron_codemix.config.problems import field_paths, readable, suggestion
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import (
    Tree,
    merge,
    parse_override,
    read_yaml,
    set_dotted,
    where_of,
)
from megatron_codemix.errors import ConfigError
from megatron_codemix.resources import find_example

__all__ = [
    "Tree",
    "build_run_config",
    "build_section",
    "dump_yaml",
    "load_run_config",
    "load_run_config_and_tree",
    "load_tree",
    "merge",
    "origins",
    "read_overrides",
    "refuse_study",
    "resolve_extends",
    "set_dotted",
    "with_absolute_paths",
]

Layer = Callable[[Mapping[str, Any], Mapping[str, Any]], Tree]  # Any: values of a Tree
"""Lays a file's tree on that of the files that it extends; neither is changed."""

_Model = TypeVar("_Model", bound=BaseModel)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_tree(path: Path, lay: Layer = merge) -> Tree:
    """The file with what it extends, as nested text, `origin:` included. Raises ConfigError.

    lay: how a file is laid on what it extends, where that is not a run configuration's way.
    """
    problems: list[str] = []
    tree = _load(path, (), problems, lay)
    _raise_if(problems)
    return tree


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a file. Raises ConfigError with all problems of form, names and types.

    overrides: such as `train.seed=3` or `data.mixture.weights={text: 1}`.
    """
    return load_run_config_and_tree(path, overrides)[0]


def load_run_config_and_tree(path: Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, Tree]:
    """As `load_run_config`, with the tree that it is built from, which knows all places."""
    problems: list[str] = []
    tree = _load(path, (), problems)
    if problems and not tree:  # unreadable: that everything is missing would only hide it
        _raise_if(problems)
    refuse_study(tree, path)
    lacks_base = any(": extends: " in problem for problem in problems)
    tree = read_overrides(tree, overrides, problems)
    config = _build(RunConfig, tree, os.path.normpath(path), problems)
    if lacks_base:  # what stands in the file that was not found is not missing
        problems = [problem for problem in problems if ": missing (" not in problem]
    _raise_if(problems)
    assert config is not None, "a configuration without problems is built"
    return config, tree


def refuse_study(tree: Tree, path: Path) -> None:
    """Raises ConfigError where the file holds a study in place of a run configuration."""
    if {"phases", "variants"} <= set(tree):
        _raise_if(
            [f"{path}: is a study, and a run configuration is wanted; 'codemix study' takes it"]
        )


def build_run_config(tree: Mapping[str, Any], where: str) -> RunConfig:
    """The typed configuration of a tree. Raises ConfigError with all problems.

    where: names the tree in problems that have no line of their own.
    """
    return build_section(RunConfig, tree, where)


def build_section(model: type[_Model], tree: Mapping[str, Any], where: str) -> _Model:
    """As `build_run_config`, for any model: other files are read by the same rules."""
    problems: list[str] = []
    section = _build(model, tree, where, problems)
    _raise_if(problems)
    assert section is not None, "a section without problems is built"
    return section


def read_overrides(tree: Tree, overrides: Sequence[str], problems: list[str] | None = None) -> Tree:
    """The tree with each `key=value` set; problems go to `problems`, without it into an error."""
    found: list[str] = [] if problems is None else problems
    for text in overrides:
        setting = parse_override(text, found)
        if setting is None:
            continue
        try:
            tree = set_dotted(tree, *setting, where=f"override {text!r}")
        except ConfigError as error:
            found += error.problems
    if problems is None:
        _raise_if(found)
    return tree


def origins(tree: Mapping[str, Any]) -> dict[str, str]:
    """Where preset values come from: field path -> "paper, section 2.1" or "inferred: reason"."""
    return {str(path): text for path, text in (tree.get("origin") or {}).items()}


def dump_yaml(config: BaseModel) -> str:
    """The complete configuration; loading it again gives an equal one."""
    return str(
        yaml.dump(
            config.model_dump(mode="json"),
            Dumper=_DUMPER,
            sort_keys=False,
            allow_unicode=True,
            width=10**6,  # one line for each field
        )
    )


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The saved configuration must mean the same files wherever it is read from."""

    def absolute(value: Any) -> Any:  # Any: the nested content of a model
        if isinstance(value, dict):
            return {key: absolute(item) for key, item in value.items()}
        return value.absolute() if isinstance(value, Path) else value

    return RunConfig.model_validate(absolute(config.model_dump()))


def resolve_extends(tree: Mapping[str, Any], folder: Path) -> Tree:
    """A mapping laid on the files, relative to `folder`, that its `extends:` names.

    Raises ConfigError.
    """
    problems: list[str] = []
    resolved = _resolve(tree, folder, (), problems)
    _raise_if(problems)
    return resolved


def _load(path: Path, chain: tuple[Path, ...], problems: list[str], lay: Layer = merge) -> Tree:
    return _resolve(read_yaml(path, problems), path.parent, (*chain, path), problems, lay)


def _resolve(
    tree: Mapping[str, Any],
    folder: Path,
    chain: tuple[Path, ...],
    problems: list[str],
    lay: Layer = merge,
) -> Tree:
    own = {key: value for key, value in tree.items() if key != "extends"}
    place = next((where_of(key) for key in tree if key == "extends"), "") or str(folder)
    base: Tree = {}
    for name in _extended(tree.get("extends"), place, problems):
        path = _find(name, folder)
        if path is None:
            problems.append(
                f"{place}: extends: no file {name!r} in {folder.absolute()}"
                " (paths are relative to the file; examples/... also finds the packaged examples)"
            )
        elif path.resolve() in [parent.resolve() for parent in chain]:
            names = " -> ".join(os.path.normpath(step) for step in (*chain, path))
            problems.append(f"{place}: extends: a circle: {names}")
        else:
            base = lay(base, _load(path, chain, problems, lay))
    return lay(base, own)


def _extended(value: Any, place: str, problems: list[str]) -> list[str]:
    names = [value] if isinstance(value, str) else value or []
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    problems.append(f"{place}: extends: expected a file or a list of files")
    return []


def _find(name: str, folder: Path) -> Path | None:
    path = folder / name
    if path.is_file():
        return path
    if name.startswith("examples/"):
        return find_example(name.removeprefix("examples/"))
    return None


def _build(
    model: type[_Model], tree: Mapping[str, Any], where: str, problems: list[str]
) -> _Model | None:
    content = {key: value for key, value in tree.items() if key != "origin"}
    problems += _origin_problems(model, tree)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems += readable(error.errors(include_url=False), content, model, where)
        return None


def _origin_problems(model: type[BaseModel], tree: Mapping[str, Any]) -> list[str]:
    origin = tree.get("origin")
    if origin is None:
        return []
    if not isinstance(origin, dict):
        return ["origin: expected lines of 'field.path: paper, SECTION' or 'field.path: inferred'"]
    known = field_paths(model)
    problems = []
    for path, text in origin.items():
        prefix = f"{where_of(path)}: origin: {path}: ".removeprefix(": ")
        if path not in known:
            problems.append(f"{prefix}no such field{suggestion(path, known, known)}")
        if not isinstance(text, str) or not text.startswith(("paper", "inferred")):
            problems.append(f"{prefix}expected 'paper, SECTION' or 'inferred: REASON'")
    return problems


def _raise_if(problems: list[str]) -> None:
    if problems:
        raise ConfigError(problems)
