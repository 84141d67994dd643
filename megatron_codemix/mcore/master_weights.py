"""fp32 master weights -> the model's weights in one call for all of them, which on a GPU is a few
kernels; megatron-core launches one for each parameter. Gradients need no copy: those of the buffers
are fp32, and megatron-core hands them on as they lie."""

from collections.abc import Iterator
from functools import partial

import torch
from megatron.core.fp8_utils import is_float8tensor, quantize_param_shard
from megatron.core.optimizer import ChainedOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.optimizer.optimizer import Float16OptimizerWithFloat16Params

Groups = list[list[torch.nn.Parameter]]
Copies = Iterator[tuple[torch.Tensor, torch.Tensor]]
"""Where to, and what."""


def copy_together(optimizer: ChainedOptimizer) -> None:
    """From now on. An optimizer whose weights are fp32 themselves copies nothing."""
    for part in optimizer.chained_optimizers:
        if isinstance(part, DistributedOptimizer):
            part._copy_main_params_to_model_params = partial(_copy_shards, part)
            part._copy_main_params_to_param_buffer = partial(_copy_to_buffers, part)
        elif isinstance(part, Float16OptimizerWithFloat16Params):
            part._copy_main_params_to_model_params = partial(_copy_whole, part)


def _copy_whole(optimizer: Float16OptimizerWithFloat16Params) -> None:
    weights, masters = optimizer._get_model_and_main_params_data_float16()
    _copy(zip(weights, masters, strict=True))


def _copy_shards(optimizer: DistributedOptimizer) -> None:
    """Each rank's part of the weights, to where it is gathered from. FP8 ones are cast by
    Transformer Engine, all at once too."""
    if optimizer.is_stub_optimizer:
        return
    in_fp8 = optimizer._get_fp8_params_and_shard_fp32_from_fp8()
    quantize_param_shard(*in_fp8, optimizer.data_parallel_group)
    # Apart: lists of one format each are what torch copies in few kernels.
    for masters, models in (
        (optimizer.shard_fp32_from_float16_groups, optimizer.model_float16_groups),
        (optimizer.shard_fp32_groups, optimizer.model_fp32_groups),
    ):
        places = _places(optimizer, masters, models)
        _copy((to, master) for to, master, model in places if not is_float8tensor(model))


def _copy_to_buffers(optimizer: DistributedOptimizer) -> None:
    """As `_copy_shards` where weights are gathered in bf16 whatever they are kept in."""
    places = _places(
        optimizer, optimizer.shard_fp32_from_float16_groups, optimizer.model_float16_groups
    )
    _copy((to, master) for to, master, _ in places)


def _places(
    optimizer: DistributedOptimizer, masters: Groups, models: Groups
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.nn.Parameter]]:
    """(part of a buffer, master weights of this rank that belong there, whole parameter)."""
    for master_group, model_group in zip(masters, models, strict=True):
        for master, model in zip(master_group, model_group, strict=True):
            span = optimizer._get_model_param_range_map(model)["gbuf_world_in_bucket"]
            buffer, _, bucket = optimizer.model_param_gbuf_map[model]
            weights = optimizer.buffers[buffer].buckets[bucket].param_data.view(-1)
            yield weights[span.start : span.end], master, model


def _copy(copies: Copies) -> None:
    pairs = list(copies)
    if pairs:
        torch._foreach_copy_([to for to, _ in pairs], [master for _, master in pairs])
