"""Phases of a study at every point of its matrix: configurations, order, identities, run
directories."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from megatron_codemix.config.identity import run_identity
from megatron_codemix.config.loader import build_run_config
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.plan import RunPlan, make_plan
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.caps import plan_mixture, source_states
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.runs import EVALUATION, RunDirectory
from megatron_codemix.study.branches import Branch, branch_problems
from megatron_codemix.study.chains import chain_problems, cursors_before
from megatron_codemix.study.consistency import (
    check_matrix,
    check_names,
    check_source_tokens,
    phase_order,
)
from megatron_codemix.study.evaluation import asked_folder, held_out_files
from megatron_codemix.study.inventory import Inventory
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.phase_configs import matrix_points, phase_config, phase_tree
from megatron_codemix.study.phase_problems import PhaseProblems
from megatron_codemix.study.sharing import owners
from megatron_codemix.study.spec import StudySpec
from megatron_codemix.study.twins import twin_problems

STORED_DIGITS = 16
"""Of the identity, in a store's names: 64 bits, so that two identities never meet."""


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
    owners: Mapping[str, str] = field(default_factory=dict)
    """`cell/phase` -> the phase that it is one training with, of several the first (`sharing.py`);
    {} before the data was looked for."""
    store: Path | None = None
    """Folder with a run directory for each identity, which other studies may have as well; None:
    they lie below the study's own folder."""

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

    def owner(self, node: PhaseNode) -> PhaseNode:
        """The phase that `node` is one training with; of several the first."""
        return self.nodes[self.owners.get(node.key, node.key)]

    def trained_with(self, node: PhaseNode) -> str | None:
        """The phase before `node` that is the same training, for people; None where it is the
        first."""
        owner = self.owner(node)
        return None if owner.key == node.key else owner.label

    def run_directory(self, out: Path, node: PhaseNode) -> RunDirectory:
        """Where `node` lives: in the store, or below `out`. Phases that are one training have one
        run, with a folder for each of the evaluations that they ask for. Raises RunError while the
        identity is unknown."""
        if node.identity is None:
            missing = "; ".join(self.inventory.missing)
            raise RunError(
                f"phase {node.name!r} has no run directory before its data exists: {missing}"
            )
        asked = asked_folder(self.spec.evaluation, node.config)
        if self.store is not None:
            return RunDirectory(self.store / node.identity[:STORED_DIGITS], asked)
        home = self._home(out, node)
        asks_the_same = held_out_files(home.config) == held_out_files(node.config)
        return RunDirectory(_below(out, home), EVALUATION if asks_the_same else asked)

    def _home(self, out: Path, node: PhaseNode) -> PhaseNode:
        """The phase, of those that are one training, whose run directory below `out` is taken: the
        one that has come furthest, as folders of earlier versions have one for each; else the
        first."""
        owner = self.owners.get(node.key, node.key)
        alike = [self.nodes[key] for key, own in self.owners.items() if own == owner]
        if len(alike) < 2:
            return node
        return max(alike, key=lambda one: _steps_done(_below(out, one)))

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
    points = dict(matrix_points(spec))
    found = PhaseProblems(spec, points)
    nodes: dict[str, PhaseNode] = {}
    for cell, point in points.items():
        for name in order:
            try:
                config = phase_config(spec, cell, point, name)
            except ConfigError as error:
                found.add(f"{cell}/{name}", error.problems)
                continue
            init_from = spec.phases[name].init_from
            node = PhaseNode(
                cell=cell,
                name=name,
                config=config,
                identity=None,
                parent=init_from.phase if init_from else None,
            )
            nodes[node.key] = node
    problems += found.lines()
    if problems:
        raise ConfigError(problems)
    problems = check_source_tokens(spec, [node.config for node in nodes.values()])
    tree = StudyTree(spec=spec, points=points, nodes=nodes)
    chains = PhaseProblems(spec, points)
    for node in nodes.values():
        chains.add(node.key, [*chain_problems(tree.chain(node)), *_branch_problems(tree, node)])
    problems += chains.lines()
    problems += twin_problems(
        spec,
        nodes,
        lambda: {key: _unscaled(spec, points[node.cell], node) for key, node in nodes.items()},
    )
    if problems:
        raise ConfigError(problems)
    return tree


def identify(tree: StudyTree, *, is_trained: bool = True) -> StudyTree:
    """`tree` with the identity of each phase whose data is there; `inventory.missing` names what is
    not. is_trained: whether the models have to fit the tokenizer; not for a look at the data alone.

    Raises ConfigError where shards and tokenizer do not fit, DataError where a file is damaged.
    """
    inventory = Inventory(tree.spec.source_tokens)
    found = PhaseProblems(tree.spec, tree.points)
    for key, node in tree.nodes.items():
        found.add(key, inventory.check_fit(node.config, is_trained=is_trained))
    if found:
        raise ConfigError(found.lines())
    tokens = {key: inventory.num_tokens(node.config) for key, node in tree.nodes.items()}
    nodes: dict[str, PhaseNode] = {}
    for key, node in _with_mixtures(tree, tokens).items():
        nodes[key] = _identified(node, nodes, inventory)
    return replace(tree, nodes=nodes, inventory=inventory, owners=owners(nodes))


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
    found = PhaseProblems(tree.spec, tree.points)
    for key, node in tree.nodes.items():
        try:
            mixture = _planned(node, done, tokens[key])
        except ConfigError as error:
            found.add(key, error.problems)
            mixture = plan_mixture(node.config)
        done[key] = replace(node, mixture=mixture)
    if found:
        raise ConfigError(found.lines())
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


def _below(out: Path, node: PhaseNode) -> Path:
    assert node.identity is not None, node.key
    return out.absolute() / node.cell / f"{node.name}-{node.identity[:8]}"


def _steps_done(run: Path) -> int:
    status = RunDirectory(run).read_status()
    return -1 if status is None else status.step


def _branch_problems(tree: StudyTree, node: PhaseNode) -> list[str]:
    if node.parent is None:
        return []
    parent = tree.nodes[f"{node.cell}/{node.parent}"]

    def as_given() -> Branch:
        given = [_unscaled(tree.spec, tree.points[one.cell], one) for one in (parent, node)]
        return Branch(*(one.config for one in given))

    return branch_problems(Branch(parent.config, node.config), tree.spec.token_scale, as_given)


def _unscaled(spec: StudySpec, point: Mapping[str, str], node: PhaseNode) -> PhaseNode:
    """The same phase with the tokens that the study file states."""
    full = spec.model_copy(update={"token_scale": Decimal(1)})
    tree = phase_tree(full, point, spec.phases[node.name], node.cell)
    return replace(node, config=build_run_config(tree, ""))
