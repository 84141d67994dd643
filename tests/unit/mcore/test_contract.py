"""Every name, parameter and patched attribute of megatron-core that this project relies on.

An upgrade that drops one fails here with its name, instead of at step 1000 of a run.
"""

import ast
import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # installs the CPU meaning of torch.cuda first
from megatron_codemix.backend import megatron_on_cpu

CALLS = {
    "megatron.core.parallel_state:initialize_model_parallel": [
        "tensor_model_parallel_size",
        "pipeline_model_parallel_size",
        "virtual_pipeline_model_parallel_size",
        "context_parallel_size",
        "expert_model_parallel_size",
        "expert_tensor_parallel_size",
        "create_gloo_process_groups",
    ],
    "megatron.core.parallel_state:destroy_model_parallel": [],
    "megatron.core.parallel_state:get_pipeline_model_parallel_last_rank": [],
    "megatron.core.tensor_parallel:model_parallel_cuda_manual_seed": ["seed"],
    "megatron.core.models.gpt:GPTModel": [
        "config",
        "transformer_layer_spec",
        "vocab_size",
        "max_sequence_length",
        "pre_process",
        "post_process",
        "parallel_output",
        "share_embeddings_and_output_weights",
        "position_embedding_type",
        "rotary_base",
        "pg_collection",
        "vp_stage",
    ],
    "megatron.core.models.gpt.gpt_layer_specs:get_gpt_layer_local_spec": [
        "num_experts",
        "normalization",
    ],
    "megatron.core.transformer.transformer_block:get_num_layers_to_build": ["config", "vp_stage"],
    "megatron.core.transformer.transformer_block:TransformerBlockSubmodules": [
        "layer_specs",
        "layer_norm",
    ],
    "megatron.core.transformer.spec_utils:ModuleSpec": ["module", "params", "submodules"],
    "megatron.core.transformer.transformer_layer:TransformerLayer": ["config", "submodules"],
    "megatron.core.transformer.transformer_layer:get_transformer_layer_offset": [
        "config",
        "vp_stage",
        "pp_rank",
    ],
    "megatron.core.transformer.identity_op:IdentityOp": [],
    "megatron.core.transformer.attention:SelfAttention": ["config", "submodules", "layer_number"],
    "megatron.core.transformer.spec_utils:build_module": ["spec_or_module"],
    "megatron.core.transformer.enums:AttnBackend": [],
    "megatron.core.transformer.enums:AttnMaskType": [],
    "megatron.core.models.common.embeddings.rotary_pos_embedding:RotaryEmbedding": [
        "kv_channels",
        "rotary_percent",
        "rotary_interleaved",
        "rotary_base",
        "use_cpu_initialization",
        "cp_group",
    ],
    "megatron.core.models.common.language_module.language_module:LanguageModule": [],
    "megatron.core.extensions.transformer_engine:TEDotProductAttention": [],
    "megatron.core.extensions.transformer_engine:TENorm": [],
    "megatron.core.tensor_parallel:CheckpointWithoutOutput": ["fp8"],
    "megatron.core.tensor_parallel:checkpoint": ["function", "distribute_saved_activations"],
    "megatron.core.tensor_parallel:copy_to_tensor_model_parallel_region": ["input_", "group"],
    "megatron.core.tensor_parallel:gather_from_sequence_parallel_region": ["input_", "group"],
    "megatron.core.tensor_parallel:reduce_from_tensor_model_parallel_region": ["input_", "group"],
    "megatron.core.tensor_parallel:reduce_scatter_to_sequence_parallel_region": [
        "input_",
        "group",
    ],
    "megatron.core.tensor_parallel:vocab_parallel_cross_entropy": [
        "vocab_parallel_logits",
        "target",
    ],
    "megatron.core.tensor_parallel.layers:ColumnParallelLinear": [],
    "megatron.core.tensor_parallel.layers:RowParallelLinear": [],
    "megatron.core.utils:make_viewless_tensor": ["inp", "requires_grad", "keep_graph"],
    "megatron.core.transformer.module:Float16Module": ["config", "module"],
    "megatron.core.transformer.module:MegatronModule": ["config"],
    "megatron.core.distributed:DistributedDataParallel": [
        "config",
        "ddp_config",
        "module",
        "disable_bucketing",
        "pg_collection",
    ],
    "megatron.core.fp8_utils:dequantize_fp8_tensor": ["fp8_tensor"],
    "megatron.core.fp8_utils:is_float8tensor": ["tensor"],
    "megatron.core.fp8_utils:quantize_param_shard": [
        "model_params",
        "main_params",
        "start_offsets",
        "data_parallel_group",
    ],
    "megatron.core.distributed:finalize_model_grads": ["model", "num_tokens", "pg_collection"],
    "megatron.core.optimizer:get_standard_config_overrides": ["config"],
    "megatron.core.optimizer:get_megatron_optimizer": [
        "config",
        "model_chunks",
        "config_overrides",
        "use_gloo_process_groups",
        "pg_collection",
    ],
    "megatron.core.pipeline_parallel:get_forward_backward_func": [],
    "megatron.core.pipeline_parallel.schedules:forward_backward_no_pipelining": [
        "forward_step_func",
        "data_iterator",
        "model",
        "num_microbatches",
        "seq_length",
        "micro_batch_size",
        "forward_only",
    ],
    "megatron.core.dist_checkpointing:save": [
        "sharded_state_dict",
        "checkpoint_dir",
        "content_metadata",
    ],
    "megatron.core.dist_checkpointing.core:CheckpointingConfig": [
        "sharded_backend",
        "sharded_backend_version",
    ],
    "megatron.core.dist_checkpointing.core:save_config": ["config", "checkpoint_dir"],
    "megatron.core.dist_checkpointing.serialization:load_sharded_metadata": ["checkpoint_dir"],
    "megatron.core.dist_checkpointing.state_dict_utils:save_preprocess": ["sharded_state_dict"],
    "megatron.core.dist_checkpointing.strategies.state_dict_saver:save_state_dict_async_plan": [
        "state_dict",
        "storage_writer",
        "planner",
    ],
    "megatron.core.dist_checkpointing.strategies.torch:MCoreSavePlanner": [
        "dedup_replicated_tensors",
    ],
    "megatron.core.dist_checkpointing.strategies.torch:mcore_to_pyt_state_dict": [
        "state_dict",
        "is_loading",
    ],
    "megatron.core.dist_checkpointing.strategies.torch:_replace_state_dict_keys_with_sharded_keys": [  # noqa: E501  # its name
        "sharded_state_dict",
        "keep_only_main_replica",
    ],
    "megatron.core.dist_checkpointing.strategies.fully_parallel:FullyParallelSaveStrategyWrapper": [
        "strategy",
        "parallelization_group",
    ],
    "megatron.core.dist_checkpointing.strategies.torch:TorchDistSaveShardedStrategy": [
        "backend",
        "version",
        "thread_count",
    ],
    "megatron.core.dist_checkpointing:load": ["sharded_state_dict", "checkpoint_dir"],
    "megatron.core.datasets.blended_dataset:BlendedDataset": [
        "datasets",
        "weights",
        "size",
        "config",
    ],
    "megatron.core.datasets.gpt_dataset:GPTDataset": [
        "indexed_dataset",
        "dataset_path",
        "indexed_indices",
        "num_samples",
        "index_split",
        "config",
    ],
    "megatron.core.datasets.indexed_dataset:IndexedDataset": ["path_prefix"],
    "megatron.core.datasets.indexed_dataset:IndexedDatasetBuilder": ["bin_path", "dtype"],
}

