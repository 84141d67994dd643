"""Which layers of a model Transformer Engine's can stand in for, and what `backend.engine` and
`backend.attention` need: of the other sections, and of the machine. Free of torch.

What is left to our own layers, and why, stands in `left_out`; it is the only place that knows.
"""

from typing import Literal

from megatron_codemix.config.mup import logit_factor
from megatron_codemix.config.precision_checks import (
    ENGINE_VERSION,
    NEXT_ENGINE_VERSION,
    Capability,
    is_taken,
    without_engine,
)
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    BackendConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    RunConfig,
)

LEAST_LAYER_CAPABILITY: Capability = (8, 0)
"""Transformer Engine's: bf16 in its kernels came with Ampere."""

Part = Literal["layers", "norms", "last norm", "experts", "attention"]
"""Of a model; `layers` are all of them."""


def left_out(
    model: ModelConfig,
    layout: LayoutConfig,
    precision: AnyPrecisionConfig,
    *,
    document_mask: bool = False,
) -> dict[Part, str]:
    """Parts that are ours whatever the machine -> the field that decides it, and why; empty where
    Transformer Engine has all of them."""
    if precision.model_format == "fp32":
        return {"layers": "precision.kind is fp32, and its kernels are made for bf16 and FP8"}
    if isinstance(precision, Fp8Config) and not precision.is_engines:
        return {"layers": f"precision.recipe {precision.recipe} rounds in linear layers of its own"}
    if model.block == "parallel":
        reason = "model.block is parallel, whose branches share what its layers communicate alone"
        return {"layers": reason}
    found: dict[Part, str] = {}
    if model.normalization == "layernorm_no_bias":
        found["norms"] = "model.normalization is layernorm_no_bias, and its LayerNorm has a bias"
    elif logit_factor(model) != 1.0:
        field = "mup" if model.mup else "logit_scale"
        found["last norm"] = f"model.{field} scales what the last norm gives"
    if model.moe is not None:
        found["experts"] = "model.moe takes products of each expert by itself, not grouped ones"
    if layout.context > 1:
        found["attention"] = "layout.context gathers keys and values in an attention of its own"
    elif document_mask:
        found["attention"] = "data.document_mask is a dense mask, for which it has no fused kernel"
    return found


def check_engine(config: RunConfig) -> list[str]:
    """What is wrong whatever the machine; empty if all is well."""
    return [*_check_engine_choice(config), *_check_attention_choice(config)]


def _check_engine_choice(config: RunConfig) -> list[str]:
    asked, precision = config.backend, config.precision
    if asked.engine == "torch" and isinstance(precision, Fp8Config) and precision.is_engines:
        return [
            f"precision.recipe: {precision.recipe} is Transformer Engine's, which "
            f"backend.engine=torch leaves out; set backend.engine=auto, {without_engine(precision)}"
        ]
    if asked.engine != "transformer_engine":
        return []
    if asked.device == "cpu":
        return [
            "backend.engine: transformer_engine computes on a GPU, and backend.device is cpu; take "
            "auto, which has our layers there"
        ]
    return [
        f"backend.engine: transformer_engine has not the {part} of this model: {reason}; take "
        "auto, which takes ours there and says so"
        for part, reason in left_out(
            config.model,
            config.layout,
            precision,
            document_mask=config.data.document_mask,
        ).items()
    ]


def _check_attention_choice(config: RunConfig) -> list[str]:
    asked = config.backend.attention
    if asked == "auto":
        return []
    if config.backend.device == "cpu":
        return [
            f"backend.attention: {asked} is a choice among a GPU's kernels, and backend.device is "
            "cpu; remove it"
        ]
    if asked == "unfused":
        return []
    takes_none = {
        "precision.kind is fp32, and they take bf16": config.precision.model_format == "fp32",
        "data.document_mask gives them a dense mask": config.data.document_mask,
        "layout.context gives them parts of the causal mask": config.layout.context > 1,
    }
    return [
        f"backend.attention: {asked} kernels are not for this run: {reason}; take auto or unfused"
        for reason, is_so in takes_none.items()
        if is_so
    ]


def check_engine_machine(
    asked: BackendConfig, capability: Capability | None, engine: str | None
) -> list[str]:
    """What a machine lacks for what is asked by name; empty if it can run it. Arguments as of
    precision_checks.check_machine."""
    if asked.engine == "transformer_engine":
        reason = engine_lacks(capability, engine)
        if reason is not None:
            return [
                f"backend.engine: transformer_engine cannot be had here: {reason}; take auto or "
                "torch"
            ]
    if asked.attention != "auto" and capability is None:
        return [
            f"backend.attention: {asked.attention} is a choice among a GPU's kernels, and this "
            "machine has no GPU; remove it"
        ]
    return []


def engine_lacks(capability: Capability | None, engine: str | None) -> str | None:
    """What a machine lacks for Transformer Engine's layers, the first of it; None: nothing that can
    be told without loading it."""
    if capability is None:
        return "there is no GPU"
    if capability < LEAST_LAYER_CAPABILITY:
        return (
            f"it needs compute capability {_dotted(LEAST_LAYER_CAPABILITY)} or higher, and this "
            f"GPU has {_dotted(capability)}"
        )
    if engine is None:
        return "it is not installed (extra [gpu])"
    return version_lacks(engine)


def version_lacks(engine: str) -> str | None:
    """What is wrong with a Transformer Engine of this version; None if it is taken."""
    if is_taken(engine):
        return None
    return (
        f"versions from {_dotted(ENGINE_VERSION)} on, before {_dotted(NEXT_ENGINE_VERSION)}, are "
        f"taken, and {engine} is installed"
    )


def _dotted(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))
