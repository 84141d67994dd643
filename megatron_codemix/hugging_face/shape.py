"""`model:` <-> the config.json of those architectures of `transformers` that compute the same.

What has no exact counterpart on the other side is refused by name, all of it at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from megatron_codemix.config.mup import logit_factor, softmax_scale
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError

Dtype = Literal["float32", "bfloat16"]
"""Number formats of exported weights, by their name in config.json."""

_ACTIVATIONS = {"swiglu": "silu", "geglu": "gelu"}


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture of `transformers`, in our words."""

    architecture: str
    model_type: str
    block: Literal["sequential", "parallel"] = "sequential"
    normalization: Literal["rmsnorm", "layernorm_no_bias"] = "rmsnorm"
    rope_interleaved: bool = False
    epsilon: str = "rms_norm_eps"
    """Key of `norm_epsilon`."""
    has_logit_scale: bool = False
    defaults: Mapping[str, Any]  # Any: JSON values
    """What an absent key of config.json means there, where that is not null or false."""


_DEFAULTS = {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
LLAMA = Family(architecture="LlamaForCausalLM", model_type="llama", defaults=_DEFAULTS)
MISTRAL = Family(
    architecture="MistralForCausalLM",
    model_type="mistral",
    defaults={**_DEFAULTS, "num_key_value_heads": 8, "sliding_window": 4096},
)
QWEN3 = Family(
    architecture="Qwen3ForCausalLM",
    model_type="qwen3",
    defaults={**_DEFAULTS, "num_key_value_heads": 32, "head_dim": 128},
)
COHERE = Family(
    architecture="CohereForCausalLM",
    model_type="cohere",
    block="parallel",
    normalization="layernorm_no_bias",
    rope_interleaved=True,
    epsilon="layer_norm_eps",
    has_logit_scale=True,
    defaults={
        **_DEFAULTS,
        "layer_norm_eps": 1e-5,
        "logit_scale": 0.0625,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
    },
)
_FAMILIES = {family.architecture: family for family in (LLAMA, MISTRAL, QWEN3, COHERE)}

_REQUIRED = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "ffn_hidden_size": "intermediate_size",
    "num_attention_heads": "num_attention_heads",
    "vocabulary_size": "vocab_size",
}


def head_width(model: ModelConfig) -> int:
    """Width of one head."""
    return model.head_dim or model.hidden_size // model.num_attention_heads


def query_groups(model: ModelConfig) -> int:
    """Number of key/value heads."""
    return model.num_query_groups or model.num_attention_heads


def family_of(model: ModelConfig) -> Family:
    """The architecture that computes what `model` does. Raises ConfigError with every field that
    none has."""
    sequential = QWEN3 if model.qk_norm else LLAMA
    family = COHERE if model.block == "parallel" else sequential
    problems = _without_counterpart(model, family)
    if problems:
        raise ConfigError(problems)
    return family


def _without_counterpart(model: ModelConfig, family: Family) -> list[str]:
    name = family.architecture
    problems = [
        f"model.{field}: {getattr(model, field)}, but {name}, the architecture with block: "
        f"{model.block}, has {str(getattr(family, field)).lower()}"
        for field in ("normalization", "rope_interleaved")
        if getattr(model, field) != getattr(family, field)
    ]
    if model.moe is not None:
        problems.append("model.moe: mixtures of experts are not converted to Hugging Face's format")
    if model.add_bias:
        problems.append(f"model.add_bias: true, but {name} is written without biases")
    if model.activation not in _ACTIVATIONS:
        problems.append(f"model.activation: {model.activation}, but the MLP of {name} is gated")
    problems += [
        f"model.transformer_overrides.{field}: what it changes is not known to {name}"
        for field in model.transformer_overrides
    ]
    scale = softmax_scale(model)
    if scale is not None and not math.isclose(scale, head_width(model) ** -0.5):
        problems.append(
            f"model.mup.base_head_dim: the attention's scale {scale:g} is not {name}'s, "
            "1 / sqrt(head_dim)"
        )
    if not family.has_logit_scale and math.frexp(logit_factor(model))[0] != 0.5:
        problems.append(
            f"model.logit_scale (with model.mup: the logits' factor is {logit_factor(model):g}): "
            f"{name} has no such factor, and only a power of two goes into the weights without "
            "rounding"
        )
    whole = model.hidden_size % model.num_attention_heads == 0
    if family is LLAMA and not whole:
        problems.append(
            f"model.num_attention_heads: {model.num_attention_heads} does not divide hidden_size "
            f"{model.hidden_size}, which {name} asks for"
        )
    return problems


def norm_factor(model: ModelConfig, family: Family) -> float:
    """What the last norm's weights are multiplied by in the export: a power of two."""
    return 1.0 if family.has_logit_scale else logit_factor(model)


