"""Which tensors of `transformers` a parameter of ours becomes, and back.

megatron-core keeps queries, keys and values of a group of heads together, [groups, queries of a
group + key + value, head width, hidden], and gate and value of the MLP one after the other in one
matrix. Tables have padding rows behind the vocabulary.

Shapes: V vocabulary, H hidden, D width of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import DataError
from megatron_codemix.hugging_face.shape import (
    COHERE,
    Family,
    head_width,
    norm_factor,
    query_groups,
)

_MEAN_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class Part:
    """One parameter of ours, by its name in the whole model, and the tensors that it becomes."""

    ours: str
    shape: tuple[int, ...]
    theirs: dict[str, tuple[int, ...]]
    """Names and shapes, in order."""
    split: Callable[[torch.Tensor], Sequence[torch.Tensor]]
    """Views of ours; those of their tensors, read in order, whatever their dimensions."""
    join: Callable[[Sequence[torch.Tensor]], torch.Tensor]


def parts_of(model: ModelConfig, family: Family) -> Iterator[Part]:
    """All parameters of the model, from the first layer to the last."""
    hidden = model.hidden_size
    yield _table(model, "embedding.word_embeddings.weight", "model.embed_tokens.weight")
    for layer in range(model.num_layers):
        yield from _layer(model, family, f"decoder.layers.{layer}.", f"model.layers.{layer}.")
    factor = norm_factor(model, family)
    yield Part(
        ours="decoder.final_layernorm.weight",
        shape=(hidden,),
        theirs={"model.norm.weight": (hidden,)},
        split=lambda weight: [weight * factor],
        join=lambda tensors: tensors[0] / factor,
    )
    if not model.tie_embeddings:
        yield _table(model, "output_layer.weight", "lm_head.weight")


def _layer(model: ModelConfig, family: Family, ours: str, theirs: str) -> Iterator[Part]:
    hidden, inner, width = model.hidden_size, model.ffn_hidden_size, head_width(model)
    heads, groups = model.num_attention_heads, query_groups(model)
    attention = f"{theirs}self_attn."
    yield _same(f"{ours}input_layernorm.weight", f"{theirs}input_layernorm.weight", (hidden,))
    yield _queries_keys_values(model, f"{ours}self_attention.linear_qkv.weight", attention)
    if model.qk_norm:
        for letter, number in (("q", heads), ("k", groups)):
            norm = f"{ours}self_attention.{letter}_layernorm.weight"
            name = f"{attention}{letter}_norm.weight"
            yield (
                _norm_of_heads(norm, name, number, width)
                if family is COHERE
                else _same(norm, name, (width,))
            )
    yield _same(
        f"{ours}self_attention.linear_proj.weight",
        f"{attention}o_proj.weight",
        (hidden, heads * width),
    )
    if model.block == "sequential":
        yield _same(
            f"{ours}pre_mlp_layernorm.weight",
            f"{theirs}post_attention_layernorm.weight",
            (hidden,),
        )
    yield Part(
        ours=f"{ours}mlp.linear_fc1.weight",
        shape=(2 * inner, hidden),
        theirs={f"{theirs}mlp.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")},
        split=lambda weight: weight.chunk(2),
        join=lambda tensors: torch.cat(list(tensors)),
    )
    yield _same(f"{ours}mlp.linear_fc2.weight", f"{theirs}mlp.down_proj.weight", (hidden, inner))


def _same(ours: str, theirs: str, shape: tuple[int, ...]) -> Part:
    return Part(
        ours=ours,
        shape=shape,
        theirs={theirs: shape},
        split=lambda weight: [weight],
        join=lambda tensors: tensors[0],
    )


def _table(model: ModelConfig, ours: str, theirs: str) -> Part:
    entries, hidden = model.vocabulary_size, model.hidden_size
    padded = padded_vocabulary_size(entries)
    return Part(
        ours=ours,
        shape=(padded, hidden),
        theirs={theirs: (entries, hidden)},
        split=lambda weight: [weight[:entries]],
        join=lambda tensors: _padded(tensors[0], padded),
    )


def _padded(table_VH: torch.Tensor, rows: int) -> torch.Tensor:
    """The table with its mean as each row behind the vocabulary. Their logits are then the mean of
    all logits, so by Jensen's inequality they take at most padding / rows of the probability,
    whatever the model; with rows of zeros that would depend on where its logits lie."""
    missing = rows - len(table_VH)
    if missing == 0:
        return table_VH
    sums_H = torch.zeros(table_VH.shape[1], dtype=torch.float64)
    for start in range(0, len(table_VH), _MEAN_ROWS):
        sums_H += table_VH[start : start + _MEAN_ROWS].double().sum(dim=0)
    mean_H = (sums_H / len(table_VH)).to(table_VH.dtype)
    return torch.cat([table_VH, mean_H.expand(missing, -1)])


def _queries_keys_values(model: ModelConfig, ours: str, theirs: str) -> Part:
    hidden, width = model.hidden_size, head_width(model)
    heads, groups = model.num_attention_heads, query_groups(model)
    queries = heads // groups

    def split(weight: torch.Tensor) -> Sequence[torch.Tensor]:
        mixed = weight.view(groups, queries + 2, width, hidden)
        return mixed[:, :queries], mixed[:, queries], mixed[:, queries + 1]

    def join(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        by_group = [tensor.reshape(groups, -1, width, hidden) for tensor in tensors]
        return torch.cat(by_group, dim=1).reshape(-1, hidden)

    return Part(
        ours=ours,
        shape=((heads + 2 * groups) * width, hidden),
        theirs={
            f"{theirs}{letter}_proj.weight": (number * width, hidden)
            for letter, number in (("q", heads), ("k", groups), ("v", groups))
        },
        split=split,
        join=join,
    )


def _norm_of_heads(ours: str, theirs: str, heads: int, width: int) -> Part:
    """Cohere has weights for each head, ours are those of all."""

    def join(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        weight = tensors[0]
        if not torch.equal(weight, weight[:1].expand_as(weight)):
            raise DataError(
                f"{theirs}: heads have different weights; model.qk_norm has one set for all heads"
            )
        return weight[0]

    return Part(
        ours=ours,
        shape=(width,),
        theirs={theirs: (heads, width)},
        split=lambda weight: [weight.expand(heads, width)],
        join=join,
    )
