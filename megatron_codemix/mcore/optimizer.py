"""OptimizerConfig -> megatron-core's optimizer; learning rate and weight decay are set before each
step."""

from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import (
    MegatronOptimizer,
    ParamKey,
    ParamWithNamePredicate,
    get_megatron_optimizer,
    get_standard_config_overrides,
)
from megatron.core.optimizer import OptimizerConfig as MegatronOptimizerConfig

from megatron_codemix.config.schema import (
    AdamWConfig,
    AnyPrecisionConfig,
    LayoutConfig,
    MuonConfig,
)
from megatron_codemix.mcore.fp8.layers import engine_fields, gathers_in_gradients
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.master_weights import copy_together
from megatron_codemix.mcore.muon import put_muon_in
from megatron_codemix.mcore.transformer import DTYPES


def build_optimizer(
    optimizer: AdamWConfig | MuonConfig,
    layout: LayoutConfig,
    precision: AnyPrecisionConfig,
    model: list[DistributedDataParallel],
    parallel: ModelParallel,
    *,
    width_ratio: float = 1.0,
) -> MegatronOptimizer:
    """AdamW or Muon with fp32 master weights over the parameters of `model`.

    width_ratio: of muP (config/mup.py), by which the layers' matrices learn slower.
    """
    config = MegatronOptimizerConfig(
        optimizer="adam",
        lr=0.0,
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        adam_eps=optimizer.epsilon,
        clip_grad=optimizer.clip_grad_norm or 0.0,
        bf16=precision.model_format == "bf16",
        params_dtype=DTYPES[precision.model_format],
        use_distributed_optimizer=layout.distributed_optimizer,
        overlap_param_gather=layout.overlap_param_gather,
        fp8_recipe=engine_fields(precision).get("fp8_recipe"),
        reuse_grad_buf_for_mxfp8_param_ag=gathers_in_gradients(model[0].config),
    )
    built = get_megatron_optimizer(
        config,
        model,
        config_overrides=_group_multipliers(config, width_ratio),
        use_gloo_process_groups=False,
        pg_collection=parallel.groups,
    )
    if isinstance(optimizer, MuonConfig):
        put_muon_in(built, model, optimizer, DTYPES[precision.model_format])
    copy_together(built)
    model[0].config.grad_scale_func = built.scale_loss
    return built


def _group_multipliers(config: MegatronOptimizerConfig, width_ratio: float) -> dict[ParamKey, Any]:
    """Multipliers of learning rate and decay by group: megatron-core's own, which spare biases and
    norms the decay, and muP's for the layers' matrices."""
    multipliers: dict[ParamKey, Any] = get_standard_config_overrides(config)
    if width_ratio != 1.0:
        key = ParamKey(with_name_predicate=ParamWithNamePredicate("layer_matrix", _is_layer_matrix))
        multipliers[key] = {"lr_mult": 1 / width_ratio, "wd_mult": width_ratio}
    return multipliers


def _is_layer_matrix(parameter: torch.nn.Parameter, name: str) -> bool:
    return parameter.dim() == 2 and ".layers." in name


def set_step_sizes(optimizer: MegatronOptimizer, lr: float, weight_decay: float) -> None:
    """Learning rate and weight decay of the next step; biases and normalisation weights are not
    decayed."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_mult"]
        group["weight_decay"] = weight_decay * group["wd_mult"]
