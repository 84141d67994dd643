"""Phases of a study at every point of its matrix: configurations, order, identities, run
directories."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.identity import run_identity
from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.loader import build_run_config
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.plan import RunPlan, make_plan
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import Tree, set_dotted, where_of
from megatron_codemix.data.mixture.caps import plan_mixture, source_states
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.chains import chain_problems, cursors_before
from megatron_codemix.study.consistency import (
    check_matrix,
    check_names,
    check_source_tokens,
    phase_order,
)
from megatron_codemix.study.evaluation import evaluation_problems
from megatron_codemix.study.inventory import Inventory
from megatron_codemix.study.node import SINGLE_CELL, PhaseNode
from megatron_codemix.study.spec import PhaseSpec, StudySpec
from megatron_codemix.study.token_scale import scale_tokens
from megatron_codemix.study.twins import twin_problems


@dataclass(frozen=True, kw_only=True)
class StudyTree:
    """All phases, parents before children."""

    spec: StudySpec
    points: dict[str, dict[str, str]]
    """Cell -> axis -> value."""
    nodes: dict[str, PhaseNode]
    """`cell/phase` -> phase."""
    inventory: Inventory = field(default_factory=Inventory)
    """Data files that were looked up for the identities."""

    @property
    def cells(self) -> list[str]:
        return list(self.points)

    def chain(self, node: PhaseNode) -> list[PhaseNode]:
        """From the root to `node`."""
        chain = [node]
        while chain[0].parent is not None:
            chain.insert(0, self.nodes[f"{node.cell}/{chain[0].parent}"])
        return chain

    def variant(self, cell: str, name: str) -> list[PhaseNode]:
        """The phases of variant `name` in `cell`, from the root on."""
        return self.chain(self.nodes[f"{cell}/{self.spec.variants[name]}"])

    def plan(self, node: PhaseNode) -> RunPlan:
        """Steps and tokens of `node` on the study's world size."""
        return make_plan(node.config, self.spec.world_size)

    def run_directory(self, out: Path, node: PhaseNode) -> RunDirectory:
        """Where `node` lives below `out`. Raises RunError while its identity is unknown."""
        if node.identity is None:
            missing = "; ".join(self.inventory.missing)
            raise RunError(
                f"phase {node.name!r} has no run directory before its data exists: {missing}"
            )
        return RunDirectory(out.absolute() / node.cell / f"{node.name}-{node.identity[:8]}")

    def resolved_config(self, out: Path, node: PhaseNode) -> RunConfig:
        """The complete configuration of `node`, its parent's run directory filled in."""
        if node.parent is None or node.config.init_from is None:
            return node.config
        parent = self.run_directory(out, self.nodes[f"{node.cell}/{node.parent}"])
        init_from = node.config.init_from.model_copy(update={"run": parent.path})
        return node.config.model_copy(update={"init_from": init_from})


def expand(spec: StudySpec) -> StudyTree:
    """The study's phases, without identities: needs no data. Raises ConfigError with all problems
    found."""
    matrix_problems = check_matrix(spec)
    problems = [*check_names(spec), *matrix_problems]
    order = phase_order(spec, problems) or list(spec.phases)
    if matrix_problems:  # without its points, phases lack what the matrix sets
        raise ConfigError(problems)
    found: dict[str, list[str]] = {}  # problem -> phases that have it
    points = dict(_matrix_points(spec))
    nodes: dict[str, PhaseNode] = {}
    for cell, point in points.items():
        for name in order:
            config = _phase_config(spec, cell, point, name, found)
            if config is not None:
                init_from = spec.phases[name].init_from
                node = PhaseNode(
                    cell=cell,
                    name=name,
                    config=config,
                    identity=None,
                    parent=init_from.phase if init_from else None,
                )
                nodes[node.key] = node
    problems += [_for_phases(problem, keys, spec, points) for problem, keys in found.items()]
    if problems:
        raise ConfigError(problems)
    problems = check_source_tokens(spec, [node.config for node in nodes.values()])
    tree = StudyTree(spec=spec, points=points, nodes=nodes)
    chains: dict[str, list[str]] = {}
    for node in nodes.values():
        for problem in chain_problems(tree.chain(node)):
            chains.setdefault(problem, []).append(node.key)
    problems += [_for_phases(problem, keys, spec, points) for problem, keys in chains.items()]
    problems += twin_problems(spec, nodes, lambda: _unscaled(spec, points, nodes))
    if problems:
        raise ConfigError(problems)
    return tree


def identify(tree: StudyTree, *, is_trained: bool = True) -> StudyTree:
    """`tree` with the identity of each phase whose data is there; `inventory.missing` names what is
    not. is_trained: whether the models have to fit the tokenizer; not for a look at the data alone.

    Raises ConfigError where shards and tokenizer do not fit, DataError where a file is damaged.
    """
    inventory = Inventory(tree.spec.source_tokens)
    problems = dict.fromkeys(
        problem
        for node in tree.nodes.values()
        for problem in inventory.check_fit(node.config, is_trained=is_trained)
    )
    if problems:
        raise ConfigError(list(problems))
    tokens = {key: inventory.num_tokens(node.config) for key, node in tree.nodes.items()}
    nodes: dict[str, PhaseNode] = {}
    for key, node in _with_mixtures(tree, tokens).items():
        nodes[key] = _identified(node, nodes, inventory)
    return replace(tree, nodes=nodes, inventory=inventory)


