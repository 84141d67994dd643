"""The study file: what it may say, and how it is read.

A study is YAML with every scalar as text, like a run's configuration. Its `defaults` are a fragment
of `RunConfig`; each phase changes some fields of it by dotted key. A value given by a dotted key
replaces whatever stands there, sub-fields included, so that `schedule: {kind: linear, ...}` leaves
nothing of a cosine behind.

Budgets are written as in the paper that the study follows, and `token_scale` multiplies every field
that is a number of tokens, so that the same file runs at any size.

A study may extend others (`extends: FILE`, or a list of them, at its top): `study/extending.py`
says how they are laid on one another.
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, PrivateAttr, WithJsonSchema

from megatron_codemix.config.loader import build_section, load_tree, resolve_extends
from megatron_codemix.config.problems import field_paths, suggestion
from megatron_codemix.config.schema import PositiveTokens, RunConfig, Section
from megatron_codemix.config.tree import Tree, parse_override, set_at, where_of
from megatron_codemix.errors import ConfigError
from megatron_codemix.study.data_paths import (
    absolute_data,
    absolute_paths,
    absolute_settings,
    data_root_of,
)
from megatron_codemix.study.evaluation import EvaluationSpec
from megatron_codemix.study.extending import is_covered, lay_study, leaf_paths
from megatron_codemix.study.token_scale import MAX_SCALE

_ORIGIN = re.compile(r"(paper,? .+|inferred)(: .+)?")

_FILE_NAME = "[A-Za-z0-9][A-Za-z0-9_.+-]*"


def _require_file_name(value: str) -> str:
    if re.fullmatch(_FILE_NAME, value) is None:
        raise ValueError(
            "a name becomes part of a path: letters, digits and _ . + - alone, with a letter or "
            f"digit first, got {value!r}"
        )
    return value


FileName = Annotated[
    str,
    AfterValidator(_require_file_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_FILE_NAME}$"}),
]
"""A name that becomes part of a path."""

# Keys are Any, not str: pydantic would turn keys that know their line in the file into plain text.
Settings = dict[Any, Any]


class ParentSpec(Section):
    """The phase whose final checkpoint another starts from."""

    phase: str
    """Name of the parent phase."""
    load: Literal["weights", "weights+optimizer"]
    """What is taken over: a scientific choice, so it has no default."""
    at_tokens: PositiveTokens | None = None
    """Start from the checkpoint after so many of the parent's tokens, which it must keep
    (`checkpoint.keep_every_tokens`); absent: from its last."""


class PhaseSpec(Section):
    """One training: the defaults with some fields replaced."""

    init_from: ParentSpec | None = None
    """The parent; absent: weights from the seed."""
    set: Settings = {}
    """Dotted key of the run configuration -> value."""


class CompareSpec(Section):
    """What the variants are compared with."""

    baseline: str
    """Variant that relative changes refer to: (x - baseline) / baseline."""


class RepeatsSpec(Section):
    """What of this study repeats a published figure, so that the report can set the paper's values
    beside ours."""

    rows: Annotated[dict[str, str], Field(min_length=1)]
    """Variant -> row of the figure. What the figure has besides is reported as not run."""
    cells: dict[str, str] = {}
    """Point of the matrix, without its seed -> model of the figure. Absent: every point repeats its
    only one; a figure with several needs it."""


class StudySpec(Section):
    """A study, as the user wrote it (after the command line's changes)."""

    name: FileName
    """Name of the study; its default place is runs/<name>."""
    token_scale: Annotated[Decimal, Field(gt=0, le=MAX_SCALE)] = Decimal(1)
    """Multiplies every number of tokens in `defaults`, `axes` and `phases`."""
    world_size: PositiveInt
    """Processes that train one phase."""
    data_root: Path | None = None
    """Folder that `{data}` stands for in paths; relative to the study file. The command line's
    --data goes first."""
    source_tokens: dict[str, PositiveTokens] | None = None
    """Tokens that there are of a source where its shard is not: what the epochs of `study plan` and
    a source's `max_epochs` are counted with until it is prepared. Facts, which `token_scale` leaves
    alone; absent: nothing is known before."""
    gpu: str | None = None
    """Kind of GPU that `study plan` works out memory, time and cost for where no --gpu is given;
    absent: none."""
    defaults: Settings
    """Run configuration common to all phases; may hold `extends: FILE`, relative to the file that
    says so."""
    matrix: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    """Axis -> values. The study is repeated at every point; relative changes stay within a
    point."""
    axes: dict[str, dict[str, Settings]] = {}
    """Axis -> value -> dotted keys to set. An axis that is not here is itself a dotted key
    (`train.seed`)."""
    phases: Annotated[dict[FileName, PhaseSpec], Field(min_length=1)]
    """The trainings, by name."""
    variants: Annotated[dict[str, str], Field(min_length=1)]
    """Name to show -> last phase of the chain."""
    compare: CompareSpec
    """The comparison."""
    evaluation: EvaluationSpec
    """The measurements."""
    published: dict[str, RepeatsSpec] = {}
    """Published figure (`paper_a/proportion`) -> what repeats it. Decides nothing that is
    learned."""
    origin: dict[str, str] = {}
    """Path in this file -> where the value is from: `paper <section>` or `inferred`, with an
    optional `: reason`."""
    _places: dict[str, str] = PrivateAttr(default_factory=dict)
    _options: str = PrivateAttr(default="")

    @property
    def options(self) -> str:
        """What the command line has changed of the file, in its words: `--scale 0.1 --set
        train.seed=2`."""
        return self._options

    def at(self, path: str) -> str:
        """`study.yaml:12: ` + path, where the file's line is known."""
        place = self._places.get(path)
        return f"{place}: {path}" if place else path

    def nearest_place(self, path: str) -> str:
        """`study.yaml:12` of `path`, or of the innermost section around it; "" where none stands
        in a file."""
        while path and path not in self._places:
            path = path.rpartition(".")[0]
        return self._places.get(path, "")

    def places(self) -> Collection[str]:
        """Of everything but `defaults`, which know theirs."""
        return self._places.values()


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
    tree = _apply_overrides(tree, overrides, problems)
    origin = tree.pop("origin", None)
    spec = _build_spec(tree, path, problems)
    defaults = resolve_extends(spec.defaults, _folder_of_extends(spec.defaults, path))
    inherited = defaults.pop("origin", None)
    root = data_root_of(spec.data_root, path.parent, data_root)
    origins = {
        **{f"defaults.{key}": text for key, text in _mapping(inherited).items()},
        **_mapping(origin),
    }
    problems = _origin_problems(origins, {**tree, "defaults": defaults})
    if problems:
        raise ConfigError(problems)
    spec._places = dict(_places(tree))
    spec._options = _options(scale, overrides)
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


def _apply_overrides(tree: Tree, overrides: Sequence[str], problems: list[str]) -> Tree:
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
    way, rest, node = list[str](), path.split("."), _mapping(tree)
    while rest:
        keys = {size: ".".join(rest[:size]) for size in range(len(rest), 0, -1)}
        new = len(rest) if _holds_settings(way) else 1
        size = next((size for size, key in keys.items() if key in node), new)
        way.append(keys[size])
        rest, node = rest[size:], _mapping(node.get(keys[size]))
    return way


def _holds_settings(way: Sequence[str]) -> bool:
    """Whether a section of the study file has dotted keys of the run configuration."""
    match way:
        case ["matrix"] | ["phases", _, "set"] | ["axes", _, _]:
            return True
    return False


def _setters(tree: Tree) -> list[tuple[str, str]]:
    """(place, dotted key) of everything that phases and axes set."""
    axes = _mapping(tree.get("axes"))
    found = [(f"matrix.{axis}", axis) for axis in _mapping(tree.get("matrix")) if axis not in axes]
    for name, phase in _mapping(tree.get("phases")).items():
        found += [(f"phases.{name}", key) for key in _mapping(_mapping(phase).get("set"))]
    for axis, values in axes.items():
        for value, fragment in _mapping(values).items():
            found += [(f"axes.{axis}.{value}", key) for key in _mapping(fragment)]
    return found


def _mapping(value: Any) -> Mapping[str, Any]:  # Any: a tree that is not checked yet
    return value if isinstance(value, Mapping) else {}