def config_json(
    model: ModelConfig,
    family: Family,
    *,
    sequence_length: int,
    end_of_document_id: int,
    dtype: Dtype,
) -> dict[str, Any]:  # Any: JSON values
    """config.json of the exported model. Rotary base and number format stand under the names of
    transformers 5 and those of 4."""
    record: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **{theirs: getattr(model, ours) for ours, theirs in _REQUIRED.items()},
        "num_key_value_heads": query_groups(model),
        "head_dim": head_width(model),
        "hidden_act": _ACTIVATIONS[model.activation],
        "max_position_embeddings": sequence_length,
        "initializer_range": model.init_std,
        family.epsilon: model.norm_epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_base},
        "rope_theta": model.rope_base,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": model.tie_embeddings,
        "bos_token_id": end_of_document_id,
        "eos_token_id": end_of_document_id,
        "pad_token_id": None,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    if family is LLAMA:
        record["mlp_bias"] = False
    if family is COHERE:
        record |= {"logit_scale": logit_factor(model), "use_qk_norm": model.qk_norm}
    return record


def model_of(record: Mapping[str, Any], where: str) -> tuple[ModelConfig, Family]:
    """`model:` of a config.json. Raises ConfigError, each problem beginning with `where`."""
    names = record.get("architectures") or []
    family = _FAMILIES.get(names[0]) if len(names) == 1 else None
    if family is None:
        raise ConfigError(
            [f"{where}: architectures: {names}; known are {', '.join(sorted(_FAMILIES))}"]
        )
    found = {
        **family.defaults,
        **{key: value for key, value in record.items() if value is not None},
    }
    if "sliding_window" in record:  # null there means none, absence the default
        found["sliding_window"] = record["sliding_window"]
    problems = [*_not_here(found), *_missing(found)]
    if problems:
        raise ConfigError([f"{where}: {problem}" for problem in problems])
    hidden, heads = int(found["hidden_size"]), int(found["num_attention_heads"])
    groups, width = int(found.get("num_key_value_heads", heads)), found.get("head_dim")
    fields = {
        **{ours: found[theirs] for ours, theirs in _REQUIRED.items()},
        "num_query_groups": None if groups == heads else groups,
        "head_dim": None if width in (None, hidden / heads) else width,
        "block": family.block,
        "activation": {theirs: ours for ours, theirs in _ACTIVATIONS.items()}[found["hidden_act"]],
        "normalization": family.normalization,
        "norm_epsilon": found[family.epsilon],
        "rope_base": _rope(found)["rope_theta"],
        "rope_interleaved": family.rope_interleaved,
        "qk_norm": family is QWEN3 or bool(found.get("use_qk_norm")),
        "tie_embeddings": bool(found.get("tie_word_embeddings")),
        "init_std": found["initializer_range"],
        "logit_scale": found["logit_scale"] if family.has_logit_scale else 1.0,
    }
    return ModelConfig.model_validate(fields), family


def _rope(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of transformers 5 (`rope_parameters`) and 4 (`rope_theta`, `rope_scaling`)."""
    newest = found.get("rope_parameters") or {}
    scaling = found.get("rope_scaling") or {}
    merged = {"rope_theta": found["rope_theta"], **scaling, **newest}
    merged["rope_type"] = merged.get("rope_type") or merged.get("type") or "default"
    return merged


def _missing(found: Mapping[str, Any]) -> list[str]:
    return [f"{key}: is missing" for key in _REQUIRED.values() if key not in found]


def _not_here(found: Mapping[str, Any]) -> list[str]:
    """What the weights would need and our models have not."""
    problems = []
    rope = _rope(found)
    if rope["rope_type"] != "default":
        problems.append(
            f"rope_type: {rope['rope_type']}; only the plain rotary embedding (default) is known"
        )
    if rope.get("partial_rotary_factor", found.get("partial_rotary_factor", 1.0)) != 1.0:
        problems.append("partial_rotary_factor: heads that are turned in part are not known")
    problems += [
        f"{key}: true; its biases have no counterpart"
        for key in ("attention_bias", "mlp_bias")
        if found.get(key)
    ]
    if found["hidden_act"] not in _ACTIVATIONS.values():
        known = ", ".join(_ACTIVATIONS.values())
        problems.append(f"hidden_act: {found['hidden_act']}; known are {known}")
    has_windows = found.get("use_sliding_window", True) and found.get("sliding_window") is not None
    if has_windows or set(found.get("layer_types") or []) - {"full_attention"}:
        problems.append("sliding_window: attention here is over the whole sample")
    if found.get("quantization_config"):
        problems.append("quantization_config: only weights that are not quantized are read")
    return problems
