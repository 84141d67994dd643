"""A study file laid on another, which its `extends:` names: a size on a study, a study on what all
studies of a paper have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from megatron_codemix.config.tree import Tree, merge

_NAMED = ("phases", "variants", "matrix", "axes", "source_tokens", "published")
"""Sections whose keys are names that the study gives."""


def lay_study(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:  # Any: values of a Tree
    """`over` laid on `base`; neither is changed. As files of a run configuration are laid on one
    another, with three differences:

    - What a phase or an axis sets by dotted key is replaced whole, together with what the base sets
      below that key; so weights, or another schedule, leave nothing of the base's behind.
    - A name without a value (`code-and-adjacent: ~`) takes out what the base has there: a section,
      a phase, a variant, an axis or one of its values, a source, a published figure or one of its
      rows or cells. Where the base has none, the empty value stays, for the schema to refuse.
    - Origins of values that `over` replaces or takes out are dropped.
    """
    laid = merge(base, over)
    for path in _settings_in_both(base, over):
        own = _at(over, path)
        kept = {key: value for key, value in _at(base, path).items() if not _is_under(key, own)}
        _set(laid, path, {**kept, **own})
    for path in _removed(base, over):
        _set(laid, path, None)
    return _with_live_origins(laid, base, over)


def leaf_paths(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted path of every value in a tree that is not a section; keys that hold dots stay as they
    are."""
    paths: list[str] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            paths += leaf_paths(value, f"{prefix}{key}.")
        else:
            paths.append(f"{prefix}{key}")
    return paths


def is_covered(leaf: str, path: str) -> bool:
    """Whether a value lies at `path` or below it."""
    return leaf == path or leaf.startswith(f"{path}.")


def _settings_in_both(base: Mapping[str, Any], over: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Places of the settings by dotted key that both files have."""
    phases = [("phases", name, "set") for name in _section(over, "phases")]
    axes = [
        ("axes", axis, value)
        for axis in _section(over, "axes")
        for value in _section(over, "axes", axis)
    ]
    return [
        path
        for path in (*phases, *axes)
        if isinstance(_at(base, path), Mapping) and isinstance(_at(over, path), Mapping)
    ]


def _is_under(key: str, settings: Mapping[str, Any]) -> bool:
    return any(is_covered(key, other) for other in settings)


def _removed(base: Mapping[str, Any], over: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Places that `over` empties and `base` fills. Within run configurations nothing is a value
    (`clip_grad_norm: null`), except in place of a source."""
    paths: list[tuple[str, ...]] = [(key,) for key in over]
    paths += [(section, name) for section in _NAMED for name in _section(over, section)]
    for axis in _section(over, "axes"):
        paths += [("axes", axis, value) for value in _section(over, "axes", axis)]
    for figure in _section(over, "published"):
        paths += [
            ("published", figure, section, name)
            for section in ("rows", "cells")
            for name in _section(over, "published", figure, section)
        ]
    sources = ("defaults", "data", "sources")
    paths += [(*sources, name) for name in _section(over, *sources)]
    return [path for path in paths if _at(over, path) is None and _at(base, path) is not None]


def _with_live_origins(laid: Tree, base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """`laid` without the base's origins of what is no longer the base's, or no longer there."""
    old, new = _section(base, "origin"), _section(over, "origin")
    if not old:
        return laid
    given, before, after = leaf_paths(over), leaf_paths(base), leaf_paths(laid)

    def is_stale(path: str) -> bool:
        # What a file of the defaults gives (`defaults: {extends: ...}`) is in neither.
        is_gone = _has(before, path) and not _has(after, path)
        return path in given or is_gone

    kept = {path: text for path, text in old.items() if path not in new and not is_stale(path)}
    return {**laid, "origin": {**kept, **new}}


def _has(leaves: Sequence[str], path: str) -> bool:
    return any(is_covered(leaf, path) for leaf in leaves)


def _section(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    found = _at(tree, path)
    return found if isinstance(found, Mapping) else {}


def _at(tree: Mapping[str, Any], path: Sequence[str]) -> Any:  # Any: a value of a Tree
    node: Any = tree
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _set(tree: Tree, path: Sequence[str], value: Any) -> None:  # Any: a value of a Tree
    """Puts `value` at a place that exists, without a change to what other trees share; None takes
    it out."""
    *way, last = path
    section = tree
    for part in way:
        child = dict(section[part])
        section[part] = child
        section = child
    if value is None:
        del section[last]
    else:
        section[last] = value
