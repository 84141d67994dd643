"""Attention on a GPU: by Transformer Engine, or by that of torch's kernels which
`backend.attention` names.

Shapes: S sequence, B microbatch, H heads of this rank, D head width; else as in mcore/layers.py.
"""

from typing import Any

import torch
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.transformer.attention import SelfAttention
from megatron.core.transformer.enums import AttnBackend, AttnMaskType
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn.attention import SDPBackend, sdpa_kernel

from megatron_codemix.mcore.kernels import SequenceFirst
from megatron_codemix.mcore.layers import SdpaCoreAttention

SDPA_BACKENDS = {
    AttnBackend.flash: SDPBackend.FLASH_ATTENTION,
    AttnBackend.fused: SDPBackend.CUDNN_ATTENTION,
    AttnBackend.unfused: SDPBackend.MATH,
}


class ChosenSdpaAttention(SdpaCoreAttention):
    """By one of torch's kernels alone; `config.attention_backend` says which. Where that one cannot
    compute the call torch raises RuntimeError."""

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        with sdpa_kernel(SDPA_BACKENDS[self.config.attention_backend]):
            return super().attend(query, key, value, attention_mask)


class EngineSelfAttention(SelfAttention):
    """megatron-core's around an EngineAttention: queries and keys are rotated to where Transformer
    Engine reads them. It takes tensors that lie in memory as [S, B, H, D], and copies others in
    every layer."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *,
        rotary_pos_emb: Any = None,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As SelfAttention.forward."""
        if self.config.apply_rope_fusion and isinstance(rotary_pos_emb, torch.Tensor):
            rotary_pos_emb = SequenceFirst(rotary_pos_emb)
        result: tuple[torch.Tensor, torch.Tensor | None] = super().forward(
            hidden_states, attention_mask, rotary_pos_emb=rotary_pos_emb, **others
        )
        return result


class EngineAttention(SdpaCoreAttention):
    """Causal attention by Transformer Engine; ours with a mask, of which its fused kernels know
    nothing, and with a memory. `backend.attention` reaches it by megatron-core."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        softmax_scale: float | None = None,
        pg_collection: ProcessGroupCollection | None = None,
        **unused: Any,
    ) -> None:
        super().__init__(
            config, layer_number, attn_mask_type, attention_type, softmax_scale, pg_collection
        )
        from megatron.core.extensions.transformer_engine import TEDotProductAttention

        assert attn_mask_type is AttnMaskType.causal, attn_mask_type
        self.engine = TEDotProductAttention(
            config,
            layer_number,
            attn_mask_type,
            attention_type,
            softmax_scale=softmax_scale,
            pg_collection=pg_collection,
        )

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **unused: Any,
    ) -> torch.Tensor:
        """As SdpaCoreAttention.forward."""
        if attention_mask is not None or self.memory is not None:
            return super().forward(query, key, value, attention_mask)
        # Values are cut out of the product that made all three, and copied here; of the others only
        # strides are set, to those of [S, B, H, D]. Dimensions of size 1 may have any, and
        # Transformer Engine compares them (2.11, get_qkv_layout).
        query, key, value = (one.reshape(-1).view(one.shape) for one in (query, key, value))
        output: torch.Tensor = self.engine(query, key, value, None, AttnMaskType.causal)
        return output
