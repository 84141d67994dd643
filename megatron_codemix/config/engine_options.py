"""What is Transformer Engine's alone and asked for by itself: its cross-entropy, and collectives of
tensor parallelism beside the products that need them (`layout.tensor_overlap`). What they need of
the other sections, and of the machine."""

from megatron_codemix.config.overrides import check_overrides, typed_overrides
from megatron_codemix.config.precision_checks import Capability
from megatron_codemix.config.schema import Fp8Config, LayoutConfig, ModelConfig, RunConfig

ENGINE_LOSS = "model.transformer_overrides.cross_entropy_fusion_impl"
OVERLAP = "layout.tensor_overlap"

_SHARED_ROWS = 128
"""Tokens of a rank's part that must divide where MXFP8's scales are gathered with them."""


def takes_engine_loss(model: ModelConfig) -> bool:
    """Whether training takes Transformer Engine's cross-entropy: megatron-core's names ask for
    it."""
    overrides = typed_overrides(model.transformer_overrides)
    is_fused = overrides.get("cross_entropy_loss_fusion") is True
    return is_fused and overrides.get("cross_entropy_fusion_impl") == "te"


def check_engine_loss(config: RunConfig) -> list[str]:
    """What is wrong whatever the machine and the layout; empty if all is well."""
    overrides = config.model.transformer_overrides
    if check_overrides(overrides) or overrides.get("cross_entropy_fusion_impl") != "te":
        return []
    if not takes_engine_loss(config.model):
        return [
            f"{ENGINE_LOSS}: te means something only with cross_entropy_loss_fusion: true; set "
            "that too, or remove it"
        ]
    if config.backend.device == "cpu":
        return [
            f"{ENGINE_LOSS}: te computes on a GPU, and backend.device is cpu; remove it and "
            "cross_entropy_loss_fusion"
        ]
    if config.backend.engine == "torch":
        return [
            f"{ENGINE_LOSS}: te is Transformer Engine's, which backend.engine=torch leaves out; "
            "remove one of them"
        ]
    return []


def check_tensor_overlap(config: RunConfig) -> list[str]:
    """What is wrong with it whatever the machine; empty if all is well."""
    layout, model, precision = config.layout, config.model, config.precision
    if not layout.tensor_overlap:
        return []
    share = config.data.sequence_length * layout.microbatch_sequences // layout.model_parallel
    rows = share * layout.pipeline
    recipe = precision.recipe if isinstance(precision, Fp8Config) else None
    reasons = {
        "needs layout.sequence_parallel=true, whose collectives are cut into pieces that run "
        "beside parts of a product; set it too": not layout.sequence_parallel,
        "is Transformer Engine's on GPUs, and backend.device is cpu; set it to false": (
            config.backend.device == "cpu"
        ),
        "needs Transformer Engine's linear layers, which backend.engine=torch leaves out; take "
        "auto": config.backend.engine == "torch",
        "needs Transformer Engine's linear layers, which take bf16 and FP8, and precision.kind is "
        "fp32; take bf16": precision.model_format == "fp32",
        f"needs Transformer Engine's linear layers, and precision.recipe={recipe} has its own; "
        "take bf16 or a recipe of Transformer Engine": recipe in ("emulated", "torch_scaled_mm"),
        "does not go with precision.recipe=blockwise, whose blocks Transformer Engine 2.11 cannot "
        "put into its buffers; take tensorwise": recipe == "blockwise",
        f"with precision.recipe=mxfp8 needs a tensor-parallel rank's part of a microbatch to be a "
        f"multiple of {_SHARED_ROWS} tokens, and it is {rows}; change "
        "layout.microbatch_sequences": recipe == "mxfp8" and rows % _SHARED_ROWS != 0,
        "needs Transformer Engine's linear layers, which model.block=parallel cannot have; take "
        "sequential": model.block == "parallel",
        "does not go with model.moe, whose experts are not Transformer Engine's; set it to "
        "false": model.moe is not None,
    }
    return [f"{OVERLAP}: {reason}" for reason, is_so in reasons.items() if is_so]


def check_overlap_nodes(layout: LayoutConfig, world_size: int, gpus_per_node: int) -> list[str]:
    """What is wrong with it on nodes of so many GPUs: tensor-parallel ranks are neighbours, and all
    of a group must be on one node. Empty if all is well."""
    is_cut = world_size > gpus_per_node and gpus_per_node % layout.tensor != 0
    if not layout.tensor_overlap or not is_cut:
        return []
    return [
        f"{OVERLAP}: its buffers are reached over the NVLink of one node, and {layout.tensor} "
        f"tensor-parallel ranks (layout.tensor) are on several of {gpus_per_node} GPUs each; take "
        "a layout.tensor that divides those, or set it to false"
    ]


def overlap_needs(layout: LayoutConfig) -> list[str]:
    """What it needs of the nodes, for where they cannot be asked; empty where it is off."""
    if not layout.tensor_overlap:
        return []
    return [
        f"{OVERLAP}: the {layout.tensor} ranks of each tensor-parallel group must be on one node; "
        "training is refused where they are not"
    ]


def check_engine_options(
    config: RunConfig, capability: Capability | None, engine: str | None
) -> list[str]:
    """What a machine lacks for those that are asked for; empty if it can run them. Arguments as of
    precision_checks.check_machine."""
    asked = {ENGINE_LOSS: takes_engine_loss(config.model), OVERLAP: config.layout.tensor_overlap}
    if capability is None:
        lacks = "this machine has no GPU"
    elif engine is None:
        lacks = "it is not installed (extra [gpu])"
    else:
        return []
    return [
        f"{field}: is Transformer Engine's, and {lacks}; remove it"
        for field, is_asked in asked.items()
        if is_asked
    ]
