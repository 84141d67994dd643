"""`--set KEY=VALUE` of a study: a key of the study file itself, or of its `defaults`."""

from collections.abc import Mapping, Sequence
from typing import Any

from megatron_codemix.config.problems import field_paths, suggestion
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import Tree, parse_override, set_at
from megatron_codemix.errors import ConfigError
from megatron_codemix.study.spec import StudySpec


def apply_overrides(tree: Tree, overrides: Sequence[str], problems: list[str]) -> Tree:
    """The study file's tree with each `key=value` in its place; adds to `problems`."""
    for text in overrides:
        where = f"--set {text}"
        setting = parse_override(text, problems, where)
        if setting is None:
            continue
        key, value = setting
        head = key.partition(".")[0]
        is_run_key = head in RunConfig.model_fields
        if not is_run_key and head not in StudySpec.model_fields:
            known = [*field_paths(StudySpec), *field_paths(RunConfig)]
            problems.append(
                f"{where}: neither a key of a study file nor of a run configuration"
                + suggestion(key, known, known)
            )
            continue
        if is_run_key:
            problems += [
                f"{where}: no effect, because {place} sets {setter} itself; change the study file"
                for place, setter in _setters(tree)
                if key == setter or key.startswith(f"{setter}.")
            ]
        try:
            tree = set_at(tree, _way(tree, f"defaults.{key}" if is_run_key else key), value, where)
        except ConfigError as error:
            problems += error.problems
    return tree


def _way(tree: Tree, path: str) -> list[str]:
    """`phases.cool.set.train.train_tokens` -> the four keys that lead to this setting. A key of the
    tree may hold dots: the longest that stands there counts, and what settings by dotted key do not
    have yet is one key."""
    way, rest, node = list[str](), path.split("."), as_mapping(tree)
    while rest:
        keys = {size: ".".join(rest[:size]) for size in range(len(rest), 0, -1)}
        new = len(rest) if _holds_settings(way) else 1
        size = next((size for size, key in keys.items() if key in node), new)
        way.append(keys[size])
        rest, node = rest[size:], as_mapping(node.get(keys[size]))
    return way


def _holds_settings(way: Sequence[str]) -> bool:
    """Whether a section of the study file has dotted keys of the run configuration."""
    match way:
        case ["matrix"] | ["phases", _, "set"] | ["axes", _, _]:
            return True
    return False


def _setters(tree: Tree) -> list[tuple[str, str]]:
    """(place, dotted key) of everything that phases and axes set."""
    axes = as_mapping(tree.get("axes"))
    found = [
        (f"matrix.{axis}", axis) for axis in as_mapping(tree.get("matrix")) if axis not in axes
    ]
    for name, phase in as_mapping(tree.get("phases")).items():
        found += [(f"phases.{name}", key) for key in as_mapping(as_mapping(phase).get("set"))]
    for axis, values in axes.items():
        for value, fragment in as_mapping(values).items():
            found += [(f"axes.{axis}.{value}", key) for key in as_mapping(fragment)]
    return found


def as_mapping(value: Any) -> Mapping[str, Any]:  # Any: a tree that is not checked yet
    """`value`; what is no section of a file has nothing in it."""
    return value if isinstance(value, Mapping) else {}