FIELDS = {
    "megatron.core.dist_checkpointing.mapping:ShardedObject": ["key", "data"],
    "megatron.core.dist_checkpointing.mapping:ShardedTensor": [
        "key",
        "data",
        "dtype",
        "global_shape",
    ],
    "megatron.core.transformer.transformer_config:TransformerConfig": [
        "num_layers",
        "hidden_size",
        "ffn_hidden_size",
        "num_attention_heads",
        "num_query_groups",
        "kv_channels",
        "activation_func",
        "gated_linear_unit",
        "normalization",
        "layernorm_epsilon",
        "rotary_interleaved",
        "qk_layernorm",
        "add_bias_linear",
        "init_method_std",
        "embedding_init_method_std",
        "softmax_scale",
        "hidden_dropout",
        "attention_dropout",
        "tensor_model_parallel_size",
        "pipeline_model_parallel_size",
        "virtual_pipeline_model_parallel_size",
        "context_parallel_size",
        "sequence_parallel",
        "num_moe_experts",
        "moe_ffn_hidden_size",
        "moe_router_topk",
        "moe_router_pre_softmax",
        "moe_router_dtype",
        "moe_router_load_balancing_type",
        "moe_aux_loss_coeff",
        "moe_z_loss_coeff",
        "moe_token_dispatcher_type",
        "expert_model_parallel_size",
        "expert_tensor_parallel_size",
        "recompute_granularity",
        "recompute_modules",
        "recompute_method",
        "recompute_num_layers",
        "overlap_p2p_comm",
        "batch_p2p_comm",
        "params_dtype",
        "pipeline_dtype",
        "autocast_dtype",
        "bf16",
        "calculate_per_token_loss",
        "attention_softmax_in_fp32",
        "bias_activation_fusion",
        "bias_dropout_fusion",
        "apply_rope_fusion",
        "use_te_activation_func",
        "masked_softmax_fusion",
        "persist_layer_norm",
        "gradient_accumulation_fusion",
        "use_cpu_initialization",
        "deallocate_pipeline_outputs",
        "batch_p2p_sync",
        "timers",
        "finalize_model_grads_func",
        "no_sync_func",
        "grad_sync_func",
        "grad_scale_func",
        "fp8",
        "fp8_recipe",
        "fp8_param",
        "fp8_margin",
        "fp8_amax_history_len",
        "fp8_amax_compute_algo",
        "first_last_layers_bf16",
        "num_layers_at_start_in_bf16",
        "num_layers_at_end_in_bf16",
    ],
    "megatron.core.distributed:DistributedDataParallelConfig": [
        "grad_reduce_in_fp32",
        "use_distributed_optimizer",
        "overlap_grad_reduce",
        "overlap_param_gather",
        "bucket_size",
        "fp8_param_gather",
        "reuse_grad_buf_for_mxfp8_param_ag",
    ],
    "megatron.core.optimizer:ParamKey": ["with_name_predicate"],
    "megatron.core.optimizer:ParamWithNamePredicate": ["name", "fn"],
    "megatron.core.optimizer:OptimizerConfig": [
        "optimizer",
        "lr",
        "weight_decay",
        "adam_beta1",
        "adam_beta2",
        "adam_eps",
        "clip_grad",
        "bf16",
        "params_dtype",
        "use_distributed_optimizer",
        "overlap_param_gather",
        "fp8_recipe",
        "reuse_grad_buf_for_mxfp8_param_ag",
    ],
    "megatron.core.process_groups_config:ProcessGroupCollection": [
        "tp",
        "pp",
        "cp",
        "ep",
        "dp",
        "dp_cp",
        "tp_cp",
        "tp_dp_cp",
    ],
    "megatron.core.transformer.transformer_layer:TransformerLayerSubmodules": [
        "input_layernorm",
        "pre_mlp_layernorm",
        "self_attention",
        "mlp",
    ],
    "megatron.core.datasets.gpt_dataset:GPTDatasetConfig": [
        "random_seed",
        "sequence_length",
        "split",
        "path_to_cache",
        "tokenizer",
        "reset_position_ids",
        "reset_attention_mask",
        "eod_mask_loss",
        "create_attention_mask",
    ],
}

