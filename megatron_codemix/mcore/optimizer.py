"""OptimizerConfig -> megatron-core's optimizer; learning rate and weight decay are set before each
step."""

from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer, get_megatron_optimizer
from megatron.core.optimizer import OptimizerConfig as MegatronOptimizerConfig

from megatron_codemix.config.schema import AdamWConfig, LayoutConfig, PrecisionConfig
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.transformer import DTYPES


def build_optimizer(
    optimizer: AdamWConfig,
    layout: LayoutConfig,
    precision: PrecisionConfig,
    model: list[DistributedDataParallel],
    parallel: ModelParallel,
) -> MegatronOptimizer:
    """AdamW with fp32 master weights over the parameters of `model`."""
    built = get_megatron_optimizer(
        MegatronOptimizerConfig(
            optimizer="adam",
            lr=0.0,
            weight_decay=optimizer.weight_decay,
            adam_beta1=optimizer.beta1,
            adam_beta2=optimizer.beta2,
            adam_eps=optimizer.epsilon,
            clip_grad=optimizer.clip_grad_norm or 0.0,
            bf16=precision.kind == "bf16",
            params_dtype=DTYPES[precision.kind],
            use_distributed_optimizer=layout.distributed_optimizer,
            overlap_param_gather=layout.overlap_param_gather,
        ),
        model,
        use_gloo_process_groups=False,
        pg_collection=parallel.groups,
    )
    model[0].config.grad_scale_func = built.scale_loss
    return built


def set_step_sizes(optimizer: MegatronOptimizer, lr: float, weight_decay: float) -> None:
    """Learning rate and weight decay of the next step; biases and normalisation weights are not
    decayed."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_mult"]
        group["weight_decay"] = weight_decay * group["wd_mult"]
