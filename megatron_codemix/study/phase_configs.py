"""The points of a study's matrix, and the configuration of each phase at one."""

import itertools
from collections.abc import Iterator, Mapping

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.loader import build_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import Key, Tree, set_dotted, where_of
from megatron_codemix.errors import ConfigError
from megatron_codemix.study.evaluation import evaluation_problems
from megatron_codemix.study.node import SINGLE_CELL
from megatron_codemix.study.spec import PhaseSpec, StudySpec
from megatron_codemix.study.token_scale import scale_tokens


def matrix_points(spec: StudySpec) -> Iterator[tuple[str, dict[str, str]]]:
    """(cell, axis -> value); a value of a dotted key is shown with the key's last part:
    `train.seed: 1` is seed1."""
    for values in itertools.product(*spec.matrix.values()):
        point = dict(zip(spec.matrix, values, strict=True))
        parts = [v if a in spec.axes else a.rpartition(".")[2] + v for a, v in point.items()]
        yield ".".join(parts).replace("/", "-") or SINGLE_CELL, point


def phase_config(spec: StudySpec, cell: str, point: Mapping[str, str], name: str) -> RunConfig:
    """The configuration of one phase. Raises ConfigError with all problems."""
    config = build_run_config(phase_tree(spec, point, spec.phases[name], cell), "")
    problems = check_config(config) + check_layout(config, spec.world_size)
    problems += evaluation_problems(spec.evaluation, config)
    if problems:
        raise ConfigError(problems)
    return config


def phase_tree(spec: StudySpec, point: Mapping[str, str], phase: PhaseSpec, cell: str) -> Tree:
    """The defaults with what the matrix and the phase set, tokens scaled. Raises ConfigError."""
    tree: Tree = spec.defaults
    for axis, value in point.items():
        own = Key(axis, spec.nearest_place(f"matrix.{axis}"))
        fragment = spec.axes[axis][value] if axis in spec.axes else {own: value}
        for key, setting in fragment.items():
            tree = set_dotted(tree, key, setting, where=where_of(key))
    for key, setting in phase.set.items():
        tree = set_dotted(tree, key, setting, where=where_of(key))
    if "init_from" in tree:
        place = next(where_of(key) for key in tree if key == "init_from")
        raise ConfigError(
            [f"{place}: init_from belongs beside a phase's `set`, not in it or in `defaults`"]
        )
    if phase.init_from is not None:
        origin = {"run": f"{cell}/{phase.init_from.phase}", "load": phase.init_from.load}
        if phase.init_from.at_tokens is not None:
            origin["at_tokens"] = str(phase.init_from.at_tokens)
        tree = {**tree, "init_from": origin}
    return scale_tokens(tree, spec.token_scale)
