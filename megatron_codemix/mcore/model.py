"""Builds this rank's part of the GPT model, alone (evaluation) or wrapped for data-parallel
training."""

import warnings
from typing import TypeAlias

from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.module import Float16Module

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, PrecisionConfig
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.initial_weights import initialize_weights
from megatron_codemix.mcore.transformer import build_layer_spec, build_transformer_config

Model: TypeAlias = GPTModel | Float16Module


def build_model(
    model: ModelConfig,
    layout: LayoutConfig,
    precision: PrecisionConfig,
    *,
    sequence_length: int,
    seed: int,
    parallel: ModelParallel,
    backend: Backend,
) -> Model:
    """The layers of this rank with their weights at step 0; forward(tokens, positions, mask,
    labels=...) gives per-token losses [B, S] on the last pipeline stage."""
    with warnings.catch_warnings():
        # megatron-core warns of its own defaults: an empty CUDA graph scope, the MLP's width.
        warnings.simplefilter("ignore")
        gpt = _build_gpt(model, layout, precision, sequence_length, parallel, backend)
    initialize_weights(gpt, seed, parallel)
    gpt.to(backend.device)
    return Float16Module(gpt.config, gpt) if precision.kind == "bf16" else gpt


def _build_gpt(
    model: ModelConfig,
    layout: LayoutConfig,
    precision: PrecisionConfig,
    sequence_length: int,
    parallel: ModelParallel,
    backend: Backend,
) -> GPTModel:
    config = build_transformer_config(model, layout, precision, backend.device)
    return GPTModel(
        config,
        build_layer_spec(config, model),
        vocab_size=padded_vocabulary_size(model.vocabulary_size),
        max_sequence_length=sequence_length,
        pre_process=parallel.is_first_stage,
        post_process=parallel.is_last_stage,
        parallel_output=True,
        share_embeddings_and_output_weights=model.tie_embeddings,
        position_embedding_type="rope",
        rotary_base=model.rope_base,
        pg_collection=parallel.groups,
    )


def gpt_of(model: Model | DistributedDataParallel) -> GPTModel:
    """The GPTModel inside the wrappers."""
    while not isinstance(model, GPTModel):
        model = model.module
    return model


def wrap_data_parallel(
    model: Model, layout: LayoutConfig, parallel: ModelParallel
) -> DistributedDataParallel:
    """The model with fp32 gradient buffers that are reduced over the data-parallel ranks."""
    config = model.config
    wrapped = DistributedDataParallel(
        config,
        DistributedDataParallelConfig(
            grad_reduce_in_fp32=True,
            use_distributed_optimizer=layout.distributed_optimizer,
        ),
        model,
        pg_collection=parallel.groups,
    )
    config.finalize_model_grads_func = finalize_model_grads
    return wrapped
