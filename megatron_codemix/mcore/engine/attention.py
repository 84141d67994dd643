"""Attention on a GPU: by Transformer Engine, or by that of torch's kernels which
`backend.attention` names.

Shapes as in mcore/layers.py.
"""

from typing import Any

import torch
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.transformer.enums import AttnBackend, AttnMaskType
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn.attention import SDPBackend, sdpa_kernel

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
        output: torch.Tensor = self.engine(query, key, value, None, AttnMaskType.causal)
        return output
