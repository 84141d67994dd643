"""Gradients of weights that are added to those of earlier microbatches, in fp32, by the product
that makes them: no gradient in bf16 is rounded and written, none is read again to be added.

Transformer Engine's linear layers do it by themselves, megatron-core's with Apex's extension. They
tell the data-parallel wrapper (`grad_added_to_main_grad`), which adds what others leave.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from megatron.core.tensor_parallel import layers
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.errors import ConfigError

_FIELD = "gradient_accumulation_fusion"
_OF_ENGINE = "fuse_wgrad_accumulation"
"""What Transformer Engine's layers call it, as an argument and as an attribute that each pass
reads."""


def sum_field(device: torch.device, overrides: Mapping[str, Any]) -> bool:
    """Of TransformerConfig while layers are built: whether megatron-core's own ones can. The output
    layer is one of them in every model, so without Apex it must be told no, whatever the layers
    are. Raises ConfigError for an override that asks for it without Apex.

    overrides: as `typed_overrides` gives them, here and below.
    """
    if device.type in ("cpu", "meta"):
        return False
    has_apex = bool(layers._grad_accum_fusion_available)
    if overrides.get(_FIELD) and not has_apex:
        raise ConfigError(
            [
                f"model.transformer_overrides.{_FIELD}: true needs Apex with its extension "
                "fused_weight_gradient_mlp_cuda, and that is not installed; remove it: layers of "
                "Transformer Engine do it without being told"
            ]
        )
    return has_apex


def let_layers_sum(
    chunks: Sequence[torch.nn.Module], config: TransformerConfig, overrides: Mapping[str, Any]
) -> int:
    """Turns it on in those layers of a built model that are Transformer Engine's, unless an
    override says no; how many they are."""
    if overrides.get(_FIELD) is False:
        return 0
    found = [
        module for chunk in chunks for module in chunk.modules() if hasattr(module, _OF_ENGINE)
    ]
    for module in found:
        setattr(module, _OF_ENGINE, True)
    if found:
        # For those who ask later: where CUDA graphs replay a layer, nobody but them says that its
        # gradients were added, and what it leaves as a gradient is memory without values.
        setattr(config, _FIELD, True)
    return len(found)
