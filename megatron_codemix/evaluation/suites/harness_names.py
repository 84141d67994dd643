"""The names that the harness knows, read from its task files without it.

Its own index parses its 14,000 files: 8.4 s of processor time to refuse a word with a wrong letter,
where this takes 0.8. Nearly all of them say their names in lines that can be read as they stand;
the others are parsed.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

Said = Mapping[str, Any]
"""Of what a task file says: its `include`, `task`, `group`, `tag` and `class`."""

_KEYS = ("include", "task", "group", "tag", "class")
_LINE = re.compile(rf"^[\"']?({'|'.join(_KEYS)})[\"']? *:(.*(?:\n *- .*)*)$", re.MULTILINE)
_PLAIN = re.compile(r" *((?:\.\.?/|[A-Za-z_])[\w./-]*) *")
_QUOTED = re.compile(r""" *(["'])([\w./ -]*)\1 *""")
_ITEMS = re.compile(r" *((?:\n *- +[A-Za-z_][\w.-]*)+) *")
_WORDS_OF_YAML = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
_NOT_READ = frozenset(("__pycache__", ".ipynb_checkpoints"))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # its base is found at run time
    """Passes over functions."""


_Loader.add_constructor("!function", lambda loader, node: None)


def harness_names(folder: Path | None = None) -> list[str]:
    """Names of its tasks, groups and tags, as `TaskManager().all_tasks` has them. `folder`: of task
    files; the harness's own where it is None."""
    return list(_names(str(folder or _own_folder())))


@cache
def _names(folder: str) -> tuple[str, ...]:
    known: set[str] = set()
    for path in _task_files(folder):
        try:
            known.update(_names_in(_said(path), known))
        except (OSError, ValueError, yaml.YAMLError):  # the harness passes over it as well
            continue
    return tuple(sorted(known))


def _own_folder() -> Path:
    spec = find_spec("lm_eval")
    assert spec is not None, "asked for where the harness is installed"
    assert spec.origin is not None, spec
    return Path(spec.origin).parent / "tasks"


def _task_files(folder: str) -> list[str]:
    """In the harness's order: of two tasks of one name the first counts, with its tags."""
    found: list[str] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_READ]
        found += [os.path.join(root, name) for name in names if name.endswith(".yaml")]
    return sorted(found)


def _names_in(said: Said, known: set[str]) -> Iterator[str]:
    """Those that a file adds."""
    is_group = "group" in said and "class" not in said
    name = said.get("group" if is_group else "task")
    if not isinstance(name, str) or name in known:
        return
    yield name
    tags = said.get("tag")
    if tags and not is_group:
        yield from tags if isinstance(tags, list) else [tags]


def _said(path: str, above: tuple[str, ...] = ()) -> Said:
    """Of a file with what it includes, over which its own words win. Raises ValueError, YAMLError,
    OSError."""
    if path in above:
        raise ValueError(f"{path} includes itself")
    own = dict(_said_alone(path))
    includes = own.pop("include", [])
    merged: dict[str, Any] = {}
    for one in includes if isinstance(includes, list) else [includes]:
        included = os.path.realpath(os.path.join(os.path.dirname(path), one))
        merged |= _said(included, (*above, path))
    return merged | own


@cache
def _said_alone(path: str) -> Said:
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    lines = _LINE.findall(text)
    said = {key: _value(value) for key, value in lines}
    if lines and len(said) == len(lines) and None not in said.values():
        return said
    parsed = yaml.load(text, Loader=_Loader)  # safe, and passes over functions
    if not isinstance(parsed, dict):
        raise ValueError(f"{path} is no task file")
    return {key: parsed[key] for key in _KEYS if key in parsed}


def _value(text: str) -> str | list[str] | None:
    """None for what only a parser can tell."""
    text = text.partition(" #")[0]
    if (plain := _PLAIN.fullmatch(text)) and plain[1].lower() not in _WORDS_OF_YAML:
        return plain[1]
    if quoted := _QUOTED.fullmatch(text):
        return quoted[2]
    if items := _ITEMS.fullmatch(text):
        return [line.strip().removeprefix("-").strip() for line in items[1].split("\n")[1:]]
    return None
