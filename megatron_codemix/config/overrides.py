"""`model.transformer_overrides`: fields of megatron-core's TransformerConfig, checked without it.

Names and types come from a record (`transformer_fields.json`, written by
`tools/record_transformer_fields.py`), so that a configuration is checked where torch is not loaded.
What another field decides, and what would have no effect, is refused with the reason.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import ConfigError

Value = bool | int | float | str | list[int] | list[float] | list[str] | None

_OWNED = {
    "num_layers": "model.num_layers",
    "hidden_size": "model.hidden_size",
    "ffn_hidden_size": "model.ffn_hidden_size",
    "num_attention_heads": "model.num_attention_heads",
    "num_query_groups": "model.num_query_groups",
    "kv_channels": "model.head_dim",
    "gated_linear_unit": "model.activation",
    "activation_func": "model.activation",
    "normalization": "model.normalization",
    "rotary_interleaved": "model.rope_interleaved",
    "qk_layernorm": "model.qk_norm",
    "layernorm_epsilon": "model.norm_epsilon",
    "add_bias_linear": "model.add_bias",
    "init_method_std": "model.init_std",
    "embedding_init_method_std": "model.init_std",
    "tensor_model_parallel_size": "layout.tensor",
    "pipeline_model_parallel_size": "layout.pipeline",
    "virtual_pipeline_model_parallel_size": "layout.virtual_pipeline",
    "overlap_p2p_comm": "layout.virtual_pipeline",
    "batch_p2p_comm": "layout.virtual_pipeline",
    "overlap_p2p_comm_warmup_flush": "layout.virtual_pipeline",
    "context_parallel_size": "layout.context",
    "num_moe_experts": "model.moe",
    "expert_model_parallel_size": "layout.expert",
    "sequence_parallel": "layout.sequence_parallel",
    "tp_comm_overlap": "layout.tensor_overlap",
    "recompute_granularity": "layout.recompute",
    "recompute_modules": "layout.recompute_modules",
    "recompute_method": "layout.recompute_method",
    "recompute_num_layers": "layout.recompute_layers",
    "bf16": "precision.kind",
    "fp16": "precision.kind",
    "params_dtype": "precision.kind",
    "pipeline_dtype": "precision.kind",
    "autocast_dtype": "precision.kind",
    "enable_autocast": "precision.kind",
    "first_last_layers_bf16": "precision.first_last_bf16",
    "num_layers_at_start_in_bf16": "precision.first_last_bf16",
    "num_layers_at_end_in_bf16": "precision.first_last_bf16",
    "enable_cuda_graph": "backend.cuda_graphs",
    "external_cuda_graph": "backend.cuda_graphs",
}
"""Field of TransformerConfig -> our field that decides it."""

_OWNED_PREFIXES = {"moe_": "model.moe", "fp8": "precision", "cuda_graph": "backend.cuda_graphs"}
"""The same by the beginning of a name."""

_SPREAD = "layers and processes are spread by 'layout' alone, which has no such dimension"
_WEIGHTS = "the weights at step 0 follow from the seed and their names, whatever the layout"
_LAYERS = "the layers that are built have no such part, so it would change nothing"
_ATTENTION = "the attention that is built does not read it, so it would change nothing"
_DROPOUT = "the random state of dropout is not in a checkpoint: a resumed run would differ"
_DEVICE = "it is set for the device"
_ENGINE = "the training step depends on it"
_INFERENCE = "it concerns inference only"
_UNREAD = "nothing of what is built reads it, so it would change nothing"
_EXPERT_OVERLAP = "it needs overlap_moe_expert_parallel_comm, which what is built does not have"

_REFUSED_PREFIXES = {
    "mtp_": _LAYERS,
    "mamba_": _LAYERS,
    "linear_": _LAYERS,
    "dsa_": _LAYERS,
    "fp4": _LAYERS,
    "use_kitchen": _LAYERS,
    "kitchen_": _LAYERS,
    "tp_comm_": "what layout.tensor_overlap has beside a product is Transformer Engine's choice",
    "qk_clip": _ATTENTION,
    "inference_": _INFERENCE,
    "use_inference_": _INFERENCE,
}
_REFUSED = {
    **dict.fromkeys(
        (
            "hierarchical_context_parallel_sizes",
            "max_seqlen_per_dp_cp_rank",
            "hybrid_context_parallel",
            "cp_comm_type",
            "expert_tensor_parallel_size",
            "microbatch_group_size_per_vp_stage",
            "num_layers_in_first_pipeline_stage",
            "num_layers_in_last_pipeline_stage",
            "pipeline_model_parallel_layout",
            "account_for_embedding_in_pipeline_split",
            "account_for_loss_in_pipeline_split",
        ),
        _SPREAD,
    ),
    **dict.fromkeys(
        ("perform_initialization", "use_cpu_initialization", "init_model_with_meta_device"),
        _WEIGHTS,
    ),
    **dict.fromkeys(
        (
            "multi_latent_attention",
            "qk_l2_norm",
            "experimental_attention_variant",
            "is_hybrid_model",
            "heterogeneous_block_specs",
            "transformer_impl",
            "use_te_activation_func",
            "layernorm_zero_centered_gamma",
            "memory_efficient_layer_norm",
            "persist_layer_norm",
            "mrope_section",
            "overlap_moe_expert_parallel_comm",
            "use_te_rng_tracker",
            "tp_only_amax_red",
            "disable_parameter_transpose_cache",
            "use_mamba_mem_eff_path",
            "use_fused_weighted_squared_relu",
            "hetereogenous_dist_checkpoint",
        ),
        _LAYERS,
    ),
    **dict.fromkeys(
        (
            "window_size",
            "window_attn_skip_freq",
            "softmax_type",
            "attention_softmax_in_fp32",
            "apply_query_key_layer_scaling",
            "masked_softmax_fusion",
            "log_max_attention_logit",
        ),
        _ATTENTION,
    ),
    **dict.fromkeys(
        (
            "apply_residual_connection_post_layernorm",
            "async_tensor_model_parallel_allreduce",
            "barrier_with_L1_time",
            "pipeline_model_parallel_comm_backend",
        ),
        _UNREAD,
    ),
    "delay_wgrad_compute": _EXPERT_OVERLAP,
    "ep_overlap_early_attn_memory_release": _EXPERT_OVERLAP,
    "num_microbatches_with_partial_activation_checkpoints": (
        "layout.recompute is of all microbatches alike"
    ),
    "use_ring_exchange_p2p": "no release of PyTorch has the ring_exchange that it calls",
    "fused_single_qkv_rope": "our own rotation stands in the place of Transformer Engine's",
    "batch_invariant_mode": "it wants a kernel of the attention before backend.attention has one",
    "hidden_dropout": _DROPOUT,
    "attention_dropout": _DROPOUT,
    "deallocate_pipeline_outputs": _DEVICE,
    "calculate_per_token_loss": _ENGINE,
    "variable_seq_lengths": _ENGINE,
    "flash_decode": _INFERENCE,
    "mlp_chunks_for_prefill": _INFERENCE,
    "symmetric_ar_type": _INFERENCE,
}


@cache
def recorded_fields() -> dict[str, list[str]]:
    """Field of TransformerConfig -> forms of text it takes ([]: only objects of Python will do)."""
    text = files("megatron_codemix.config").joinpath("transformer_fields.json").read_text("utf-8")
    fields: dict[str, list[str]] = json.loads(text)["fields"]
    return fields


def check_overrides(overrides: Mapping[str, str]) -> list[str]:
    """A problem for each override of unknown name, wrong type, or without an effect of its own."""
    problems = []
    for name, text in overrides.items():
        message = _problem(name, text)
        if message:
            problems.append(f"model.transformer_overrides.{name}: {message}")
    return problems


def typed_overrides(overrides: Mapping[str, str]) -> dict[str, Value]:
    """Arguments for TransformerConfig. Raises ConfigError for overrides that `check` refuses."""
    problems = check_overrides(overrides)
    if problems:
        raise ConfigError(problems)
    return {name: _read(text, recorded_fields()[name]) for name, text in overrides.items()}


def _problem(name: str, text: str) -> str:
    fields = recorded_fields()
    prefixes = [field for prefix, field in _OWNED_PREFIXES.items() if name.startswith(prefix)]
    owner = _OWNED.get(name) or next(iter(prefixes), "")
    if owner:
        return f"is decided by {owner}; set that instead"
    if name not in fields:
        return f"TransformerConfig has no such field{suggestion(name, list(fields))}"
    prefixes = [reason for prefix, reason in _REFUSED_PREFIXES.items() if name.startswith(prefix)]
    reason = _REFUSED.get(name) or next(iter(prefixes), "")
    if reason:
        return f"cannot be set: {reason}; remove it"
    if not fields[name]:
        return "cannot be set from text: its value is an object of Python; remove it"
    try:
        _read(text, fields[name])
    except ValueError:
        return f"expected {' or '.join(fields[name])}, got {text!r}"
    return ""


def _read(text: str, forms: Sequence[str]) -> Value:
    """The value in the first form that fits. Raises ValueError if none does."""
    for form in forms:
        try:
            return _read_form(text.strip(), form)
        except ValueError:
            continue
    raise ValueError(text)


def _read_form(text: str, form: str) -> Value:
    if form.startswith("list["):
        return _read_list(text, form.removeprefix("list[").removesuffix("]"))
    if form == "none":
        return _one_of(text.lower(), {"none": None, "null": None})
    if form == "bool":
        return _one_of(text.lower(), {"true": True, "false": False})
    if form == "int":
        return int(text)
    if form == "float":
        return _finite(text)
    if form == "str":
        return text
    return _one_of(text, {form.strip("'"): form.strip("'")})


def _read_list(text: str, form: str) -> list[int] | list[float] | list[str]:
    """`[1, 0, 1]`; the brackets tell a list from a single value."""
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(text)
    items = [item.strip() for item in text[1:-1].split(",") if item.strip()]
    if form == "int":
        return [int(item) for item in items]
    return [_finite(item) for item in items] if form == "float" else items


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _one_of(text: str, values: Mapping[str, Value]) -> Value:
    if text not in values:
        raise ValueError(text)
    return values[text]
