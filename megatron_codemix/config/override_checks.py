"""What `model.transformer_overrides` ask of one another, of the rest of the model and of the
device; what each may be alone stands in `overrides.py`. None is accepted where it would be ignored.
"""

from collections.abc import Mapping

from megatron_codemix.config.overrides import check_overrides, typed_overrides
from megatron_codemix.config.schema import ModelConfig, RunConfig

_FIELD = "model.transformer_overrides"

_FOR_GPUS_ALONE = {
    "gradient_accumulation_fusion": "is a product of bf16 that adds in fp32",
    "defer_embedding_wgrad_compute": "needs Apex's gradient_accumulation_fusion",
    "cpu_offloading": "moves what a GPU keeps to the host",
    "fine_grained_activation_offloading": "moves what a GPU keeps to the host",
}
"""Overrides that a process which computes on a CPU cannot have on -> why."""

_MEANT_WITH = {
    "cpu_offloading_num_layers": "cpu_offloading",
    "cpu_offloading_activations": "cpu_offloading",
    "cpu_offloading_weights": "cpu_offloading",
    "cpu_offloading_double_buffering": "cpu_offloading",
    "offload_modules": "fine_grained_activation_offloading",
    "min_offloaded_tensor_size": "fine_grained_activation_offloading",
    "wgrad_deferral_limit": "defer_embedding_wgrad_compute",
    "activation_func_fp8_input_store": "bias_activation_fusion",
}
"""Overrides that are read only where another one is on."""

_OF_GATES = ("activation_func_clamp_value", "glu_linear_offset")


def check_overrides_on_cpu(overrides: Mapping[str, str]) -> list[str]:
    """A problem for each that is on and has no meaning where a CPU computes; of overrides that
    `check_overrides` finds nothing wrong with."""
    return [
        f"{_FIELD}.{name}: {_FOR_GPUS_ALONE[name]}, and has no meaning on a CPU; remove it"
        for name, value in typed_overrides(overrides).items()
        if value is True and name in _FOR_GPUS_ALONE
    ]


def check_override_fit(config: RunConfig) -> list[str]:
    """What is wrong with overrides beside the rest of the configuration; empty if all is well, or
    where `check_overrides` has said what is wrong with them alone."""
    overrides = config.model.transformer_overrides
    if check_overrides(overrides):
        return []
    on_cpu = check_overrides_on_cpu(overrides) if config.backend.device == "cpu" else []
    return [*_check_replaced(config.model), *_check_unread(config.model), *on_cpu]


def _check_replaced(model: ModelConfig) -> list[str]:
    """Overrides that an option of ours puts its own in place of."""
    replaced = {
        "mup": ("softmax_scale", "model.mup decides the scale of the attention"),
        "z_loss": ("cross_entropy_loss_fusion", "model.z_loss has a loss of its own"),
    }
    return [
        f"{_FIELD}.{name}: {reason}; remove one of them"
        for option, (name, reason) in replaced.items()
        if getattr(model, option) is not None and name in model.transformer_overrides
    ]


def _check_unread(model: ModelConfig) -> list[str]:
    """Overrides that nothing of this model reads."""
    overrides = typed_overrides(model.transformer_overrides)
    problems = [
        f"{_FIELD}.{name}: means something only with {other}: true; set that too, or remove it"
        for name, other in _MEANT_WITH.items()
        if name in overrides and overrides.get(other) is not True
    ]
    if overrides.get("apply_rope_fusion") is True:
        problems.append(
            f"{_FIELD}.apply_rope_fusion: true asks for a kernel of Transformer Engine, in whose "
            "place our own rotation is taken without being asked for; remove it (false takes "
            "megatron-core's)"
        )
    is_fused = overrides.get("bias_activation_fusion") is True
    if is_fused and model.activation == "gelu" and not model.add_bias:
        problems.append(
            f"{_FIELD}.bias_activation_fusion: true adds a bias in gelu, and model.add_bias is "
            "false; remove it"
        )
    for name in _OF_GATES:
        if name in overrides and model.activation == "gelu":
            problems.append(
                f"{_FIELD}.{name}: is of gated activations, and model.activation is gelu; remove it"
            )
        elif name in overrides and is_fused:
            problems.append(
                f"{_FIELD}.{name}: is not read with bias_activation_fusion: true; remove one of "
                "them"
            )
    return problems
