"""One factor for every number of tokens: a study states a paper's budgets and runs at any size."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from megatron_codemix.config.problems import field_paths
from megatron_codemix.config.schema import MAX_TOKENS, RunConfig
from megatron_codemix.config.tree import Tree
from megatron_codemix.errors import ConfigError
from megatron_codemix.units import parse_count

MAX_SCALE = 10**12
"""Of `token_scale` and of --scale: whoever writes more has mistyped."""


@cache
def token_fields() -> tuple[str, ...]:
    """Dotted keys of `RunConfig` that are a number of tokens: their names end in `_tokens`."""
    return tuple(path for path in field_paths(RunConfig) if path.endswith("_tokens"))


def scale_tokens(tree: Tree, scale: Decimal) -> Tree:
    """`tree` with every token field multiplied by `scale`, in whole tokens, at least 1 unless it
    was 0.

    What is no number of tokens is left as it is written, for the schema to refuse. Raises
    ConfigError with all fields that `scale` makes larger than a number of tokens may be.
    """
    if scale == 1:
        return tree
    problems: list[str] = []
    for path in token_fields():
        tree = _scaled(tree, path.split("."), scale, path, problems)
    if problems:
        raise ConfigError(problems)
    return tree


def _scaled(
    node: Any, way: Sequence[str], scale: Decimal, field: str, problems: list[str]
) -> Any:  # Any: values of a Tree
    """`node` with what lies at `way` below it scaled, in every item of a list on the way. field:
    for `problems`."""
    if isinstance(node, list):
        return [_scaled(item, way, scale, field, problems) for item in node]
    if not way:
        return _scaled_count(node, scale, field, problems)
    if not isinstance(node, Mapping) or way[0] not in node:
        return node
    # Written anew with its own keys, which know their lines.
    return {
        key: _scaled(value, way[1:], scale, field, problems) if key == way[0] else value
        for key, value in node.items()
    }


def _scaled_count(
    text: Any, scale: Decimal, field: str, problems: list[str]
) -> Any:  # Any: a value of a Tree
    if not isinstance(text, str):
        return text
    try:
        tokens = parse_count(text)
    except ValueError:
        return text
    if not 0 < tokens <= MAX_TOKENS:
        return text
    scaled = int((tokens * scale).to_integral_value(rounding=ROUND_HALF_UP))
    if scaled > MAX_TOKENS:
        problems.append(
            f"{field}: {text} at a token scale of {scale:g} is more than {MAX_TOKENS:.0e} tokens; "
            "lower the scale"
        )
    return str(max(scaled, 1))
