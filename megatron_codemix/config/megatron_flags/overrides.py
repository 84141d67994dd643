"""Flags of `model.transformer_overrides`."""

from collections.abc import Callable, Mapping

from megatron_codemix.config.megatron_flags.flags import Flags
from megatron_codemix.config.overrides import Value
from megatron_codemix.errors import ConfigError

_TRUE_FLAGS = (
    "add_qkv_bias",
    "cross_entropy_loss_fusion",
    "defer_embedding_wgrad_compute",
    "deterministic_mode",
    "disable_bf16_reduced_precision_matmul",
    "distribute_saved_activations",
    "fp32_residual_connection",
    "test_mode",
)
"""Overrides that are a flag of the same name without a value, off by default."""

_VALUE_FLAGS = (
    "activation_func_clamp_value",
    "config_logger_dir",
    "cpu_offloading_num_layers",
    "cross_entropy_fusion_impl",
    "glu_linear_offset",
    "no_rope_freq",
    "wgrad_deferral_limit",
)
"""Overrides that are a flag of the same name with a value."""

_FALSE_FLAGS = {
    "apply_rope_fusion": "--no-rope-fusion",
    "bias_dropout_fusion": "--no-bias-dropout-fusion",
    "clone_scatter_output_in_embedding": "--no-clone-scatter-output-in-embedding",
    "gradient_accumulation_fusion": "--no-gradient-accumulation-fusion",
}
"""Overrides that Megatron-LM has on, with the flag that turns them off."""


def override_flags(overrides: Mapping[str, Value]) -> Flags:
    """Raises ConfigError for those that Megatron-LM has no flag for."""
    flags: Flags = []
    problems = []
    for name, value in overrides.items():
        to_flag = _override_flag(name)
        if to_flag is None:
            problems.append(f"model.transformer_overrides.{name}: Megatron-LM has no flag for it")
        elif flag := to_flag(value):
            flags.append(flag)
    if problems:
        raise ConfigError(problems)
    return flags


def _override_flag(name: str) -> Callable[[Value], tuple[str, ...]] | None:
    """Value -> flag, () where Megatron-LM's default says it; None where there is no flag."""
    dashed = "--" + name.replace("_", "-")
    if name in _TRUE_FLAGS:
        return lambda value: (dashed,) if value else ()
    if name in _FALSE_FLAGS:
        return lambda value: () if value else (_FALSE_FLAGS[name],)
    if name in _VALUE_FLAGS:
        return lambda value: () if value is None else (dashed, *_words(name, value))
    return None


def _words(name: str, value: Value) -> list[str]:
    if isinstance(value, list):
        return [str(value)] if name == "no_rope_freq" else [str(item) for item in value]
    return [str(value)]
