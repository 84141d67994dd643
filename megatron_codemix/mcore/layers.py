"""Modules of our own that enter megatron-core's layers through `ModuleSpec`: normalisation and
attention without Transformer Engine.

Shapes: S sequence, C the part of it that a context-parallel rank has (all of it on one rank),
B microbatch, H heads of this rank, D head width.
"""

import functools
import logging
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.backends.cuda import SDPAParams, can_use_flash_attention

from megatron_codemix.mcore.context import gather_sequence, pieces_of

log = logging.getLogger(__name__)

_SAME_ATTENTION = 0.05
"""Of numbers of about 1 in bf16; queries that saw other keys would differ by about as much."""


class RmsNorm(torch.nn.RMSNorm):
    """torch's RMSNorm, marked for sequence parallelism; megatron-core's own wrapper refuses that.

    scale: factor on the output. The logits are linear in the output of the model's last norm, so
        there it scales them without touching their larger tensor.
    """

    def __init__(
        self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, scale: float = 1.0
    ) -> None:
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype)
        self.scale = scale
        _mark_parameters(self, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _scaled(super().forward(x), self.scale)


class LayerNorm(torch.nn.LayerNorm):
    """torch's LayerNorm, marked for sequence parallelism; `scale` as in RmsNorm."""

    def __init__(
        self,
        config: TransformerConfig,
        hidden_size: int,
        eps: float = 1e-5,
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__(hidden_size, eps=eps, bias=bias, dtype=config.params_dtype)
        self.scale = scale
        _mark_parameters(self, config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _scaled(super().forward(x), self.scale)


def _scaled(x: torch.Tensor, scale: float) -> torch.Tensor:
    return x if scale == 1.0 else x * scale


def _mark_parameters(module: torch.nn.Module, config: TransformerConfig) -> None:
    # megatron-core sums the gradients of marked parameters over the tensor-parallel ranks.
    for parameter in module.parameters():
        parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]  # megatron-core's protocol


def document_attention_mask(document_ids_BS: torch.Tensor) -> torch.Tensor:
    """bool [B, 1, S, S] in megatron-core's sense: True where a token must not see another, because
    that is later or of another document.

    Dense, S * S bytes a sample, on every device: megatron-core's way without the square is
    Transformer Engine's packed sequences, which are not used here.
    """
    length = document_ids_BS.shape[1]
    order_S = torch.arange(length, device=document_ids_BS.device)
    is_later_SS = order_S[:, None] < order_S[None, :]
    is_other_BSS = document_ids_BS[:, :, None] != document_ids_BS[:, None, :]
    return (is_other_BSS | is_later_SS).unsqueeze(1)


class Memory(Protocol):
    """What an attention reads beside what it is given: in inference, earlier tokens."""

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """As SdpaCoreAttention.forward."""


class SdpaCoreAttention(MegatronModule):
    """Causal attention by torch's scaled_dot_product_attention, with grouped queries. Under context
    parallelism it gathers keys and values of the whole sequence.

    megatron-core's own DotProductAttention materialises the scores (20% of a small model's CPU
    step) and has no context parallelism.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: Any,
        attention_type: str,
        softmax_scale: float | None = None,
        pg_collection: ProcessGroupCollection | None = None,
        **unused: Any,
    ) -> None:
        super().__init__(config=config)
        self.softmax_scale = softmax_scale
        self.memory: Memory | None = None
        self.context_group = None
        if config.context_parallel_size > 1:
            assert pg_collection is not None, "megatron-core's attention passes its groups on"
            self.context_group = pg_collection.cp

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **unused: Any,
    ) -> torch.Tensor:
        """[C, B, H, D] each (fewer heads in key and value with grouped queries) -> [C, B, H * D].

        attention_mask: bool [B, 1, C, S], this rank's rows of what document_attention_mask makes,
        True where a query must not see a key, the future included; None: causal, by torch's faster
        path for that.
        """
        if self.memory is not None:
            return self.memory.attend(query, key, value)
        if self.context_group is None:
            return self.attend(query, key, value, attention_mask)
        key = gather_sequence(key, self.context_group)
        value = gather_sequence(value, self.context_group)
        size = self.context_group.size()
        piece = len(query) // 2
        outputs = []
        for number, which in enumerate(pieces_of(self.context_group.rank(), size)):
            # Nothing after the piece's end is seen, so it is not looked at.
            rows, end = slice(number * piece, (number + 1) * piece), (which + 1) * piece
            mask = None if attention_mask is None else attention_mask[:, :, rows, :end]
            if mask is None and not (
                query.is_cuda and counts_from_the_end(query.device, query.dtype, query.shape[-1])
            ):
                mask = _future_mask(piece, end, query.device)
            outputs.append(self.attend(query[rows], key[:end], value[:end], mask))
        return torch.cat(outputs)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """As forward, over the keys that it is given. Without a mask the last query is the last
        key's; on a CPU there are then as many."""
        # Contiguous: queries and keys are so from their rotation. Values are part of the product
        # that made all three, which would be kept whole for them; and in megatron-core's order of
        # memory torch's CPU kernel takes 15% longer.
        query, key, value = (
            tensor.permute(1, 2, 0, 3).contiguous() for tensor in (query, key, value)
        )
        attend = attend_on_gpu if query.is_cuda else _attend_on_host
        output = attend(query, key, value, attention_mask, self.softmax_scale)
        return output.permute(2, 0, 1, 3).flatten(2)


def _attend_on_host(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    """[B, H, C, D], as many queries as keys where there is no mask."""
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if attention_mask is None else ~attention_mask,
        is_causal=attention_mask is None,
        scale=scale,
        enable_gqa=key.shape[1] != query.shape[1],
    )


def attend_on_gpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    """[B, H, C, D], by kernels that do not write the scores down (tests/gpu/test_attention.py):
    flash attention where there is no mask, which also counts the last queries of a sequence from
    its end; the memory-efficient one under a mask or in fp32. That knows no groups, and torch would
    take neither: keys and values are repeated for it."""
    is_whole = query.shape[2] == key.shape[2]
    if key.shape[1] != query.shape[1] and not (
        attention_mask is None and _flash_takes_groups(query, key, value, is_causal=is_whole)
    ):
        repeats = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(repeats, 1) for tensor in (key, value))
    mask: torch.Tensor | None = None if attention_mask is None else ~attention_mask
    if mask is None and not is_whole:
        # Here: with it comes the compiler, whose import takes seconds.
        from torch.nn.attention.bias import causal_lower_right

        mask = causal_lower_right(query.shape[2], key.shape[2])
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=key.shape[1] != query.shape[1],
    )


@functools.cache
def counts_from_the_end(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether torch's attention of the last queries of a sequence sees without a mask what one
    would show them. Tried once on a few numbers: a kernel that counts from the beginning would be
    wrong without a word."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, 1, length, width, generator=generator).to(device, dtype)
        for length in (32, 128, 128)
    )
    with torch.no_grad():
        found = attend_on_gpu(query, key, value, None, None)
        expected = attend_on_gpu(query, key, value, _future_mask(32, 128, device), None)
    difference = float((found - expected).abs().max())
    is_same = difference < _SAME_ATTENTION
    if not is_same:
        log.warning(
            "torch's attention of a part of a sequence differs by %.2g from the same under a mask; "
            "going on with the mask",
            difference,
        )
    return is_same


def _flash_takes_groups(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, is_causal: bool
) -> bool:
    asked = SDPAParams(query, key, value, None, 0.0, is_causal, True)  # no dropout, groups
    return can_use_flash_attention(asked)


def _future_mask(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """bool [queries, keys]: True where a key is later than a query; the last query is the last
    key's."""
    order = torch.arange(keys, device=device)
    return order[keys - queries :, None] < order[None, :]
