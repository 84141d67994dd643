"""ModelConfig, layout and precision -> megatron-core's TransformerConfig and layer spec."""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import (
    TransformerBlockSubmodules,
    get_num_layers_to_build,
)
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset

from megatron_codemix.config.checks import raise_if
from megatron_codemix.config.engine_options import OVERLAP
from megatron_codemix.config.mup import hidden_init_std, logit_factor, softmax_scale
from megatron_codemix.config.override_checks import check_overrides_on_cpu
from megatron_codemix.config.overrides import typed_overrides
from megatron_codemix.config.schema import AnyPrecisionConfig, LayoutConfig, ModelConfig
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.engine.attention import SDPA_BACKENDS, ChosenSdpaAttention
from megatron_codemix.mcore.engine.layers import EngineLayers
from megatron_codemix.mcore.experts import expert_fields
from megatron_codemix.mcore.fp8.layers import (
    Fp8Layers,
    engine_fields,
    require_fp8_device,
)
from megatron_codemix.mcore.gradient_sums import sum_field
from megatron_codemix.mcore.groups import virtual_pipeline_size
from megatron_codemix.mcore.kernels import GatedSilu
from megatron_codemix.mcore.layers import LayerNorm, RmsNorm, SdpaCoreAttention
from megatron_codemix.mcore.parallel_block import parallel_layer_spec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_ACTIVATIONS = {"swiglu": (F.silu, True), "geglu": (F.gelu, True), "gelu": (F.gelu, False)}
_NORMALIZATIONS = {
    "rmsnorm": "RMSNorm",
    "layernorm": "LayerNorm",
    "layernorm_no_bias": "LayerNorm",
}


def build_transformer_config(
    model: ModelConfig, layout: LayoutConfig, precision: AnyPrecisionConfig, device: torch.device
) -> TransformerConfig:
    """The equal TransformerConfig. Raises ConfigError for overrides without a meaning on this
    device, UnavailableError for a precision that it does not have."""
    require_fp8_device(precision, device)
    if device.type == "cpu":
        raise_if(check_overrides_on_cpu(model.transformer_overrides))
    activation, gated = _ACTIVATIONS[model.activation]
    dtype = DTYPES[precision.model_format]
    fields: dict[str, Any] = {
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "ffn_hidden_size": model.ffn_hidden_size,
        "num_attention_heads": model.num_attention_heads,
        "num_query_groups": model.num_query_groups or model.num_attention_heads,
        "kv_channels": model.head_dim or model.hidden_size // model.num_attention_heads,
        "activation_func": activation,
        "gated_linear_unit": gated,
        "normalization": _NORMALIZATIONS[model.normalization],
        "layernorm_epsilon": model.norm_epsilon,
        "rotary_interleaved": model.rope_interleaved,
        "qk_layernorm": model.qk_norm,
        "add_bias_linear": model.add_bias,
        "init_method_std": hidden_init_std(model),
        "embedding_init_method_std": model.init_std,
        "softmax_scale": softmax_scale(model),
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "tensor_model_parallel_size": layout.tensor,
        "pipeline_model_parallel_size": layout.pipeline,
        "virtual_pipeline_model_parallel_size": virtual_pipeline_size(layout),
        "context_parallel_size": layout.context,
        "sequence_parallel": layout.sequence_parallel,
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "autocast_dtype": dtype,
        "bf16": dtype is torch.bfloat16,
        "calculate_per_token_loss": True,
        "attention_softmax_in_fp32": True,
        **engine_fields(precision),
        **expert_fields(model, layout),
        **_recompute_fields(layout),
        **_message_fields(layout),
        **_overlap_fields(layout, device),
        **_fusion_fields(model, device),
        **(_cpu_fields() if device.type == "cpu" else {}),
        **typed_overrides(model.transformer_overrides),
    }
    config = TransformerConfig(**fields)
    if device.type != "cpu" and "apply_rope_fusion" not in model.transformer_overrides:
        # Neighbours too, where rotations are compiled: of them megatron-core believes that only
        # Transformer Engine can, and refuses the option.
        config.apply_rope_fusion = True
    return config


def _recompute_fields(layout: LayoutConfig) -> dict[str, Any]:
    match layout.recompute:
        case "none":
            return {}
        case "selective":
            return {
                "recompute_granularity": "selective",
                "recompute_modules": layout.recompute_modules,
            }
        case "full":
            return {
                "recompute_granularity": "full",
                "recompute_method": layout.recompute_method,
                "recompute_num_layers": layout.recompute_layers,
            }


