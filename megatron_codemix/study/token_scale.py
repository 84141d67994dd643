"""One factor for every number of tokens: a study states a paper's budgets and runs at any size."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from megatron_codemix.config.problems import field_paths
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import Tree
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
        tree = _scaled(tree, path.split("."), scale)
    return tree


def _scaled(node: Any, path: Sequence[str], scale: Decimal) -> Any:  # Any: values of a Tree
    """`node` with what lies at `path` below it scaled, in every item of a list on the way."""
    if isinstance(node, list):
        return [_scaled(item, path, scale) for item in node]
    if not path:
        return _scaled_count(node, scale)
    if not isinstance(node, Mapping) or path[0] not in node:
        return node
    # Written anew with its own keys, which know their lines.
    return {
        key: _scaled(value, path[1:], scale) if key == path[0] else value
        for key, value in node.items()
    }


def _scaled_count(text: Any, scale: Decimal) -> Any:  # Any: a value of a Tree
    if not isinstance(text, str):
        return text
    try:
        tokens = parse_count(text)
    except ValueError:
        return text
    scaled = int((tokens * scale).to_integral_value(rounding=ROUND_HALF_UP))
    return str(max(scaled, min(tokens, 1)))
