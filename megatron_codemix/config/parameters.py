"""Number of parameters of a model shape, by formula, and what its checkpoints weigh."""

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import ModelConfig, RunConfig


def count_parameters(model: ModelConfig, table_entries: int | None = None) -> int:
    """Trainable parameters; tied tables count once.

    table_entries: rows of an embedding table; absent: the vocabulary with its padding. Published
        counts are without ours.
    """
    hidden = model.hidden_size
    entries = table_entries or padded_vocabulary_size(model.vocabulary_size)
    norms_of_layer = 1 if model.block == "parallel" else 2
    layer = _attention(model) + _feed_forward(model) + norms_of_layer * _norm(model, hidden)
    tables = entries * hidden * (1 if model.tie_embeddings else 2)
    return tables + model.num_layers * layer + _norm(model, hidden)


def _norm(model: ModelConfig, width: int) -> int:
    return width * (2 if model.normalization == "layernorm" else 1)


def _attention(model: ModelConfig) -> int:
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    queries = model.num_attention_heads * head
    keys_and_values = 2 * (model.num_query_groups or model.num_attention_heads) * head
    biases = queries + keys_and_values + model.hidden_size if model.add_bias else 0
    norms = 2 * _norm(model, head) if model.qk_norm else 0
    matrices = model.hidden_size * (queries + keys_and_values) + queries * model.hidden_size
    return matrices + biases + norms


def _feed_forward(model: ModelConfig) -> int:
    if model.moe is None:
        return _mlp(model)
    return model.moe.num_experts * (_mlp(model) + model.hidden_size)  # with the router


def _mlp(model: ModelConfig) -> int:
    width_in = model.ffn_hidden_size * (1 if model.activation == "gelu" else 2)
    biases = width_in + model.hidden_size if model.add_bias else 0
    return model.hidden_size * width_in + model.ffn_hidden_size * model.hidden_size + biases


def checkpoint_bytes(config: RunConfig) -> int:
    """Size of one checkpoint: weights, and fp32 master weights and two moments. In fp32 the weights
    are the master weights, but megatron-core writes them with the optimizer's state as well."""
    weight_bytes = 2 if config.precision.model_format == "bf16" else 4
    return count_parameters(config.model) * (weight_bytes + 12)
