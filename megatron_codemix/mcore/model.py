"""Builds this rank's part of the GPT model, alone (evaluation) or wrapped for data-parallel
training.

A rank's part is a list of model chunks: one, or with interleaved pipeline stages several that do
not follow one another.
"""

import contextlib
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
)
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.enums import AttnBackend
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.backend import megatron_on_cpu
from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.engine_options import takes_engine_loss
from megatron_codemix.config.overrides import typed_overrides
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    BackendConfig,
    LayoutConfig,
    ModelConfig,
)
from megatron_codemix.mcore.engine.choice import Asked, choose_engine
from megatron_codemix.mcore.engine_loss import EngineLossModel
from megatron_codemix.mcore.experts import mark_experts
from megatron_codemix.mcore.fp8.layers import Fp8Layers, gathers_in_gradients
from megatron_codemix.mcore.gradient_sums import let_layers_sum
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.initial_weights import initialize_weights
from megatron_codemix.mcore.language_model import GptWithLosses
from megatron_codemix.mcore.ranges import RangeTimers
from megatron_codemix.mcore.tensor_overlap import require_buffered_layers
from megatron_codemix.mcore.transformer import build_layer_spec, build_transformer_config
from megatron_codemix.mcore.update import finish_gradients

Model: TypeAlias = GPTModel | Float16Module
"""A model chunk."""
OUR_LAYERS = BackendConfig(engine="torch")
"""Of models that are only read; in FP8 by Transformer Engine they are its all the same."""


def build_model(
    model: ModelConfig,
    layout: LayoutConfig,
    precision: AnyPrecisionConfig,
    *,
    sequence_length: int,
    seed: int | None,
    parallel: ModelParallel,
    backend: Backend,
    asked: BackendConfig = OUR_LAYERS,
    document_mask: bool = False,
) -> list[Model]:
    """The model chunks of this rank with their weights at step 0; forward(tokens, positions, mask,
    labels=...) of the model's last one gives per-token losses [B, S].

    seed: None: weights have no values, on a device that keeps none.
    asked: whose layers, and by which kernels they attend, on a GPU.
    document_mask: whether forward will be given masks.
    """
    config = build_transformer_config(model, layout, precision, backend.device)
    if backend.has_profiler:
        config.timers = RangeTimers(backend)
    config.attention_backend = AttnBackend[asked.attention]
    choice = Asked(asked, model, layout, precision, sequence_length, document_mask)
    engine = choose_engine(choice, config, parallel, backend)
    fp8 = Fp8Layers.of(precision, parallel, backend.device)
    chunks: list[Model] = []
    for number in range(parallel.num_chunks):
        # On the device from the first: parameters that are brought there may lose their marks.
        with backend.device, warnings.catch_warnings():
            # megatron-core warns of its own defaults: an empty CUDA graph scope, the MLP's width.
            warnings.simplefilter("ignore")
            spec = build_layer_spec(config, model, parallel.stage_of(number), fp8, engine)
            gpt = _build_gpt(model, config, spec, sequence_length, parallel, number)
        if seed is not None:
            initialize_weights(gpt, seed, parallel)
        mark_experts(gpt)
        gpt.to(backend.device)
        chunks.append(Float16Module(config, gpt) if precision.model_format == "bf16" else gpt)
    let_layers_sum(chunks, config, typed_overrides(model.transformer_overrides))
    if layout.tensor_overlap:
        require_buffered_layers(chunks, model.num_layers // layout.pipeline)
    return chunks


def _build_gpt(
    model: ModelConfig,
    config: TransformerConfig,
    spec: TransformerBlockSubmodules,
    sequence_length: int,
    parallel: ModelParallel,
    chunk: int,
) -> GPTModel:
    build = (
        EngineLossModel if takes_engine_loss(model) else partial(GptWithLosses, z_loss=model.z_loss)
    )
    return build(
        config,
        spec,
        vocab_size=padded_vocabulary_size(model.vocabulary_size),
        max_sequence_length=sequence_length,
        pre_process=parallel.is_first_chunk(chunk),
        post_process=parallel.is_last_chunk(chunk),
        parallel_output=True,
        share_embeddings_and_output_weights=model.tie_embeddings,
        position_embedding_type="rope",
        rotary_base=model.rope_base,
        pg_collection=parallel.groups,
        vp_stage=parallel.stage_of(chunk),
    )


def gpt_of(model: Model | DistributedDataParallel) -> GPTModel:
    """The GPTModel inside the wrappers."""
    while not isinstance(model, GPTModel):
        model = model.module
    return model


def direct_calls(model: Model | DistributedDataParallel) -> contextlib.AbstractContextManager[None]:
    """For its forward pass on a CPU, which does not ask for CUDA by name but in megatron-core's
    experts and for the angles of a part of a sequence."""
    config = gpt_of(model).config
    is_silent = config.num_moe_experts is None and config.context_parallel_size == 1
    return megatron_on_cpu.direct_calls() if is_silent else contextlib.nullcontext()


def finish_update(chunks: Sequence[DistributedDataParallel]) -> None:
    """Brings every rank the weights of the last step, where their gathering is left to the next
    forward pass (layout.overlap_param_gather). Every rank calls it, before it reads weights."""
    for chunk in chunks:
        if chunk.ddp_config.overlap_param_gather:
            chunk.start_param_sync(force_sync=True)


def wrap_data_parallel(
    chunks: Sequence[Model], layout: LayoutConfig, parallel: ModelParallel
) -> list[DistributedDataParallel]:
    """The chunks with fp32 gradient buffers that are reduced over the data-parallel ranks. Every
    rank calls it. Raises UnavailableError where a loss that was asked for cannot be had."""
    config = chunks[0].config
    for chunk in map(gpt_of, chunks):
        if isinstance(chunk, EngineLossModel):
            chunk.require_right_losses()
    wrapped = [
        DistributedDataParallel(
            config,
            DistributedDataParallelConfig(
                grad_reduce_in_fp32=True,
                use_distributed_optimizer=layout.distributed_optimizer,
                overlap_grad_reduce=layout.overlap_grad_reduce,
                overlap_param_gather=layout.overlap_param_gather,
                bucket_size=layout.bucket_parameters,
                fp8_param_gather=config.fp8_param,
                reuse_grad_buf_for_mxfp8_param_ag=gathers_in_gradients(config),
            ),
            chunk,
            # Of the later chunks' collectives nothing is left to overlap with.
            disable_bucketing=number > 0,
            pg_collection=parallel.groups,
        )
        for number, chunk in enumerate(chunks)
    ]
    config.finalize_model_grads_func = partial(finish_gradients, parallel=parallel)
    if layout.overlap_grad_reduce:
        # Lists only where there are several: megatron-core's other schedules call the function.
        no_sync = [chunk.no_sync for chunk in wrapped]
        start = [chunk.start_grad_sync for chunk in wrapped]
        config.no_sync_func = no_sync if len(wrapped) > 1 else no_sync[0]
        config.grad_sync_func = start if len(wrapped) > 1 else start[0]
    return wrapped