def _message_fields(layout: LayoutConfig) -> dict[str, bool]:
    """How pipeline stages send. Interleaved ones send each message by itself: two between the same
    pair of ranks in one batch are matched in the wrong order, which with two stages happens at
    every step, and the model trains on wrong numbers."""
    is_interleaved = layout.virtual_pipeline > 1
    return {
        "overlap_p2p_comm": is_interleaved,
        "batch_p2p_comm": not is_interleaved,
        # Of an output that was sent only the graph behind it is needed.
        "deallocate_pipeline_outputs": layout.pipeline > 1,
        # A wait for the device after each batch of messages, against a fault of old PyTorch.
        "batch_p2p_sync": False,
    }


def _overlap_fields(layout: LayoutConfig, device: torch.device) -> dict[str, bool]:
    """Raises UnavailableError on a CPU, where an option of another name would be refused."""
    if not layout.tensor_overlap:
        return {}
    if device.type == "cpu":
        raise UnavailableError(
            f"{OVERLAP}: is Transformer Engine's on GPUs, and this process computes on a CPU; set "
            "it to false"
        )
    return {"tp_comm_overlap": True}


def _fusion_fields(model: ModelConfig, device: torch.device) -> dict[str, bool]:
    """Off are kernels that need Apex, Transformer Engine or megatron-core's own CUDA extensions; on
    are those that `kernels.py` puts in their places, and sums of gradients where there is a
    product for them."""
    overrides = typed_overrides(model.transformer_overrides)
    return {
        "bias_activation_fusion": False,
        "bias_dropout_fusion": False,
        "masked_softmax_fusion": False,
        "persist_layer_norm": False,
        "gradient_accumulation_fusion": sum_field(device, overrides),
        "apply_rope_fusion": not model.rope_interleaved,
        "use_te_activation_func": _has_gated_silu(model),
    }


def _has_gated_silu(model: ModelConfig) -> bool:
    """Whether the MLPs take `GatedSilu`: megatron-core's layers of experts would not pass it on,
    and it knows none of what these overrides change."""
    changed = {"activation_func_clamp_value", "glu_linear_offset", "bias_activation_fusion"}
    is_plain = changed.isdisjoint(model.transformer_overrides)
    return model.activation == "swiglu" and model.moe is None and is_plain


def _cpu_fields() -> dict[str, bool]:
    return {
        "use_cpu_initialization": True,
        # megatron-core frees a stage's output right after isend. A CUDA stream makes that legal;
        # gloo's background thread would read freed memory and the loss would be silently wrong.
        "deallocate_pipeline_outputs": False,
    }


def build_layer_spec(
    config: TransformerConfig,
    model: ModelConfig,
    vp_stage: int | None = None,
    fp8: Fp8Layers | None = None,
    engine: EngineLayers | None = None,
) -> TransformerBlockSubmodules:
    """megatron-core's local layers with our normalisation and attention, for the layers of one of
    this pipeline stage's model chunks; those that `fp8` names multiply in FP8. engine: Transformer
    Engine's in their place, which multiply in FP8 by themselves."""
    plain = layer_spec(config, model)
    if engine is not None:
        engine.put_into(plain)
    layers = [plain] * get_num_layers_to_build(config, vp_stage)
    if fp8 is not None:
        others = layer_spec(config, model)
        fp8.put_into(others)
        first = get_transformer_layer_offset(config, vp_stage, fp8.parallel.pipeline_rank)
        layers = [
            others if fp8.takes(number, model.num_layers) else plain
            for number in range(first, first + len(layers))
        ]
    last_norm = None if engine is None else engine.last_norm
    return TransformerBlockSubmodules(
        layer_specs=layers, layer_norm=last_norm or norm_spec(model, scale=logit_factor(model))
    )


def layer_spec(config: TransformerConfig, model: ModelConfig) -> ModuleSpec:
    """Of one of our layers."""
    norm = norm_spec(model)
    layer = get_gpt_layer_local_spec(
        num_experts=config.num_moe_experts, normalization=config.normalization
    )
    layer.submodules.input_layernorm = norm
    layer.submodules.pre_mlp_layernorm = norm
    attention = layer.submodules.self_attention.submodules
    is_chosen = config.attention_backend in SDPA_BACKENDS
    attention.core_attention = ChosenSdpaAttention if is_chosen else SdpaCoreAttention
    if model.qk_norm:
        attention.q_layernorm = norm
        attention.k_layernorm = norm
    if config.use_te_activation_func:
        layer.submodules.mlp.submodules.activation_func = GatedSilu
    return parallel_layer_spec(layer.submodules) if model.block == "parallel" else layer


def norm_spec(model: ModelConfig, scale: float = 1.0) -> ModuleSpec:
    """The model's normalisation, its output multiplied by `scale`."""
    if model.normalization == "rmsnorm":
        return ModuleSpec(module=RmsNorm, params={"scale": scale})
    has_bias = model.normalization == "layernorm"
    return ModuleSpec(module=LayerNorm, params={"bias": has_bias, "scale": scale})