def check_stated_tokens(tree: StudyTree) -> None:
    """Raises ConfigError where the tokens that the study states do not last for its budgets: a
    source reaches its `max_epochs`, and nobody takes over. Looks at no data."""
    stated = tree.spec.source_tokens or {}
    _with_mixtures(tree, dict.fromkeys(tree.nodes, stated))


def _with_mixtures(
    tree: StudyTree, tokens: Mapping[str, Mapping[str, int]]
) -> dict[str, PhaseNode]:
    """The phases with their mixtures' plans, with regard to the caps of sources whose tokens are
    known. tokens: phase -> source -> tokens.

    Raises ConfigError with every cap that cannot be kept.
    """
    done: dict[str, PhaseNode] = {}
    found: dict[str, list[str]] = {}  # problem -> phases that have it
    for key, node in tree.nodes.items():
        try:
            mixture = _planned(node, done, tokens[key])
        except ConfigError as error:
            for problem in error.problems:
                found.setdefault(problem, []).append(key)
            mixture = plan_mixture(node.config)
        done[key] = replace(node, mixture=mixture)
    if found:
        raise ConfigError(
            [_for_phases(problem, keys, tree.spec, tree.points) for problem, keys in found.items()]
        )
    return done


def _planned(
    node: PhaseNode, done: Mapping[str, PhaseNode], tokens: Mapping[str, int]
) -> MixturePlan:
    config = node.config
    known = {name: tokens[name] for name in weighted_sources(config.data) if name in tokens}
    has_caps = any(config.data.sources[name].max_epochs is not None for name in known)
    cursors = cursors_before(node, done) if has_caps else {}
    return plan_mixture(config, source_states(config, known, cursors))


def _identified(node: PhaseNode, done: Mapping[str, PhaseNode], inventory: Inventory) -> PhaseNode:
    """A phase with its identity, if its data is there."""
    config = node.config
    assert node.mixture is not None, f"{node.key} was not planned"
    parent = None if node.parent is None else done[f"{node.cell}/{node.parent}"]
    is_known = parent is None or parent.identity is not None
    is_there = len(inventory.manifests(config)) == len(weighted_sources(config.data))
    if inventory.tokenizer_hash(config.tokenizer.path) is None or not is_there or not is_known:
        return node
    parent_identity = parent.identity if parent else None
    identity = identity_with(config, node.mixture, inventory, parent_identity)
    return replace(node, identity=identity)


def identity_with(
    config: RunConfig, mixture: MixturePlan, inventory: Inventory, parent_identity: str | None
) -> str:
    """Identity of a phase of which all data is there, if it had this mixture."""
    tokenizer = inventory.tokenizer_hash(config.tokenizer.path)
    assert tokenizer is not None, f"{config.tokenizer.path} is missing"
    return run_identity(
        config,
        mixture=mixture.as_dict(),
        tokenizer_hash=tokenizer,
        manifest_hashes=inventory.content_hashes(config),
        parent_identity=parent_identity,
    )


def _matrix_points(spec: StudySpec) -> Iterator[tuple[str, dict[str, str]]]:
    """(cell, axis -> value); a value of a dotted key is shown with the key's last part:
    `train.seed: 1` is seed1."""
    for values in itertools.product(*spec.matrix.values()):
        point = dict(zip(spec.matrix, values, strict=True))
        parts = [v if a in spec.axes else a.rpartition(".")[2] + v for a, v in point.items()]
        yield ".".join(parts).replace("/", "-") or SINGLE_CELL, point


def _phase_config(
    spec: StudySpec, cell: str, point: Mapping[str, str], name: str, found: dict[str, list[str]]
) -> RunConfig | None:
    """The configuration of one phase; None where it has problems, which go into `found`."""
    phase = spec.phases[name]
    try:
        config = build_run_config(_phase_tree(spec, point, phase, cell), "")
        problems = check_config(config) + check_layout(config, spec.world_size)
        problems += evaluation_problems(spec.evaluation, config)
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        found.setdefault(problem, []).append(f"{cell}/{name}")
    return None if problems else config


def _phase_tree(spec: StudySpec, point: Mapping[str, str], phase: PhaseSpec, cell: str) -> Tree:
    """The defaults with what the matrix and the phase set, tokens scaled. Raises ConfigError."""
    tree: Tree = spec.defaults
    for axis, value in point.items():
        fragment = spec.axes[axis][value] if axis in spec.axes else {axis: value}
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


def _for_phases(
    problem: str, keys: list[str], spec: StudySpec, points: Mapping[str, object]
) -> str:
    """A problem that all phases have is one of the defaults; others are named."""
    text = problem.removeprefix(": ")
    if len(keys) == len(spec.phases) * len(points):
        return f"every phase: {text}"
    names = dict.fromkeys(key if len(points) > 1 else key.partition("/")[2] for key in keys)
    return f"phase{'s' if len(names) > 1 else ''} {', '.join(names)}: {text}"


def _unscaled(
    spec: StudySpec, points: Mapping[str, Mapping[str, str]], nodes: Mapping[str, PhaseNode]
) -> dict[str, PhaseNode]:
    """The same phases with the budgets that the study file states."""
    full = spec.model_copy(update={"token_scale": Decimal(1)})
    unscaled = {}
    for key, node in nodes.items():
        tree = _phase_tree(full, points[node.cell], spec.phases[node.name], node.cell)
        unscaled[key] = replace(node, config=build_run_config(tree, ""))
    return unscaled
