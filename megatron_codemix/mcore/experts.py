"""Mixtures of experts: the router's settings, which parameters are experts', and two mends of
megatron-core 0.16.1.

Experts are never cut: a rank has whole ones (expert tensor parallelism 1), which also runs on gloo,
whose all-gather needs equal parts. Their gradients have data-parallel groups of their own.
"""

import re
from typing import Any

import torch
from megatron.core.transformer.moe import moe_utils

from megatron_codemix.config.router import corrected_coefficients
from megatron_codemix.config.schema import LayoutConfig, ModelConfig


def provide_router_gemm() -> None:
    """Without Transformer Engine megatron-core's router asks for a name that nobody has bound; None
    lets it take torch's product."""
    if not hasattr(moe_utils, "te_general_gemm"):
        moe_utils.te_general_gemm = None


def expert_fields(model: ModelConfig, layout: LayoutConfig) -> dict[str, Any]:
    """Of TransformerConfig; empty for a dense model."""
    moe = model.moe
    if moe is None:
        return {}
    coefficients = corrected_coefficients(moe, layout)
    return {
        "num_moe_experts": moe.num_experts,
        "moe_ffn_hidden_size": model.ffn_hidden_size,
        "moe_router_topk": moe.top_k,
        "moe_router_pre_softmax": not moe.normalize_chosen,
        "moe_router_dtype": "fp32",
        "moe_router_load_balancing_type": "seq_aux_loss" if moe.balance_coefficient else "none",
        "moe_aux_loss_coeff": coefficients.balance,
        "moe_z_loss_coeff": coefficients.router_z,
        "moe_token_dispatcher_type": "alltoall",
        "expert_model_parallel_size": layout.expert,
        "expert_tensor_parallel_size": 1,
    }


def mark_experts(model: torch.nn.Module) -> None:
    """Has megatron-core reduce experts' gradients over the ranks that hold the same experts. It
    marks them so only where experts are spread: one rank's checkpoint would then have another form
    than that of several, and under sequence parallelism their gradients would be partial sums."""
    for name, parameter in model.named_parameters():
        if is_expert(name):
            parameter.allreduce = False  # type: ignore[attr-defined]  # megatron-core's protocol


def is_expert(name: str) -> bool:
    """Whether a parameter belongs to one expert."""
    return ".local_experts." in name


def global_expert_name(name: str, first_expert: int) -> str:
    """`name` with the expert counted over all ranks, `first_expert` being this rank's first."""
    return re.sub(
        r"\.local_experts\.(\d+)\.",
        lambda found: f".local_experts.{int(found.group(1)) + first_expert}.",
        name,
    )
