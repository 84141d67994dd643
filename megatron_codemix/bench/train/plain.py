"""The peer: the same language model as a PyTorch user writes it for one process, no layout in mind.

Shapes: B microbatch, S sequence, A heads, G key/value heads, D head width.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from megatron_codemix.config.schema import AdamWConfig, ModelConfig


class PlainModel(nn.Module):
    """Pre-norm decoder: RMSNorm, RoPE, grouped queries, SwiGLU, an output layer of its own."""

    def __init__(self, model: ModelConfig, sequence_length: int) -> None:
        super().__init__()
        width, vocabulary = model.hidden_size, model.vocabulary_size
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(_Block(model) for _ in range(model.num_layers))
        self.norm = nn.RMSNorm(width, model.norm_epsilon)
        self.output = nn.Linear(width, vocabulary, bias=False)
        head = width // model.num_attention_heads
        inverse = model.rope_base ** (-torch.arange(0, head, 2) / head)
        angle = torch.outer(torch.arange(sequence_length), inverse).repeat(1, 2)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens_BS: torch.Tensor, labels_BS: torch.Tensor) -> torch.Tensor:
        """Mean loss of a label, fp32."""
        x = self.embedding(tokens_BS)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.output(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1).float(), labels_BS.flatten())


class _Block(nn.Module):
    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        width = model.hidden_size
        self.heads = model.num_attention_heads
        self.groups = model.num_query_groups or self.heads
        self.head = width // self.heads
        self.attention_norm = nn.RMSNorm(width, model.norm_epsilon)
        self.qkv = nn.Linear(width, (self.heads + 2 * self.groups) * self.head, bias=False)
        self.projection = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, model.norm_epsilon)
        self.gate_and_up = nn.Linear(width, 2 * model.ffn_hidden_size, bias=False)
        self.down = nn.Linear(model.ffn_hidden_size, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self.projection(self._attend(self.qkv(self.attention_norm(x)), cos, sin))
        gate, up = self.gate_and_up(self.mlp_norm(x)).chunk(2, -1)
        result: torch.Tensor = x + self.down(F.silu(gate) * up)
        return result

    def _attend(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """[B, S, (A + 2G) * D] -> [B, S, A * D]."""
        split = qkv.view(*qkv.shape[:2], -1, self.head).transpose(1, 2)
        sizes = [self.heads, self.groups, self.groups]
        query, key, value = torch.split(split, sizes, dim=1)
        attended = F.scaled_dot_product_attention(
            _rotate(query, cos, sin), _rotate(key, cos, sin), value, is_causal=True, enable_gqa=True
        )
        return attended.transpose(1, 2).flatten(2)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class PlainTrainer:
    """Model and AdamW. In bf16 the model's weights are rounded from fp32 ones, which learn: the
    numbers of megatron-core's mixed precision. (Autocast over fp32 weights is no faster.)"""

    def __init__(
        self,
        model: PlainModel,
        dtype: torch.dtype,
        optimizer: AdamWConfig,
        learning_rate: float,
        *,
        compiled: bool = False,
    ) -> None:
        """compiled: by torch.compile, forward and backward."""
        model.to(dtype)
        self.loss: Callable[..., torch.Tensor] = torch.compile(model) if compiled else model
        self.weights: list[torch.Tensor] = list(model.parameters())
        self.masters = self.weights
        if dtype != torch.float32:
            self.masters = [nn.Parameter(weight.detach().float()) for weight in self.weights]
        self.clip = optimizer.clip_grad_norm
        decayed = [weight for weight in self.masters if weight.dim() > 1]
        spared = [weight for weight in self.masters if weight.dim() == 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": optimizer.weight_decay},
                {"params": spared, "weight_decay": 0.0},
            ],
            lr=learning_rate,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
            fused=True,
        )

    def step(self, tokens_BS: torch.Tensor, labels_BS: torch.Tensor) -> torch.Tensor:
        """The mean loss before the update; nobody waits for the device."""
        loss = self.loss(tokens_BS, labels_BS)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for master, weight in zip(self.masters, self.weights, strict=True):
            if master is not weight:
                assert weight.grad is not None
                master.grad = weight.grad.float()
                weight.grad = None
        nn.utils.clip_grad_norm_(self.masters, self.clip or float("inf"), foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.masters is not self.weights:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self.masters)
        return loss.detach()


@torch.no_grad()
def take_weights(plain: PlainModel, weights: Mapping[str, torch.Tensor], groups: int) -> None:
    """Copies megatron-core's weights by its names. It keeps the queries of a group, its key and its
    value side by side; here all queries come first, then all keys, then all values."""
    plain.embedding.weight.copy_(weights["embedding.word_embeddings.weight"])
    plain.norm.weight.copy_(weights["decoder.final_layernorm.weight"])
    plain.output.weight.copy_(weights["output_layer.weight"])
    for number, block in enumerate(plain.blocks):
        assert isinstance(block, _Block)
        layer = f"decoder.layers.{number}"
        block.attention_norm.weight.copy_(weights[f"{layer}.input_layernorm.weight"])
        mixed = weights[f"{layer}.self_attention.linear_qkv.weight"]
        by_group = mixed.view(groups, -1, block.head, mixed.shape[-1])
        parts = torch.split(by_group, [by_group.shape[1] - 2, 1, 1], dim=1)
        block.qkv.weight.copy_(torch.cat([part.flatten(0, 2) for part in parts]))
        block.projection.weight.copy_(weights[f"{layer}.self_attention.linear_proj.weight"])
        block.mlp_norm.weight.copy_(weights[f"{layer}.pre_mlp_layernorm.weight"])
        block.gate_and_up.weight.copy_(weights[f"{layer}.mlp.linear_fc1.weight"])
        block.down.weight.copy_(weights[f"{layer}.mlp.linear_fc2.weight"])
