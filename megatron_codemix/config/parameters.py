"""Number of parameters of a model shape, by formula, and what its checkpoints weigh."""

from typing import NamedTuple

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import ModelConfig, RunConfig


class LayerParameters(NamedTuple):
    """Trainable parameters of one layer that one rank holds."""

    matrices: int
    """Of attention and MLP, without those of experts."""
    others: int
    """Norms, biases, the router of experts."""
    experts: int


def count_parameters(model: ModelConfig, table_entries: int | None = None) -> int:
    """Trainable parameters; tied tables count once.

    table_entries: rows of an embedding table; absent: the vocabulary with its padding. Published
        counts are without ours.
    """
    entries = table_entries or padded_vocabulary_size(model.vocabulary_size)
    tables = entries * model.hidden_size * (1 if model.tie_embeddings else 2)
    layers = model.num_layers * sum(layer_parameters(model))
    return tables + layers + norm_parameters(model, model.hidden_size)


def layer_parameters(model: ModelConfig, *, tensor: int = 1, expert: int = 1) -> LayerParameters:
    """Of one layer, for one rank of layouts with these tensor- and expert-parallel sizes, which
    divide what they cut."""
    hidden = model.hidden_size
    head = model.head_dim or hidden // model.num_attention_heads
    queries = model.num_attention_heads * head // tensor
    keys_and_values = 2 * (model.num_query_groups or model.num_attention_heads) * head // tensor
    matrices = hidden * (queries + keys_and_values) + queries * hidden
    others = (1 if model.block == "parallel" else 2) * norm_parameters(model, hidden)
    if model.add_bias:
        others += queries + keys_and_values + hidden
    if model.qk_norm:
        others += 2 * norm_parameters(model, head)
    if model.moe is None:
        mlp_matrices, mlp_biases = _mlp(model, tensor)
        return LayerParameters(matrices + mlp_matrices, others + mlp_biases, 0)
    router = model.moe.num_experts * hidden
    experts = model.moe.num_experts // expert * sum(_mlp(model, 1))  # experts are never cut
    return LayerParameters(matrices, others + router, experts)


def norm_parameters(model: ModelConfig, width: int) -> int:
    """Of one normalisation."""
    return width * (2 if model.normalization == "layernorm" else 1)


def _mlp(model: ModelConfig, tensor: int) -> tuple[int, int]:
    """Matrices and biases of one rank."""
    width = model.ffn_hidden_size // tensor
    width_in = width * (1 if model.activation == "gelu" else 2)
    biases = width_in + model.hidden_size if model.add_bias else 0
    return model.hidden_size * (width_in + width), biases


def checkpoint_bytes(config: RunConfig) -> int:
    """Size of one checkpoint: weights, and fp32 master weights and two moments. In fp32 the weights
    are the master weights, but megatron-core writes them with the optimizer's state as well."""
    weight_bytes = 2 if config.precision.model_format == "bf16" else 4
    return count_parameters(config.model) * (weight_bytes + 12)
