"""Number of parameters of a model shape, by formula, and what its checkpoints weigh."""

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import ModelConfig, RunConfig


def count_parameters(model: ModelConfig) -> int:
    """Trainable parameters, padding rows of the embedding tables included; tied tables count
    once."""
    hidden = model.hidden_size
    tables = padded_vocabulary_size(model.vocabulary_size) * hidden
    norm = hidden * (2 if model.normalization == "layernorm" else 1)
    layers = model.num_layers * (_attention(model) + _mlp(model) + 2 * norm)
    return tables * (1 if model.tie_embeddings else 2) + layers + norm


def _attention(model: ModelConfig) -> int:
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    queries = model.num_attention_heads * head
    keys_and_values = 2 * (model.num_query_groups or model.num_attention_heads) * head
    biases = queries + keys_and_values + model.hidden_size if model.add_bias else 0
    return model.hidden_size * (queries + keys_and_values) + queries * model.hidden_size + biases


def _mlp(model: ModelConfig) -> int:
    width_in = model.ffn_hidden_size * (1 if model.activation == "gelu" else 2)
    biases = width_in + model.hidden_size if model.add_bias else 0
    return model.hidden_size * width_in + model.ffn_hidden_size * model.hidden_size + biases


def checkpoint_bytes(config: RunConfig) -> int:
    """Size of one checkpoint: weights, and fp32 master weights and two moments. In fp32 the weights
    are the master weights, but megatron-core writes them with the optimizer's state as well."""
    weight_bytes = 2 if config.precision.kind == "bf16" else 4
    return count_parameters(config.model) * (weight_bytes + 12)
