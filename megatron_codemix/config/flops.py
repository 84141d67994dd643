"""Floating-point operations of one training step, by formula: what model FLOPs utilisation counts
(PaLM, arXiv 2204.02311, appendix B)."""

from megatron_codemix.config.schema import ModelConfig


def training_flops_per_token(model: ModelConfig, sequence_length: int) -> float:
    """Of forward and backward (twice the forward), multiplications and additions counted apart.

    Matrix products with weights, and causal attention's two with half of the square. What a layout
    adds (recomputation, padded vocabulary) is no work on the model and is left out.
    """
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    queries = model.num_attention_heads * head
    keys_and_values = 2 * (model.num_query_groups or model.num_attention_heads) * head
    attention = model.hidden_size * (2 * queries + keys_and_values)
    mlp = model.hidden_size * model.ffn_hidden_size * (2 if model.activation == "gelu" else 3)
    if model.moe is not None:  # of the experts that a token goes to, and the router
        mlp = mlp * model.moe.top_k + model.hidden_size * model.moe.num_experts
    scores = 2 * queries * sequence_length / 2
    output = model.hidden_size * model.vocabulary_size
    return 6.0 * (model.num_layers * (attention + mlp + scores) + output)
