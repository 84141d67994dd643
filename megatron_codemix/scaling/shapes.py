"""Models of one family at other sizes: depth, width, heads."""

import math
from collections.abc import Iterator

from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.scaling.rules import body_parameters

_USUAL_HEADS, _FEWEST_HEADS = 4, 2
_NARROWEST_HEAD = 16
_ASPECT_EXPONENT = 1 / 6
"""Width over depth grows so with the parameters: from 91 at the 2.8B of the first paper to 59 at
150M and 14 at 30K; DataDecide's ladder (arXiv 2504.11393) has 128 at 1B, 64 at 150M, 24 at 60M.
Losses hardly depend on it in this range (arXiv 2001.08361, section 3.1)."""
_SIZE_WEIGHT = 5.0
"""An error of a fifth in the size counts as much as a factor e in width over depth."""


def shape_near(family: ModelConfig, parameters: float) -> ModelConfig:
    """`family` at `parameters` without embeddings, as near as whole layers and heads come.

    Everything but layers, widths and heads is the family's: a head is as wide, or halved until
    there are four or it is 16 wide; the MLP keeps its ratio to the width, attention its queries
    for each key.
    """
    scale = parameters / body_parameters(family)
    aspect = family.hidden_size / family.num_layers * scale**_ASPECT_EXPONENT

    def distance(model: ModelConfig) -> float:
        size = abs(math.log(body_parameters(model) / parameters))
        form = abs(math.log(model.hidden_size / model.num_layers / aspect))
        return _SIZE_WEIGHT * size + form

    return min(_candidates(family, aspect, parameters), key=distance)


def _candidates(family: ModelConfig, aspect: float, parameters: float) -> Iterator[ModelConfig]:
    """Every width for every depth around the wanted form."""
    layers = _layers_of(family, aspect, parameters)
    for num_layers in range(max(1, math.floor(layers / 2)), math.ceil(layers * 2) + 1):
        width = aspect * layers * math.sqrt(layers / num_layers)
        unit = _head_dim(family, width)
        first = max(_FEWEST_HEADS, math.floor(width / unit) - 2)
        for heads in range(first, first + 6):
            yield _with_shape(family, num_layers, heads, unit)


def _layers_of(family: ModelConfig, aspect: float, parameters: float) -> float:
    """Layers of a model of this size and form, by the family's parameters for each layer and square
    of the width."""
    per_square = body_parameters(family) / (family.num_layers * family.hidden_size**2)
    return float((parameters / (per_square * aspect**2)) ** (1 / 3))


def _head_dim(family: ModelConfig, width: float) -> int:
    head = family.head_dim or family.hidden_size // family.num_attention_heads
    while head % 4 == 0 and head > _NARROWEST_HEAD and head * _USUAL_HEADS > width:
        head //= 2
    return head


def _with_shape(family: ModelConfig, num_layers: int, heads: int, head_dim: int) -> ModelConfig:
    hidden = heads * head_dim
    ratio = family.ffn_hidden_size / family.hidden_size
    unit = min(64, head_dim)
    groups = family.num_query_groups
    if groups is not None:
        groups = max(1, heads * groups // family.num_attention_heads)
        while heads % groups:
            groups -= 1
    return family.model_copy(
        update={
            "num_layers": num_layers,
            "hidden_size": hidden,
            "ffn_hidden_size": unit * max(1, round(ratio * hidden / unit)),
            "num_attention_heads": heads,
            "num_query_groups": groups,
            "head_dim": None if family.head_dim is None else head_dim,
        }
    )