ATTRIBUTES = {
    "megatron.core.transformer.attention:SelfAttention": ["forward"],
    "megatron.core.optimizer:MegatronOptimizer": [
        "load_state_dict",
        "reload_model_params",
        "get_grad_stats_parallel_group",
        "get_main_grads_for_grad_norm",
        "get_parameters",
        "prepare_grads",
        "scale_loss",
        "sharded_state_dict",
        "step_with_ready_grads",
        "zero_grad",
    ],
    "megatron.core.optimizer.distrib_optimizer:DistributedOptimizer": [
        "_copy_main_params_to_model_params",
        "_copy_main_params_to_param_buffer",
        "_get_fp8_params_and_shard_fp32_from_fp8",
        "_get_main_param_and_optimizer_states",
        "_get_model_param_range_map",
        "get_parameter_state_dp_zero",
        "sharded_state_dict",
    ],
    "megatron.core.optimizer.optimizer:Float16OptimizerWithFloat16Params": [
        "_copy_main_params_to_model_params",
        "_get_model_and_main_params_data_float16",
    ],
    "megatron.core.dist_checkpointing.strategies.filesystem_async:FileSystemWriterAsync": [
        "finish",
        "prepare_write_data",
    ],
    "megatron.core.optimizer:ChainedOptimizer": [
        "grads_states_parallel_group_is_shared",
        "param_groups",
    ],
    "megatron.core.distributed:DistributedDataParallel": [
        "no_sync",
        "scale_gradients",
        "start_grad_sync",
        "start_param_sync",
        "zero_grad_buffer",
    ],
    "megatron.core.models.gpt:GPTModel": [
        "load_state_dict",
        "sharded_state_dict",
        "compute_language_model_loss",
        "shared_embedding_or_output_weight",
    ],
    "megatron.core.transformer.transformer_block:TransformerBlock": ["set_input_tensor"],
    "megatron.core.dist_checkpointing:core": ["CheckpointingException"],
    "megatron.core.datasets.indexed_dataset:IndexedDatasetBuilder": ["add_document", "finalize"],
    "megatron.core.datasets.utils:Split": ["train"],
    "megatron.core.process_groups_config:ProcessGroupCollection": ["use_mpu_process_groups"],
    "megatron.core.tensor_parallel.cross_entropy:VocabParallelCrossEntropy": [
        "calculate_logits_max",
    ],
}
"""Methods that we call."""

