"""The formula against operations counted in a plain transformer."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.schema import ModelConfig, MoeConfig
from tests.helpers.plain_model import plain_losses

LENGTH = 32


@pytest.mark.parametrize("has_experts", [False, True])
@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_training_flops_are_those_of_the_matrix_products(
    activation: str, has_experts: bool
) -> None:
    # All experts are chosen, as the plain model computes all.
    moe = MoeConfig(num_experts=2, top_k=2, balance_coefficient=0) if has_experts else None
    model = ModelConfig(
        num_layers=3,
        hidden_size=48,
        ffn_hidden_size=80,
        num_attention_heads=6,
        num_query_groups=2,
        vocabulary_size=1024,
        activation=activation,
        tie_embeddings=False,
        moe=moe,
    )
    head = model.hidden_size // model.num_attention_heads
    queries, pairs = 6 * head, 2 * 2 * head
    wide = 1 if activation == "gelu" else 2
    shapes = {"embedding.word_embeddings": (1024, 48), "output_layer": (1024, 48)}
    norms = ["decoder.final_layernorm"]
    for layer in range(3):
        at = f"decoder.layers.{layer}"
        shapes[f"{at}.self_attention.linear_qkv"] = (queries + pairs, 48)
        shapes[f"{at}.self_attention.linear_proj"] = (48, queries)
        mlps = [f"{at}.mlp"]
        if has_experts:
            shapes[f"{at}.mlp.router"] = (2, 48)
            mlps = [f"{at}.mlp.experts.local_experts.{number}" for number in range(2)]
        for mlp in mlps:
            shapes[f"{mlp}.linear_fc1"] = (80 * wide, 48)
            shapes[f"{mlp}.linear_fc2"] = (48, 80)
        norms += [f"{at}.input_layernorm", f"{at}.pre_mlp_layernorm"]
    weights = {
        f"{name}.weight": torch.randn(shape, requires_grad=True) for name, shape in shapes.items()
    } | {f"{name}.weight": torch.ones(48, requires_grad=True) for name in norms}
    tokens = torch.randint(0, 1024, (1, LENGTH))
    with FlopCounterMode(display=False) as counter:
        plain_losses(weights, model, tokens, tokens).sum().backward()
    # It counts attention's whole square, of which causal attention needs half.
    unneeded = 3 * 3 * 2 * 2 * queries * LENGTH * LENGTH / 2
    # The embedding's gradient is no product, and the tokens need none.
    expected = counter.get_total_flops() - unneeded
    assert training_flops_per_token(model, LENGTH) * LENGTH == pytest.approx(expected, rel=1e-12)
