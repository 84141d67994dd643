"""Flags of the model: its layers, experts and vocabulary."""

from megatron_codemix.config.megatron_flags.flags import Flags
from megatron_codemix.config.plan import VOCABULARY_MULTIPLE, RunPlan
from megatron_codemix.config.router import corrected_coefficients
from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from megatron_codemix.errors import ConfigError


def model_flags(model: ModelConfig) -> Flags:
    """Of the shape of its layers."""
    _require_known_model(model)
    heads, groups = model.num_attention_heads, model.num_query_groups
    flags: Flags = [
        ("--num-layers", str(model.num_layers)),
        ("--hidden-size", str(model.hidden_size)),
        ("--ffn-hidden-size", str(model.ffn_hidden_size)),
        ("--num-attention-heads", str(heads)),
        ("--kv-channels", str(model.head_dim or model.hidden_size // heads)),
        ("--position-embedding-type", "rope"),
        ("--rotary-base", str(int(model.rope_base))),
        ("--normalization", {"rmsnorm": "RMSNorm", "layernorm": "LayerNorm"}[model.normalization]),
        ("--norm-epsilon", repr(model.norm_epsilon)),
        ("--init-method-std", repr(model.init_std)),
        ("--attention-dropout", "0.0"),
        ("--hidden-dropout", "0.0"),
        ("--attention-softmax-in-fp32",),
    ]
    if groups is not None and groups != heads:
        flags += [("--group-query-attention",), ("--num-query-groups", str(groups))]
    if model.rope_interleaved:
        flags.append(("--rotary-interleaved",))
    if model.qk_norm:
        flags.append(("--qk-layernorm",))
    if model.activation == "swiglu":
        flags.append(("--swiglu",))
    if not model.add_bias:
        flags.append(("--disable-bias-linear",))
    if not model.tie_embeddings:
        flags.append(("--untie-embeddings-and-output-weights",))
    return flags


def _require_known_model(model: ModelConfig) -> None:
    """Raises ConfigError for what Megatron-LM's model does not have."""
    lacks = {
        "activation: geglu": model.activation == "geglu",
        "block: parallel": model.block == "parallel",
        "normalization: layernorm_no_bias": model.normalization == "layernorm_no_bias",
        "logit_scale": model.logit_scale != 1.0,
        "z_loss": model.z_loss is not None,
        "mup": model.mup is not None,
    }
    problems = [f"model.{name}: Megatron-LM has no flag for it" for name in lacks if lacks[name]]
    if model.rope_base != int(model.rope_base):
        problems.append(f"model.rope_base: --rotary-base is whole, {model.rope_base} is not")
    if problems:
        raise ConfigError(problems)


def expert_flags(model: ModelConfig, layout: LayoutConfig) -> Flags:
    """Of a mixture of experts; none of another model."""
    moe = model.moe
    if moe is None:
        return []
    coefficients = corrected_coefficients(moe, layout)
    flags: Flags = [
        ("--num-experts", str(moe.num_experts)),
        ("--moe-ffn-hidden-size", str(model.ffn_hidden_size)),
        ("--moe-router-topk", str(moe.top_k)),
        ("--moe-router-dtype", "fp32"),
        ("--moe-token-dispatcher-type", "alltoall"),
        ("--moe-router-load-balancing-type", "seq_aux_loss" if moe.balance_coefficient else "none"),
        ("--moe-aux-loss-coeff", repr(coefficients.balance)),
        ("--expert-model-parallel-size", str(layout.expert)),
        ("--expert-tensor-parallel-size", "1"),
    ]
    if coefficients.router_z is not None:
        flags.append(("--moe-z-loss-coeff", repr(coefficients.router_z)))
    if not moe.normalize_chosen:
        flags.append(("--moe-router-pre-softmax",))
    return flags


def vocabulary_flags(model: ModelConfig, tensor: int, plan: RunPlan) -> Flags:
    """NullTokenizer adds an entry of its own, for the end of a document, to --vocab-size."""
    flags: Flags = [
        ("--tokenizer-type", "NullTokenizer"),
        ("--vocab-size", str(model.vocabulary_size - 1)),
    ]
    if VOCABULARY_MULTIPLE % tensor:
        return [*flags, ("--padded-vocab-size", str(plan.padded_vocabulary_size))]
    # Megatron-LM multiplies by the tensor-parallel size before it pads.
    return [*flags, ("--make-vocab-size-divisible-by", str(VOCABULARY_MULTIPLE // tensor))]
