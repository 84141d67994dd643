"""The flags of Megatron-LM's pretrain_gpt.py that ask for the same run.

Names and defaults are those of `megatron/training/arguments.py` of the release that megatron-core
0.16 belongs to. Speed-only flags are left at Megatron-LM's defaults.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from megatron_codemix.config.engine_checks import left_out
from megatron_codemix.config.identity import SAMPLE_OPTIONS
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.overrides import Value, typed_overrides
from megatron_codemix.config.plan import VOCABULARY_MULTIPLE, RunPlan
from megatron_codemix.config.precision_checks import fp8_format
from megatron_codemix.config.router import corrected_coefficients
from megatron_codemix.config.schema import (
    AdamWConfig,
    AnyPrecisionConfig,
    ConstantMixtureConfig,
    ConstantSchedule,
    CosineSchedule,
    Fp8Config,
    LayoutConfig,
    LinearSchedule,
    ModelConfig,
    RampUpConfig,
    RunConfig,
    ScheduleConfig,
    SourceConfig,
    StepSchedule,
    WsdSchedule,
)
from megatron_codemix.errors import ConfigError

_TRUE_FLAGS = (
    "add_qkv_bias",
    "apply_residual_connection_post_layernorm",
    "cross_entropy_loss_fusion",
    "defer_embedding_wgrad_compute",
    "deterministic_mode",
    "disable_bf16_reduced_precision_matmul",
    "distribute_saved_activations",
    "fp32_residual_connection",
    "test_mode",
    "use_fused_weighted_squared_relu",
    "use_ring_exchange_p2p",
)
"""Overrides that are a flag of the same name without a value, off by default."""

_VALUE_FLAGS = (
    "activation_func_clamp_value",
    "config_logger_dir",
    "cpu_offloading_num_layers",
    "cross_entropy_fusion_impl",
    "glu_linear_offset",
    "no_rope_freq",
    "pipeline_model_parallel_comm_backend",
    "wgrad_deferral_limit",
)
"""Overrides that are a flag of the same name with a value."""

_FALSE_FLAGS = {
    "apply_rope_fusion": "--no-rope-fusion",
    "barrier_with_L1_time": "--no-barrier-with-level-1-timing",
    "bias_dropout_fusion": "--no-bias-dropout-fusion",
    "clone_scatter_output_in_embedding": "--no-clone-scatter-output-in-embedding",
    "gradient_accumulation_fusion": "--no-gradient-accumulation-fusion",
}
"""Overrides that Megatron-LM has on, with the flag that turns them off."""

Flags = list[tuple[str, ...]]


class _Unit(NamedTuple):
    """What Megatron-LM counts a run in."""

    name: Literal["iters", "samples"]
    tokens: int


def megatron_arguments(config: RunConfig, plan: RunPlan) -> Flags:
    """Each flag with its values. Raises ConfigError for what Megatron-LM has no flag for."""
    _require_plain_samples(config)
    mixture = config.data.mixture
    if not isinstance(mixture, ConstantMixtureConfig) or config.data.changes:
        raise ConfigError(
            ["data.mixture: Megatron-LM blends with constant weights; it has no schedule of them"]
        )
    model, layout, optimizer = config.model, config.layout, config.optimizer
    if not isinstance(optimizer, AdamWConfig):
        raise ConfigError(
            [f"optimizer.kind: {optimizer.kind}: Megatron-LM's splits and scales in other ways"]
        )
    flags: Flags = [
        *_model_flags(model),
        *_expert_flags(model, layout),
        *_vocabulary_flags(model, layout.tensor, plan),
        ("--seq-length", str(config.data.sequence_length)),
        ("--max-position-embeddings", str(config.data.sequence_length)),
        *_layout_flags(layout),
        *_kernel_flags(config),
        ("--global-batch-size", str(config.train.global_batch_sequences)),
        *_horizon_flags(config, plan),
        ("--optimizer", "adam"),
        ("--weight-decay", repr(optimizer.weight_decay)),
        ("--adam-beta1", repr(optimizer.beta1)),
        ("--adam-beta2", repr(optimizer.beta2)),
        ("--adam-eps", repr(optimizer.epsilon)),
        ("--clip-grad", repr(optimizer.clip_grad_norm or 0.0)),
        ("--calculate-per-token-loss",),
        ("--seed", str(config.train.seed)),
        ("--train-data-path", *_blend(mixture, config.data.sources)),
        ("--dataloader-type", "single"),
        ("--eval-iters", "0"),
        ("--save-interval", str(plan.save_every_steps)),
        ("--log-interval", str(config.logging.every_steps)),
    ]
    return (
        flags
        + _precision_flags(config.precision)
        + _override_flags(typed_overrides(model.transformer_overrides))
    )


def what_differs(config: RunConfig) -> list[str]:
    """What the flags cannot make equal, for people to know before they compare."""
    notes = [
        "the weights at step 0 differ: here each follows from the seed and its name",
        "the order of the samples differs after the first epoch of a source, and where sources are "
        "blended",
        "Megatron-LM takes the learning rate from the tokens before a step, this project from "
        "those after it: its curve lies one step later",
        "the token shards are read as they are (NullTokenizer); --save and --load are left to you",
    ]
    if config.init_from is not None:
        notes.append(
            f"init_from ({config.init_from.run}) is not translated: Megatron-LM cannot load this "
            "project's checkpoints"
        )
    return notes


def _require_plain_samples(config: RunConfig) -> None:
    """Raises ConfigError unless the samples are windows of the documents' stream, read as they
    are."""
    read = weighted_sources(config.data)
    problems = [
        f"data.sources.{name}.{option}: pretrain_gpt.py has no flag for it"
        for name, source in config.data.sources.items()
        for option in SAMPLE_OPTIONS
        if getattr(source, option) is not None and name in read
    ]
    if config.train.stage != "pretrain":
        problems.append(
            f"train.stage: {config.train.stage} learns answers alone; pretrain_gpt.py has no flag "
            "for it"
        )
    if config.data.document_mask:
        problems.append(
            "data.document_mask: Megatron-LM's --reset-attention-mask puts the end-of-document "
            "token into the document that it ends, not into the one that it opens"
        )
    if problems:
        raise ConfigError(problems)


def _require_known_model(model: ModelConfig) -> None:
    """Raises ConfigError for what Megatron-LM's model does not have."""
    lacks = {
        "activation: geglu": model.activation == "geglu",
        "block: parallel": model.block == "parallel",
        "normalization: layernorm_no_bias": model.normalization == "layernorm_no_bias",
        "logit_scale": model.logit_scale != 1.0,
        "z_loss": model.z_loss is not None,
        "mup": model.mup is not None,
    }
    problems = [f"model.{name}: Megatron-LM has no flag for it" for name in lacks if lacks[name]]
    if model.rope_base != int(model.rope_base):
        problems.append(f"model.rope_base: --rotary-base is whole, {model.rope_base} is not")
    if problems:
        raise ConfigError(problems)


