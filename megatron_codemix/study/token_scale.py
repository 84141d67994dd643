"""One factor for every number of tokens: a study states a paper's budgets and runs at any size."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from megatron_codemix.config.problems import field_paths
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import Tree, set_dotted, where_of
from megatron_codemix.units import parse_count


@cache
def token_fields() -> tuple[str, ...]:
    """Dotted keys of `RunConfig` that are a number of tokens: their names end in `_tokens`."""
    return tuple(path for path in field_paths(RunConfig) if path.endswith("_tokens"))


def scale_tokens(tree: Tree, scale: Decimal) -> Tree:
    """`tree` with every token field multiplied by `scale`, in whole tokens, at least 1 unless it
    was 0.

    What is not a number is left for the schema to refuse.
    """
    if scale == 1:
        return tree
    for path in token_fields():
        key, text = _find(tree, path)
        if not isinstance(text, str):
            continue
        try:
            tokens = parse_count(text)
        except ValueError:
            continue
        scaled = int((tokens * scale).to_integral_value(rounding=ROUND_HALF_UP))
        tree = set_dotted(tree, path, str(max(scaled, min(tokens, 1))), where=where_of(key))
    return tree


def _find(tree: Mapping[str, Any], path: str) -> tuple[str, Any]:  # Any: a value of a Tree
    """The key (which knows its line) and the value at a dotted path; None where nothing stands
    there."""
    here: Any = tree  # Any: walks down through the tree
    key = path
    for part in path.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return path, None
        key = next(k for k in here if k == part)
        here = here[part]
    return key, here
