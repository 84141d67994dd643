"""A study file into its `StudySpec`: what it extends, what the command line changes, its paths."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from megatron_codemix.config.loader import build_section, load_tree, resolve_extends
from megatron_codemix.config.problems import suggestion
from megatron_codemix.config.tree import Tree, where_of
from megatron_codemix.errors import ConfigError
from megatron_codemix.study.data_paths import (
    absolute_data,
    absolute_paths,
    absolute_settings,
    data_root_of,
)
from megatron_codemix.study.extending import is_covered, lay_study, leaf_paths
from megatron_codemix.study.overrides import apply_overrides, as_mapping
from megatron_codemix.study.spec import Settings, StudySpec

_ORIGIN = re.compile(r"(paper,? .+|inferred)(: .+)?")


def load_study(
    path: Path,
    *,
    data_root: Path | None = None,
    scale: Decimal | None = None,
    overrides: Sequence[str] = (),
) -> StudySpec:
    """The study in `path`, with paths made absolute.

    data_root: what `{data}` stands for; goes before the file's `data_root`.
    scale: multiplies the file's `token_scale`.
    overrides: `key=value`; a key of the study file itself (`world_size`,
        `evaluation.heldout.world_size`) or of the
        run configuration (`train.global_batch_sequences`), which then changes `defaults`.

    Raises ConfigError with all problems found.
    """
    problems: list[str] = []
    tree = load_tree(path, lay_study)
    if {"model", "tokenizer"} <= set(tree) and "phases" not in tree:
        raise ConfigError(
            [f"{path}: is a run configuration, and a study is wanted; 'codemix train' takes it"]
        )
    tree = apply_overrides(tree, overrides, problems)
    origin = tree.pop("origin", None)
    spec = _build_spec(tree, path, problems)
    defaults = resolve_extends(spec.defaults, _folder_of_extends(spec.defaults, path))
    inherited = defaults.pop("origin", None)
    root = data_root_of(spec.data_root, path.parent, data_root)
    origins = {
        **{f"defaults.{key}": text for key, text in as_mapping(inherited).items()},
        **as_mapping(origin),
    }
    problems = _origin_problems(origins, {**tree, "defaults": defaults})
    if problems:
        raise ConfigError(problems)
    spec.note_source(dict(_places(tree)), _options(scale, overrides))
    return spec.model_copy(
        update={
            **_with_paths(spec, defaults, root, path.parent),
            "token_scale": spec.token_scale * (Decimal(1) if scale is None else scale),
            "origin": origins,
        }
    )


def _options(scale: Decimal | None, overrides: Sequence[str]) -> str:
    words = [] if scale is None else ["--scale", f"{scale.normalize():f}"]
    return shlex.join([*words, *(word for text in overrides for word in ("--set", text))])


def _with_paths(
    spec: StudySpec, defaults: Tree, root: Path | None, folder: Path
) -> dict[str, Any]:  # Any: fields of the study
    """The fields that hold paths, with these made absolute."""
    phases = {
        name: phase.model_copy(update={"set": absolute_settings(phase.set, root, folder)})
        for name, phase in spec.phases.items()
    }
    axes = {
        axis: {value: absolute_settings(some, root, folder) for value, some in values.items()}
        for axis, values in spec.axes.items()
    }
    return {
        "defaults": absolute_paths(defaults, root, folder),
        "phases": phases,
        "axes": axes,
        "evaluation": absolute_data(spec.evaluation, folder),
        "data_root": root,
    }


def _build_spec(tree: Tree, path: Path, problems: list[str]) -> StudySpec:
    """The typed study file. Raises ConfigError with `problems` and those of the file."""
    try:
        spec = build_section(StudySpec, tree, str(path))
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    if problems:
        raise ConfigError(problems)
    return spec


def _folder_of_extends(defaults: Settings, path: Path) -> Path:
    """Folder of the file that `defaults.extends` stands in, which may be one that the study
    extends."""
    place = next((where_of(key) for key in defaults if key == "extends"), "")
    file = Path(place.rpartition(":")[0])
    return file.parent if place and file.is_file() else path.parent


def _places(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path in the study file, place) of every key that has a line; run configurations know
    theirs."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if where_of(key):
            yield path, where_of(key)
        if isinstance(value, Mapping) and path != "defaults":
            yield from _places(value, f"{path}.")


def _origin_problems(origin: Mapping[str, Any], tree: Mapping[str, Any]) -> list[str]:
    leaves = leaf_paths(tree)
    problems = []
    for path, text in origin.items():
        place = f"{where_of(path)}: origin: {path}: ".removeprefix(": ")
        if not any(is_covered(leaf, path) for leaf in leaves):
            problems.append(f"{place}the study sets no such field{suggestion(path, leaves)}")
        if not isinstance(text, str) or not _ORIGIN.fullmatch(text):
            problems.append(
                f"{place}expected 'paper SECTION' or 'inferred', then perhaps ': REASON'"
            )
    return problems