PARAMETER_ATTRIBUTES = {
    "megatron.core.tensor_parallel.layers": ["tensor_model_parallel", "partition_dim"],
    "megatron.core.distributed.finalize_model_grads": ["sequence_parallel"],
    "megatron.core.distributed.distributed_data_parallel": ["allreduce"],
}
"""Marks on parameters that one side sets and the other reads, by the module that names them."""

SOURCES = {
    "megatron.core.optimizer.distrib_optimizer": [
        "self.buffers",
        "self.is_stub_optimizer",
        "self.model_param_gbuf_map",
        "model_float16_groups",
        "model_fp32_groups",
        "shard_fp32_from_float16_groups",
        "shard_fp32_groups",
    ],
    "megatron.core.optimizer.optimizer": [
        "self.chained_optimizers",
        "self.init_state_fn",
        "self.optimizer",
        "param.main_param",
    ],
    "megatron.core.tensor_parallel.layers": [
        "self.explicit_expert_comm",
        "self.output_size_per_partition",
    ],
    "megatron.core.models.gpt.gpt_model": [
        "self.embedding",
        "self.rotary_pos_emb",
        "self.decoder",
        "self.output_layer",
        "self.share_embeddings_and_output_weights",
    ],
    "megatron.core.transformer.attention": ["self.core_attention"],
    "megatron.core.transformer.transformer_layer": [
        "self.self_attention",
        "self.recompute_input_layernorm",
        "self.recompute_mlp",
        "self.bias_dropout_add_exec_handler",
        "self.mlp_bda",
    ],
}
"""Attributes of instances that our code reads or sets, by the module that makes them."""

MENTIONED = {
    "megatron.core.tensor_parallel.layers": [
        "self._forward_impl(",
        "allreduce_dgrad=",
        "sequence_parallel=",
        "tp_group=",
        "_grad_accum_fusion_available",
        "def get_extra_state(",
        "def set_extra_state(",
    ],
    "megatron.core.transformer.utils": ["_extra_state"],
    "megatron.core.transformer.transformer_block": ["if self.config.fp8:"],
    "megatron.core.optimizer.distrib_optimizer": ["get_high_precision_init_val"],
    "megatron.core.extensions.transformer_engine": [
        "HAVE_TE",
        "class TEColumnParallelLinear(",
        "class TELayerNormColumnParallelLinear(",
        "class TERowParallelLinear(",
    ],
}
"""What the layers in FP8 count on, by the module whose source has it; the last two only run with
Transformer Engine."""

