"""Fp8Config -> fields of megatron-core's TransformerConfig, and linear layers of our own that
multiply in FP8."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.backend.devices import compute_capability
from megatron_codemix.config.precision_checks import check_capability, check_cuda, fp8_format
from megatron_codemix.config.schema import AnyPrecisionConfig, Fp8Config
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.fp8.linear import IN_FP8
from megatron_codemix.mcore.fp8.products import IN_BOTH_ORDERS, PRODUCTS
from megatron_codemix.mcore.fp8.scaling import (
    BlockwiseScaling,
    DelayedScaling,
    LayerScaling,
    MicroScaling,
    TensorwiseScaling,
)
from megatron_codemix.mcore.groups import ModelParallel

LAYERS_AT_EACH_END = 1
"""With first_last_bf16."""


def require_fp8_device(precision: AnyPrecisionConfig, device: torch.device) -> None:
    """Raises UnavailableError where the device cannot multiply so, or Transformer Engine would have
    to multiply by another CUDA than it needs."""
    if not isinstance(precision, Fp8Config):
        return
    if precision.is_engines and device.type == "cpu":
        raise UnavailableError(
            "precision.recipe: Transformer Engine multiplies on a GPU, and this process computes "
            "on a CPU; codemix doctor says what PyTorch finds, precision.recipe=emulated runs "
            "anywhere"
        )
    problems = [
        *check_capability(precision, compute_capability(device)),
        *check_cuda(precision, torch.version.cuda),
    ]
    if problems:
        raise UnavailableError("\n".join(problems))


def engine_fields(precision: AnyPrecisionConfig) -> dict[str, Any]:
    """Of TransformerConfig; empty where Transformer Engine has no part in it."""
    if not isinstance(precision, Fp8Config) or not precision.is_engines:
        return {}
    fields: dict[str, Any] = {
        "fp8": fp8_format(precision.recipe),
        "fp8_recipe": precision.recipe,
        "fp8_param": precision.fp8_params,
        "first_last_layers_bf16": precision.first_last_bf16,
        "num_layers_at_start_in_bf16": LAYERS_AT_EACH_END,
        "num_layers_at_end_in_bf16": LAYERS_AT_EACH_END,
    }
    if precision.recipe == "delayed":
        fields |= {
            "fp8_margin": precision.margin,
            "fp8_amax_history_len": precision.amax_history_length,
            "fp8_amax_compute_algo": "max",
        }
    return fields


def gathers_in_gradients(config: TransformerConfig) -> bool:
    """Whether updated weights are gathered in the memory of the gradients, in bf16, and rounded on
    arrival: MXFP8 ones, of which Transformer Engine has two copies and neither in one buffer."""
    return bool(config.fp8_param and config.fp8_recipe == "mxfp8")


@dataclass(frozen=True)
class Fp8Layers:
    """What a model's layers need to multiply in FP8."""

    precision: Fp8Config
    parallel: ModelParallel
    device: torch.device

    @classmethod
    def of(
        cls, precision: AnyPrecisionConfig, parallel: ModelParallel, device: torch.device
    ) -> Self | None:
        """None where nothing is FP8, or Transformer Engine's layers are."""
        if not isinstance(precision, Fp8Config) or precision.is_engines:
            return None
        return cls(precision, parallel, device)

    def takes(self, number: int, num_layers: int) -> bool:
        """Whether the layer of this number, counted from 0 over the whole model, is one of them."""
        from_end = min(number, num_layers - 1 - number)
        return not self.precision.first_last_bf16 or from_end >= LAYERS_AT_EACH_END

    def put_into(self, layer: ModuleSpec) -> None:
        """Replaces the linear layers of a transformer layer's spec."""
        attention = layer.submodules.self_attention.submodules
        mlp = layer.submodules.mlp.submodules
        for owner, name in (
            (attention, "linear_qkv"),
            (attention, "linear_proj"),
            (mlp, "linear_fc1"),
            (mlp, "linear_fc2"),
        ):
            setattr(owner, name, self._own_linear(getattr(owner, name)))

    def _own_linear(self, plain: type) -> ModuleSpec:
        scaling = partial(make_scaling, self.precision, self.parallel, self.device)
        product = PRODUCTS[self.precision.recipe]
        params = {"make_scaling": scaling, "multiply": product}
        return ModuleSpec(module=IN_FP8[plain], params=params)


def make_scaling(
    precision: Fp8Config, parallel: ModelParallel, device: torch.device
) -> LayerScaling:
    """The scaling of one linear layer."""
    in_both_orders = precision.recipe in IN_BOTH_ORDERS
    match precision.scaling:
        case "tensorwise":
            sharing = parallel.groups.tp_cp
            group = sharing if sharing.size() > 1 else None
            return TensorwiseScaling(group, in_both_orders=in_both_orders)
        case "blockwise":
            return BlockwiseScaling()
        case "mxfp8":
            return MicroScaling()
        case "delayed":
            return DelayedScaling(
                precision.amax_history_length,
                precision.margin,
                device,
                in_both_orders=in_both_orders,
            )
    raise AssertionError(f"check_precision lets no {precision} through")
