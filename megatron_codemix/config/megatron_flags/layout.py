"""Flags of the layout, and of whose kernels compute."""

from megatron_codemix.config.engine_checks import left_out
from megatron_codemix.config.megatron_flags.flags import Flags
from megatron_codemix.config.schema import LayoutConfig, RunConfig


def layout_flags(layout: LayoutConfig) -> Flags:
    """Of how a model and its batches are split over ranks, and of what is computed again."""
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


def kernel_flags(config: RunConfig) -> Flags:
    """As on a machine where Transformer Engine is usable, as Megatron-LM's is to be."""
    asked, is_ours = config.backend, _has_local_layers(config)
    # Megatron-LM's local layers attend by products of their own, whatever is asked.
    attention = "local" if is_ours else asked.attention
    impl = "local" if is_ours else "transformer_engine"
    flags: Flags = [("--transformer-impl", impl), ("--attention-backend", attention)]
    # Apex's kernel, which its local LayerNorm takes by default and its RMSNorm refuses.
    return [*flags, ("--no-persist-layer-norm",)] if is_ours else flags


def untranslated_kernels(config: RunConfig) -> list[str]:
    """What `backend` asks for beside its defaults and no flag says, a line for each."""
    asked = config.backend
    notes = []
    if asked.cuda_graphs != "none":
        notes.append(
            f"backend.cuda_graphs={asked.cuda_graphs} is not translated: Megatron-LM's graphs "
            "(--cuda-graph-impl) are others, and are not asked for"
        )
    if not asked.compile:
        notes.append(
            "backend.compile=false is not translated: what megatron-core compiles by itself stays "
            "compiled"
        )
    if asked.attention != "auto" and _has_local_layers(config):
        notes.append(
            f"backend.attention={asked.attention} is not translated: Megatron-LM's local layers "
            "attend by products of their own, whatever is asked"
        )
    return notes


def _has_local_layers(config: RunConfig) -> bool:
    """Whether the layers are not Transformer Engine's on any machine."""
    left = left_out(config.model, config.layout, config.precision)
    return config.backend.engine == "torch" or "layers" in left
