"""Phases of different cells that are one training: an axis that changes only later phases leaves
what comes before them as it is.

One training needs more than one identity: a study may have an axis of layouts, to compare them, and
the identity leaves layouts out. So phases are one training where they learn the same and run alike.
"""

from collections.abc import Mapping
from typing import Any

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.files import hash_json
from megatron_codemix.study.evaluation import held_out_files
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.twins import structural_identities

_HOW_IT_RUNS = ("layout", "checkpoint", "validation", "survival", "backend", "logging")
"""Sections that decide how a phase runs and what it leaves behind, and nothing that is learned."""


def owners(nodes: Mapping[str, PhaseNode]) -> dict[str, str]:
    """`cell/phase` -> the first phase that it is one training with; itself where there is none
    before it. nodes: parents before children. Where data is missing, files stand for their
    hashes."""
    if len({node.cell for node in nodes.values()}) < 2:  # twins within a cell are refused
        return {key: key for key in nodes}
    structural = structural_identities(nodes)
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for key, node in nodes.items():
        parent = None if node.parent is None else found[f"{node.cell}/{node.parent}"]
        identity = node.identity or structural[key]
        mark = hash_json([identity, parent, _how_it_runs(node.config)])
        found[key] = first.setdefault(mark, key)
    return found


def _how_it_runs(config: RunConfig) -> dict[str, Any]:  # Any: JSON values
    dump = config.model_dump(mode="json")
    data = {name: value for name, value in dump["data"].items() if name != "sources"}
    return {
        **{section: dump[section] for section in _HOW_IT_RUNS},
        "data": data,
        # A training that validates looks at them; else only evaluations do.
        "held_out": held_out_files(config) if config.validation is not None else {},
    }


def require_one_run_each(nodes: Mapping[str, PhaseNode], owner_of: Mapping[str, str]) -> None:
    """Raises ConfigError where phases have one identity and are two trainings: a store has one run
    of each identity."""
    first: dict[str, str] = {}
    problems = []
    for key, node in nodes.items():
        if node.identity is None or owner_of.get(key, key) != key:
            continue
        other = first.setdefault(node.identity, key)
        if other != key:
            problems.append(
                f"phases {other} and {key} learn the same and run differently (layout, checkpoints "
                "or validation), and a store has one run of each identity; run this study without "
                "--store"
            )
    if problems:
        raise ConfigError(problems)