def _model_flags(model: ModelConfig) -> Flags:
    _require_known_model(model)
    heads, groups = model.num_attention_heads, model.num_query_groups
    flags: Flags = [
        ("--num-layers", str(model.num_layers)),
        ("--hidden-size", str(model.hidden_size)),
        ("--ffn-hidden-size", str(model.ffn_hidden_size)),
        ("--num-attention-heads", str(heads)),
        ("--kv-channels", str(model.head_dim or model.hidden_size // heads)),
        ("--position-embedding-type", "rope"),
        ("--rotary-base", str(int(model.rope_base))),
        ("--normalization", {"rmsnorm": "RMSNorm", "layernorm": "LayerNorm"}[model.normalization]),
        ("--norm-epsilon", repr(model.norm_epsilon)),
        ("--init-method-std", repr(model.init_std)),
        ("--attention-dropout", "0.0"),
        ("--hidden-dropout", "0.0"),
        ("--attention-softmax-in-fp32",),
    ]
    if groups is not None and groups != heads:
        flags += [("--group-query-attention",), ("--num-query-groups", str(groups))]
    if model.rope_interleaved:
        flags.append(("--rotary-interleaved",))
    if model.qk_norm:
        flags.append(("--qk-layernorm",))
    if model.activation == "swiglu":
        flags.append(("--swiglu",))
    if not model.add_bias:
        flags.append(("--disable-bias-linear",))
    if not model.tie_embeddings:
        flags.append(("--untie-embeddings-and-output-weights",))
    return flags


def _vocabulary_flags(model: ModelConfig, tensor: int, plan: RunPlan) -> Flags:
    """NullTokenizer adds an entry of its own, for the end of a document, to --vocab-size."""
    flags: Flags = [
        ("--tokenizer-type", "NullTokenizer"),
        ("--vocab-size", str(model.vocabulary_size - 1)),
    ]
    if VOCABULARY_MULTIPLE % tensor:
        return [*flags, ("--padded-vocab-size", str(plan.padded_vocabulary_size))]
    # Megatron-LM multiplies by the tensor-parallel size before it pads.
    return [*flags, ("--make-vocab-size-divisible-by", str(VOCABULARY_MULTIPLE // tensor))]


def _expert_flags(model: ModelConfig, layout: LayoutConfig) -> Flags:
    moe = model.moe
    if moe is None:
        return []
    coefficients = corrected_coefficients(moe, layout)
    flags: Flags = [
        ("--num-experts", str(moe.num_experts)),
        ("--moe-ffn-hidden-size", str(model.ffn_hidden_size)),
        ("--moe-router-topk", str(moe.top_k)),
        ("--moe-router-dtype", "fp32"),
        ("--moe-token-dispatcher-type", "alltoall"),
        ("--moe-router-load-balancing-type", "seq_aux_loss" if moe.balance_coefficient else "none"),
        ("--moe-aux-loss-coeff", repr(coefficients.balance)),
        ("--expert-model-parallel-size", str(layout.expert)),
        ("--expert-tensor-parallel-size", "1"),
    ]
    if coefficients.router_z is not None:
        flags.append(("--moe-z-loss-coeff", repr(coefficients.router_z)))
    if not moe.normalize_chosen:
        flags.append(("--moe-router-pre-softmax",))
    return flags


def _layout_flags(layout: LayoutConfig) -> Flags:
    flags: Flags = [
        ("--tensor-model-parallel-size", str(layout.tensor)),
        ("--pipeline-model-parallel-size", str(layout.pipeline)),
        ("--context-parallel-size", str(layout.context)),
        ("--micro-batch-size", str(layout.microbatch_sequences)),
    ]
    if layout.virtual_pipeline > 1:
        chunks = str(layout.virtual_pipeline)
        flags.append(("--num-virtual-stages-per-pipeline-rank", chunks))
    if layout.context > 1:
        # Keys and values are gathered here; Megatron-LM's default sends them around a ring.
        flags.append(("--cp-comm-type", "all_gather"))
    if layout.bucket_parameters is not None:
        flags.append(("--ddp-bucket-size", str(layout.bucket_parameters)))
    switches = {
        "--sequence-parallel": layout.sequence_parallel,
        "--tp-comm-overlap": layout.tensor_overlap,
        "--use-distributed-optimizer": layout.distributed_optimizer,
        "--overlap-grad-reduce": layout.overlap_grad_reduce,
        "--overlap-param-gather": layout.overlap_param_gather,
    }
    flags += [(flag,) for flag, is_on in switches.items() if is_on]
    return flags + _recompute_flags(layout)


def _kernel_flags(config: RunConfig) -> Flags:
    """As on a machine where Transformer Engine is usable, as Megatron-LM's is to be."""
    asked = config.backend
    is_ours = asked.engine == "torch" or "layers" in left_out(
        config.model, config.layout, config.precision
    )
    # Megatron-LM's local layers attend by products of their own, whatever is asked.
    attention = "local" if is_ours else asked.attention
    impl = "local" if is_ours else "transformer_engine"
    flags: Flags = [("--transformer-impl", impl), ("--attention-backend", attention)]
    # Apex's kernel, which its local LayerNorm takes by default and its RMSNorm refuses.
    return [*flags, ("--no-persist-layer-norm",)] if is_ours else flags


def _recompute_flags(layout: LayoutConfig) -> Flags:
    match layout.recompute:
        case "none":
            return []
        case "selective":
            return [
                ("--recompute-granularity", "selective"),
                ("--recompute-modules", *layout.recompute_modules),
            ]
        case "full":
            return [
                ("--recompute-granularity", "full"),
                ("--recompute-method", layout.recompute_method),
                ("--recompute-num-layers", str(layout.recompute_layers)),
            ]


def _horizon_flags(config: RunConfig, plan: RunPlan) -> Flags:
    schedule = config.schedule
    if schedule.span == "chain":
        raise ConfigError(["schedule.span: Megatron-LM's curve begins and ends with its run"])
    warmup = 0 if isinstance(schedule, LinearSchedule) else schedule.warmup_tokens
    ramp_up, length = config.train.ramp_up, config.data.sequence_length
    # Megatron-LM ramps up only where it counts samples.
    unit = _Unit("iters", plan.tokens_per_step) if ramp_up is None else _Unit("samples", length)
    horizon = str(plan.train_tokens // unit.tokens)
    flags: Flags = [(f"--train-{unit.name}", horizon), (f"--lr-decay-{unit.name}", horizon)]
    if ramp_up is not None:
        flags.append(_ramp_up_flag(ramp_up, length))
    if warmup % unit.tokens == 0:
        flags.append((f"--lr-warmup-{unit.name}", str(warmup // unit.tokens)))
    else:
        flags.append(("--lr-warmup-fraction", repr(warmup / plan.train_tokens)))
    return flags + _curve_flags(schedule, unit)


def _ramp_up_flag(ramp_up: RampUpConfig, length: int) -> tuple[str, ...]:
    if ramp_up.over_tokens % length:
        raise ConfigError(
            [
                f"train.ramp_up.over_tokens: --rampup-batch-size is over whole samples of {length} "
                f"tokens, {ramp_up.over_tokens} is none"
            ]
        )
    samples = ramp_up.over_tokens // length
    numbers = (ramp_up.start_sequences, ramp_up.increment_sequences, samples)
    return ("--rampup-batch-size", *map(str, numbers))


def _curve_flags(schedule: ScheduleConfig, unit: _Unit) -> Flags:
    match schedule:
        case CosineSchedule():
            return _rate_flags("cosine", schedule.peak_lr, schedule.min_lr)
        case WsdSchedule():
            return _wsd_flags(schedule, unit)
        case LinearSchedule(start_lr=float(start)):
            return _rate_flags("linear", start, schedule.final_lr)
        case ConstantSchedule():
            return [("--lr-decay-style", "constant"), ("--lr", repr(schedule.lr))]
        case LinearSchedule():
            raise ConfigError(["schedule.start_lr: name it; Megatron-LM knows no parent"])
        case StepSchedule():
            raise ConfigError(["schedule.kind: Megatron-LM has no schedule of steps"])


def _rate_flags(style: str, highest: float, lowest: float) -> Flags:
    return [("--lr-decay-style", style), ("--lr", repr(highest)), ("--min-lr", repr(lowest))]


def _wsd_flags(schedule: WsdSchedule, unit: _Unit) -> Flags:
    if schedule.decay_tokens % unit.tokens:
        raise ConfigError(
            [
                f"schedule.decay_tokens: --lr-wsd-decay-{unit.name} is in whole {unit.name} of "
                f"{unit.tokens} tokens, {schedule.decay_tokens} is none"
            ]
        )
    shape = {"linear": "linear", "one_minus_sqrt": "minus_sqrt"}[schedule.decay]
    return [
        *_rate_flags("WSD", schedule.peak_lr, schedule.final_lr),
        ("--lr-wsd-decay-style", shape),
        (f"--lr-wsd-decay-{unit.name}", str(schedule.decay_tokens // unit.tokens)),
    ]


def _blend(mixture: ConstantMixtureConfig, sources: Mapping[str, SourceConfig]) -> tuple[str, ...]:
    return tuple(
        word
        for name, weight in sorted(mixture.weights.items())
        if weight
        for word in (repr(weight), str(sources[name].train))
    )


def _precision_flags(precision: AnyPrecisionConfig) -> Flags:
    if precision.model_format == "fp32":
        return []
    flags: Flags = [("--bf16",), ("--accumulate-allreduce-grads-in-fp32",)]
    if not isinstance(precision, Fp8Config):
        return flags
    if not precision.is_engines:
        raise ConfigError(
            [
                f"precision.recipe: Megatron-LM has no {precision.recipe}; for its own FP8 set "
                f"precision.recipe={precision.rule}"
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


def _override_flags(overrides: Mapping[str, Value]) -> Flags:
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
