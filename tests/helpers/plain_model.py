"""A decoder-only transformer with pre-norm blocks, by the book, in plain PyTorch."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from megatron_codemix.config.schema import ModelConfig, MoeConfig


def plain_losses(
    weights: Mapping[str, torch.Tensor],
    model: ModelConfig,
    tokens: torch.Tensor,
    labels: torch.Tensor,
    router_logits: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Loss of each label [B, S]; weights by megatron-core's names, layers counted from 0.

    router_logits: gets each layer's [B, S, E] in a mixture of experts.
    """
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    groups = model.num_query_groups or model.num_attention_heads
    per_group = model.num_attention_heads // groups
    x = weights["embedding.word_embeddings.weight"][tokens]
    batch, length, _ = x.shape

    def norm(name: str, value: torch.Tensor) -> torch.Tensor:
        scale = weights[f"{name}.weight"]
        if model.normalization != "rmsnorm":
            bias = weights[f"{name}.bias"] if model.normalization == "layernorm" else None
            return F.layer_norm(value, value.shape[-1:], scale, bias, model.norm_epsilon)
        mean_square = value.pow(2).mean(-1, keepdim=True)
        return value / torch.sqrt(mean_square + model.norm_epsilon) * scale

    def rotate(value: torch.Tensor) -> torch.Tensor:
        """RoPE (arXiv 2104.09864): pairs of a dimension of each half, as in GPT-NeoX, or of
        neighbours, as in GPT-J. value [B, heads, S, head]."""
        inverse = model.rope_base ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
        angle = torch.arange(length, dtype=torch.float64)[:, None] * inverse
        cos, sin = angle.cos().float(), angle.sin().float()
        if model.rope_interleaved:
            first, second = value[..., 0::2], value[..., 1::2]
            turned = (first * cos - second * sin, second * cos + first * sin)
            return torch.stack(turned, dim=-1).flatten(-2)
        first, second = value.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def mlp(name: str, value: torch.Tensor) -> torch.Tensor:
        value = value @ weights[f"{name}.linear_fc1.weight"].T
        if model.activation == "swiglu":
            gate, up = value.chunk(2, dim=-1)
            value = gate * torch.sigmoid(gate) * up
        else:
            value = F.gelu(value)
        return value @ weights[f"{name}.linear_fc2.weight"].T

    def experts(name: str, value: torch.Tensor, moe: MoeConfig) -> torch.Tensor:
        """Every expert sees every token; the weights of those that were not chosen are 0."""
        logits = value @ weights[f"{name}.router.weight"].T
        if router_logits is not None:
            router_logits.append(logits)
        best = logits.topk(moe.top_k, dim=-1)
        chosen = best.values.softmax(-1)
        if not moe.normalize_chosen:
            chosen = logits.softmax(-1).gather(-1, best.indices)
        share = torch.zeros_like(logits).scatter(-1, best.indices, chosen)
        outputs = [
            share[..., number, None] * mlp(f"{name}.experts.local_experts.{number}", value)
            for number in range(moe.num_experts)
        ]
        return torch.stack(outputs).sum(0)

    for layer in range(model.num_layers):
        prefix = f"decoder.layers.{layer}."
        y = norm(f"{prefix}input_layernorm", x)
        mixed = y @ weights[f"{prefix}self_attention.linear_qkv.weight"].T
        mixed = mixed.view(batch, length, groups, per_group + 2, head)
        query = mixed[:, :, :, :per_group].reshape(batch, length, -1, head).transpose(1, 2)
        key = mixed[:, :, :, per_group].transpose(1, 2)
        value = mixed[:, :, :, per_group + 1].transpose(1, 2)
        if model.qk_norm:
            query = norm(f"{prefix}self_attention.q_layernorm", query)
            key = norm(f"{prefix}self_attention.k_layernorm", key)
        query, key = rotate(query), rotate(key)
        key, value = (t.repeat_interleave(per_group, dim=1) for t in (key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(head)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        attended = scores.masked_fill(future, -torch.inf).softmax(-1) @ value
        attended = attended.transpose(1, 2).reshape(batch, length, -1)
        attended = attended @ weights[f"{prefix}self_attention.linear_proj.weight"].T
        x = x + attended
        if model.block == "sequential":
            y = norm(f"{prefix}pre_mlp_layernorm", x)
        name = f"{prefix}mlp"
        x = x + (mlp(name, y) if model.moe is None else experts(name, y, model.moe))
    x = norm("decoder.final_layernorm", x)
    name = "embedding.word_embeddings.weight" if model.tie_embeddings else "output_layer.weight"
    logits = x @ weights[name].T * model.logit_scale
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(
        labels.shape
    )


def plain_router_loss(router_logits: Sequence[torch.Tensor], moe: MoeConfig) -> torch.Tensor:
    """Balance loss (Switch Transformer, arXiv 2101.03961, eq. 4, with top_k choices) of each
    sample, averaged, and z-loss (ST-MoE, arXiv 2202.08906, eq. 5); summed over layers [B, S, E]."""
    total = torch.zeros(())
    for logits in router_logits:
        chosen = torch.zeros_like(logits).scatter(-1, logits.topk(moe.top_k, dim=-1).indices, 1.0)
        fraction_BE = chosen.mean(1) / moe.top_k
        probability_BE = logits.softmax(-1).mean(1)
        balance_B = moe.num_experts * (fraction_BE * probability_BE).sum(-1)
        z = logits.logsumexp(-1).square().mean()
        total = total + moe.balance_coefficient * balance_B.mean()
        total = total + (moe.router_z_coefficient or 0.0) * z
    return total
