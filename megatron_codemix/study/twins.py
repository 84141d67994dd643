"""Phases that would train the same thing, found without data: files stand for their hashes."""

from collections.abc import Callable, Mapping
from itertools import combinations

from megatron_codemix.config.identity import run_identity
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.caps import plan_mixture
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.spec import StudySpec


def twin_problems(
    spec: StudySpec,
    nodes: Mapping[str, PhaseNode],
    at_full_scale: Callable[[], Mapping[str, PhaseNode]],
) -> list[str]:
    """Phases of one cell that would train the same thing, and cells that are alike.

    at_full_scale: gives the same phases with the budgets that the study file states; asked for only
    where there are twins.
    """
    twins = _twins(nodes)
    unscaled = _twins(at_full_scale()) if twins else {}
    problems = []
    for name, twin in twins.items():
        place = spec.at(f"phases.{name}")
        if unscaled.get(name) == twin:
            problems.append(
                f"{place}: trains exactly what phase {twin!r} trains; remove it, and let children "
                f"and variants name {twin!r}"
            )
        else:
            problems.append(
                f"{place}: the scale is too small: at a token scale of {spec.token_scale:g} "
                f"its budget is rounded to that of phase {twin!r}, and both train the same; "
                "raise the scale"
            )
    return problems + _cell_problems(spec, nodes)


def _cell_problems(spec: StudySpec, nodes: Mapping[str, PhaseNode]) -> list[str]:
    """Cells that differ in nothing, not even in layout, which an axis may be there to vary."""
    cells: dict[str, list[RunConfig]] = {}
    for node in nodes.values():
        # The parent's placeholder names the cell.
        alone = node.config.model_copy(update={"init_from": None})
        cells.setdefault(node.cell, []).append(alone)
    problems = []
    for one, other in combinations(cells, 2):
        if cells[one] == cells[other]:
            problems.append(
                f"{spec.at('matrix')}: cell {other!r} is exactly cell {one!r}; remove a value of "
                "an axis, or let it change something"
            )
    return problems


def structural_identities(nodes: Mapping[str, PhaseNode]) -> dict[str, str]:
    """A hash for each phase, in whatever study it stands: equal where, given the files at the same
    paths, the same would be trained. nodes: parents before children."""
    identities: dict[str, str] = {}
    for key, node in nodes.items():
        identities[key] = _structural_identity(node, identities)
    return identities


def _twins(nodes: Mapping[str, PhaseNode]) -> dict[str, str]:
    """Phase -> earlier phase of its cell that trains the same."""
    identities = structural_identities(nodes)
    first: dict[tuple[str, str], str] = {}
    twins: dict[str, str] = {}
    for key, node in nodes.items():
        twin = first.setdefault((node.cell, identities[key]), node.name)
        if twin != node.name:
            twins.setdefault(node.name, twin)
    return twins


def _structural_identity(node: PhaseNode, done: Mapping[str, str]) -> str:
    files = {name: str(source.train) for name, source in node.config.data.sources.items()}
    return _identity(
        node.config,
        tokenizer=str(node.config.tokenizer.path),
        files=files,
        parent=None if node.parent is None else done[f"{node.cell}/{node.parent}"],
    )


def settings_identity(config: RunConfig) -> str:
    """A hash of what a phase is told to learn: without what lies in its files, wherever they are,
    and without its parent."""
    return _identity(config, tokenizer="", files=dict.fromkeys(config.data.sources, ""))


def _identity(
    config: RunConfig, *, tokenizer: str, files: Mapping[str, str], parent: str | None = None
) -> str:
    return run_identity(
        config,
        mixture=plan_mixture(config).as_dict(),
        tokenizer_hash=tokenizer,
        manifest_hashes={
            name: f"{files[name]} {source.max_epochs} {source.spill_to}"
            for name, source in config.data.sources.items()
        },
        parent_identity=parent,
    )
