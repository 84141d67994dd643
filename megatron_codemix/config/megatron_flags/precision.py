"""Flags of the precision."""

from megatron_codemix.config.megatron_flags.flags import Flags
from megatron_codemix.config.precision_checks import fp8_format
from megatron_codemix.config.schema import AnyPrecisionConfig, Fp8Config
from megatron_codemix.errors import ConfigError


def precision_flags(precision: AnyPrecisionConfig) -> Flags:
    """Raises ConfigError for FP8 that Megatron-LM does not have."""
    if precision.model_format == "fp32":
        return []
    flags: Flags = [("--bf16",), ("--accumulate-allreduce-grads-in-fp32",)]
    if not isinstance(precision, Fp8Config):
        return flags
    if not precision.is_engines:
        raise ConfigError(
            [
                f"precision.recipe: Megatron-LM has no {precision.recipe}; for its own FP8 set "
                f"precision.recipe={precision.rule} precision.rule="
            ]
        )
    flags += [
        ("--fp8-format", fp8_format(precision.recipe)),
        ("--fp8-recipe", precision.recipe),
    ]
    if precision.recipe == "delayed":
        flags += [
            ("--fp8-amax-history-len", str(precision.amax_history_length)),
            ("--fp8-amax-compute-algo", "max"),
            ("--fp8-margin", str(precision.margin)),
        ]
    if precision.first_last_bf16:
        flags.append(("--first-last-layers-bf16",))
    if precision.fp8_params:
        flags.append(("--fp8-param-gather",))
        if precision.recipe == "mxfp8":
            flags.append(("--reuse-grad-buf-for-mxfp8-param-ag",))
    return flags