PATCHED = {
    "megatron.core.tensor_parallel.random": ["_get_cuda_rng_state", "_set_cuda_rng_state"],
    "megatron.core.optimizer": ["Adam", "USING_PYTORCH_OPTIMIZER"],
    "megatron.core.optimizer.distrib_optimizer": [
        "Adam",
        "HAVE_APEX_OR_TE",
        "USING_APEX_OPTIMIZER",
    ],
    "megatron.core.dist_checkpointing.strategies.filesystem_async": ["_results_queue"],
    "megatron.core.jit": ["disable_jit_fuser"],
    "megatron.core.models.common.embeddings.rope_utils": ["fused_apply_rotary_pos_emb"],
    "megatron.core.tensor_parallel.cross_entropy": ["calculate_logits_max"],
    "megatron.core.transformer.moe.moe_utils": ["te_general_gemm"],
    "megatron.core.transformer.moe.token_dispatcher": ["maybe_move_tensor_to_cpu"],
}


def _resolve(address: str) -> object:
    module, name = address.split(":")
    found = importlib.import_module(module)
    return (
        getattr(found, name)
        if hasattr(found, name)
        else importlib.import_module(f"{module}.{name}")
    )


def _assigned_names(module_name: str) -> set[str]:
    """Names that the module's own source binds at any level: what we set later does not count."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module_name)))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def test_every_call_takes_the_parameters_that_we_pass() -> None:
    missing = []
    for address, parameters in CALLS.items():
        taken = inspect.signature(_resolve(address)).parameters
        missing += [f"{address}({name})" for name in parameters if name not in taken]
    assert missing == []


def test_every_config_has_the_fields_that_we_set() -> None:
    missing = []
    for address, names in FIELDS.items():
        known = {field.name for field in dataclasses.fields(_resolve(address))}
        missing += [f"{address}.{name}" for name in names if name not in known]
    assert missing == []


def test_classes_have_the_methods_that_we_call() -> None:
    missing = [
        f"{address}.{name}"
        for address, names in ATTRIBUTES.items()
        for name in names
        if not hasattr(_resolve(address), name)
    ]
    assert missing == []


def test_parameters_are_marked_by_the_names_that_we_use() -> None:
    missing = [
        f"{module}: {name}"
        for module, names in PARAMETER_ATTRIBUTES.items()
        for name in names
        if name not in inspect.getsource(importlib.import_module(module))
    ]
    assert missing == []


def test_modules_have_what_layers_in_fp8_count_on() -> None:
    missing = [
        f"{module}: {text}"
        for module, texts in MENTIONED.items()
        for text in texts
        if text not in inspect.getsource(importlib.import_module(module))
    ]
    assert missing == []


def test_layers_have_the_attributes_that_ours_use() -> None:
    missing = [
        f"{module}: {name}"
        for module, names in SOURCES.items()
        for name in names
        if f"{name} = " not in inspect.getsource(importlib.import_module(module))
    ]
    assert missing == []


def test_every_import_of_megatron_is_listed_here() -> None:
    """The lists above cannot fall behind the code: what it imports is read from its source."""
    folder = Path(megatron_on_cpu.__file__).parents[1]
    files = [
        *folder.glob("mcore/**/*.py"),
        *folder.glob("bench/**/*.py"),
        Path(megatron_on_cpu.__file__),
    ]
    imported = [
        f"{node.module}:{name.name}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("megatron.")
        for name in node.names
    ]
    assert len(imported) > 20
    listed = {*CALLS, *FIELDS, *ATTRIBUTES}
    names = {address for address in imported if not inspect.ismodule(_resolve(address))}
    assert sorted(names - listed) == []


@pytest.mark.parametrize("module", PATCHED)
def test_patched_attributes_exist_upstream(module: str) -> None:
    """Setting an attribute that upstream no longer reads would change nothing, silently."""
    missing = [name for name in PATCHED[module] if name not in _assigned_names(module)]
    assert missing == []


def test_replaced_cuda_functions_exist_in_torch() -> None:
    missing = [name for name in megatron_on_cpu.CUDA_FUNCTIONS if not hasattr(torch.cuda, name)]
    assert missing == []


def test_installed_version_is_the_pinned_one() -> None:
    from importlib.metadata import version

    assert version("megatron-core") == "0.16.1"
