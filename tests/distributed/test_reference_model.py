"""The model is the architecture it says it is: losses against the same formulas in plain "
"PyTorch."""

import math

import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, build_on_rank, markov_batch

TOLERANCE = 2e-5
"""fp32, nats; the two sum in different orders."""

VARIANTS = {
    "grouped queries, untied": MODEL,
    "tied": MODEL.model_copy(update={"tie_embeddings": True}),
    "gelu, layernorm": MODEL.model_copy(
        update={"activation": "gelu", "normalization": "layernorm"}
    ),
    "wide heads, rope base": MODEL.model_copy(update={"head_dim": 32, "rope_base": 500000.0}),
}


def losses_of_both(context: RankContext, model: ModelConfig) -> tuple[object, object]:
    """(megatron-core's losses [B, S], plain PyTorch's losses [B, S]) with the same random "
    "weights."""
    import torch

    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of
    from megatron_codemix.mcore.step import token_losses

    built, _, backend = build_on_rank(Job(layout=LayoutConfig(), model=model))
    weights = dict(global_parameters(gpt_of(built)))
    generator = torch.Generator().manual_seed(0)
    for name, weight in weights.items():  # larger than at step 0, so that every part matters
        with torch.no_grad():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.3 * noise if weight.dim() == 1 else 0.15 * noise)
            assert torch.isfinite(weight).all(), name
    batch = markov_batch([0, 1, 2])
    plain = plain_losses(
        weights, model, torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
    )
    return token_losses(built, batch, backend).numpy(), plain.detach().numpy()


def plain_losses(weights, model, tokens, labels):  # type: ignore[no-untyped-def]  # torch tensors
    """Decoder-only transformer, sequential pre-norm blocks, by the book."""
    import torch
    import torch.nn.functional as F

    head = model.head_dim or model.hidden_size // model.num_attention_heads
    groups = model.num_query_groups
    per_group = model.num_attention_heads // groups
    x = weights["embedding.word_embeddings.weight"][tokens]
    batch, length, _ = x.shape

    def norm(name, value):  # type: ignore[no-untyped-def]
        scale = weights[f"{name}.weight"]
        if model.normalization == "layernorm":
            bias = weights[f"{name}.bias"]
            return F.layer_norm(value, value.shape[-1:], scale, bias, model.norm_epsilon)
        mean_square = value.pow(2).mean(-1, keepdim=True)
        return value / torch.sqrt(mean_square + model.norm_epsilon) * scale

    def rotate(value):  # type: ignore[no-untyped-def]
        """RoPE, halves (arXiv 2104.09864 as in GPT-NeoX). value [B, heads, S, head]."""
        inverse = model.rope_base ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * inverse
        cos, sin = angle.cos().float(), angle.sin().float()
        first, second = value.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    for layer in range(model.num_layers):
        prefix = f"decoder.layers.{layer}."
        y = norm(f"{prefix}input_layernorm", x)
        mixed = y @ weights[f"{prefix}self_attention.linear_qkv.weight"].T
        mixed = mixed.view(batch, length, groups, per_group + 2, head)
        query = mixed[:, :, :, :per_group].reshape(batch, length, -1, head).transpose(1, 2)
        key = mixed[:, :, :, per_group].transpose(1, 2)
        value = mixed[:, :, :, per_group + 1].transpose(1, 2)
        query, key = rotate(query), rotate(key)
        key, value = (t.repeat_interleave(per_group, dim=1) for t in (key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(head)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        attended = scores.masked_fill(future, -torch.inf).softmax(-1) @ value
        attended = attended.transpose(1, 2).reshape(batch, length, -1)
        x = x + attended @ weights[f"{prefix}self_attention.linear_proj.weight"].T
        y = norm(f"{prefix}pre_mlp_layernorm", x)
        y = y @ weights[f"{prefix}mlp.linear_fc1.weight"].T
        if model.activation == "swiglu":
            gate, up = y.chunk(2, dim=-1)
            y = gate * torch.sigmoid(gate) * up
        else:
            y = F.gelu(y)
        x = x + y @ weights[f"{prefix}mlp.linear_fc2.weight"].T
    x = norm("decoder.final_layernorm", x)
    name = "embedding.word_embeddings.weight" if model.tie_embeddings else "output_layer.weight"
    logits = x @ weights[name].T
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(
        labels.shape
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_equal_plain_pytorch(name: str) -> None:
    found, expected = run_distributed(losses_of_both, 1, VARIANTS[name])[0]
    assert expected.std() > 0.5, "the weights make no difference"
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=TOLERANCE)
