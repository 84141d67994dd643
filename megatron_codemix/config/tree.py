"""A configuration before it has types: nested dicts, scalars as text, keys that know their line.

YAML decides the structure and nothing else. PyYAML's own rules are a trap here: they read `3e-4` as
a string, `no` as False and `12:30:00`, a SLURM time limit, as the integer 45000. So every scalar
stays text until its field types it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from megatron_codemix.errors import ConfigError

Tree = dict[str, Any]
"""Values are str, None, list or Tree (Python has no handy recursive type for it)."""

# Plain forms of "absent"; the same words in quotes are text.
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# BaseLoader leaves scalars as text; libyaml's is faster, and missing from some builds of PyYAML.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
# What a node without a written tag has, under BaseLoader.
_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
# These mappings are one value: weights of two files, merged key by key, would not sum to 1.
_REPLACED_WHOLE = frozenset({"weights", "start", "end", "varying", "others"})


class Key(str):
    """A key that remembers where it was given, such as `run.yaml:12`; otherwise a plain string."""

    __slots__ = ("where",)
    where: str

    def __new__(cls, text: str, where: str = "") -> "Key":
        key = super().__new__(cls, text)
        key.where = where
        return key


def where_of(key: str) -> str:
    """Place at which `key` was given; "" if it was not read from anywhere."""
    return key.where if isinstance(key, Key) else ""


def nearest_place(tree: Mapping[str, Any], path: str) -> str:  # Any: values of a Tree
    """Place of the value at `path`, or of the innermost section on the way to it; "" where nothing
    of it was given in a file."""
    node: Any = tree
    place = ""
    for part in path.split("."):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            place = next(where_of(key) for key in node if key == part) or place
            node = node[part]
        else:
            break
    return place


def read_yaml(path: Path, problems: list[str]) -> Tree:
    """The mapping in a file, its keys being `Key`s; adds what is wrong with it to `problems`."""
    name = os.path.normpath(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problems.append(f"{name}: not UTF-8 text (byte {error.start})")
        return {}
    except OSError as error:
        problems.append(f"{name}: cannot be read ({error.strerror})")
        return {}
    value = parse_yaml(text, name, problems)
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.append(f"{name}:1: expected lines of 'key: value', got {describe(value)}")
        return {}
    return value


def parse_yaml(
    text: str, name: str, problems: list[str], *, has_lines: bool = True
) -> Any:  # Any: a value of a Tree
    """The value in `text`; `name`, with the line if it has lines, stands for it in problems."""

    def place(mark: yaml.Mark | None) -> str:
        return f"{name}:{mark.line + 1}" if mark and has_lines else name

    try:
        node = yaml.compose(text, Loader=_LOADER)
        return None if node is None else _Reader(place, problems).read(node, "")
    except yaml.MarkedYAMLError as error:
        at = place(error.problem_mark or error.context_mark)
        problems.append(f"{at}: not valid YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        problems.append(f"{name}: not valid YAML: {' '.join(str(error).split())}")
    except RecursionError:
        problems.append(f"{name}: nested too deeply")
    return None


class _Reader:
    """Turns YAML nodes into a tree; collects problems instead of stopping at the first."""

    def __init__(self, place: Callable[[yaml.Mark], str], problems: list[str]) -> None:
        self.place = place
        self.problems = problems
        self.seen: set[int] = set()

    def read(self, node: yaml.Node, path: str) -> Any:  # Any: a value of a Tree
        if id(node) in self.seen:
            self.complain(node, path, "YAML aliases (*name) are not supported; use 'extends:'")
            return None
        self.seen.add(id(node))
        if node.tag not in _TAGS:
            self.complain(node, path, f"YAML tags ({node.tag}) are not supported")
        if isinstance(node, yaml.ScalarNode):
            is_plain = not node.style  # None, or "" from libyaml
            return None if is_plain and node.value in _NULLS else str(node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        return self.read_mapping(node, path)

    def read_mapping(self, node: Any, path: str) -> Tree:  # Any: yaml.MappingNode, untyped inside
        tree: Tree = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain(key_node, path, "a key must be a word")
                continue
            key = Key(key_node.value, self.place(key_node.start_mark))
            child = f"{path}.{key}" if path else key
            if key in tree:
                self.complain(key_node, child, "given twice")
            tree[key] = self.read(value_node, child)
        return tree

    def complain(self, node: yaml.Node, path: str, message: str) -> None:
        prefix = f"{self.place(node.start_mark)}: "
        self.problems.append(prefix + (f"{path}: " if path else "") + message)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:  # Any: values of a Tree
    """`over` laid on `base`, section by section; neither is changed.

    Two mappings are merged, with two exceptions where `over` replaces: `weights`, which are one
    value, and a section whose `kind` differs, because the other kind's fields mean nothing in it.
    Origins of values that `over` sets anew are dropped.
    """
    kept = dict(base)
    if isinstance(base.get("origin"), dict):
        stale = {path for path in base["origin"] if _is_set(over, path)}
        kept["origin"] = {path: text for path, text in base["origin"].items() if path not in stale}
    return _merge(kept, over)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    newest_key = {key: key for key in over}
    merged: Tree = {newest_key.get(key, key): value for key, value in base.items()}
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _replaces(key, old, value):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _replaces(key: str, old: Tree, new: Tree) -> bool:
    kinds = [_kind(section) for section in (old, new)]
    return key in _REPLACED_WHOLE or (None not in kinds and kinds[0] != kinds[1])


def _kind(section: Tree) -> str | None:
    """Which member of a tagged union a section is; weights alone are a constant mixture."""
    implied = "constant" if "weights" in section else None
    return section.get("kind", implied)


def _is_set(tree: Mapping[str, Any], path: str) -> bool:
    node: Any = tree
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return not isinstance(node, dict)


def is_given(tree: Mapping[str, Any], path: str) -> bool:  # Any: values of a Tree
    """Whether anything stands at `path`, or a value on the way to it."""
    node: Any = tree
    for part in path.split("."):
        if not isinstance(node, dict):
            return node is not None
        if part not in node:
            return False
        node = node[part]
    return node is not None


def set_dotted(tree: Mapping[str, Any], path: str, value: Any, where: str = "") -> Tree:
    """A copy of `tree` with exactly `value` at `path`, such as `train.seed`.

    Sections on the way are made if absent. Raises ConfigError if one of them is a value.
    where: stands for the setting in later problems; by default, where the key `path` was read.
    """
    return set_at(tree, path.split("."), value, where or where_of(path))


def set_at(tree: Mapping[str, Any], parts: Sequence[str], value: Any, place: str) -> Tree:
    """As `set_dotted`; the parts of the path may hold dots themselves."""
    path = ".".join(parts)
    if not all(parts):
        raise ConfigError([f"{place or 'override'}: {path!r} is not a field path like train.seed"])
    root = dict(tree)
    if isinstance(root.get("origin"), dict):
        root["origin"] = {field: text for field, text in root["origin"].items() if field != path}
    section = root
    for depth, part in enumerate(parts[:-1], start=1):
        child = section.get(part)
        if child is not None and not isinstance(child, dict):
            at = ".".join(parts[:depth])
            raise ConfigError([f"{place or path}: {at} is a value, not a section"])
        section[part if part in section else Key(part, place)] = child = dict(child or {})
        section = child
    section.pop(parts[-1], None)  # the old key would keep its old position
    section[Key(parts[-1], place)] = value
    return root


def parse_override(text: str, problems: list[str], where: str = "") -> tuple[str, Any] | None:
    """`train.seed=3` -> ("train.seed", "3"); `{`, `[` or a quote opens YAML. where: stands for it
    in problems, also in those of the YAML's keys."""
    place = where or f"override {text!r}"
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        problems.append(f"{place}: expected key=value, such as train.seed=3")
        return None
    path, value = path.strip(), value.strip()
    if value[:1] in ("{", "[", '"', "'"):
        return path, parse_yaml(value, place, problems, has_lines=False)
    return path, None if value in _NULLS else value


def describe(value: Any) -> str:  # Any: a value of a Tree
    """How a problem names what it got."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    text = repr(str(value))
    return text if len(text) <= 60 else f"{text[:56]}...'"
