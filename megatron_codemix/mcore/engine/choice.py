"""Whose layers a model is built of on a GPU, and by which kernels it attends."""

import logging
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from megatron.core.models.common.language_module.language_module import LanguageModule
from megatron.core.transformer.enums import AttnBackend
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.engine import engine_lacks_here
from megatron_codemix.config.engine_checks import left_out
from megatron_codemix.config.precision_checks import ENGINE_EXTRA
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    BackendConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
)
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.engine.attention import ChosenSdpaAttention
from megatron_codemix.mcore.engine.layers import EngineLayers
from megatron_codemix.mcore.engine.trial import Trial, tried_config
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.transformer import layer_spec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What decides it."""

    backend: BackendConfig
    model: ModelConfig
    layout: LayoutConfig
    precision: AnyPrecisionConfig
    sequence_length: int
    document_mask: bool = False

    @property
    def is_engines_fp8(self) -> bool:
        return isinstance(self.precision, Fp8Config) and self.precision.is_engines

    @property
    def by_name(self) -> str | None:
        """The field that asks for Transformer Engine and nothing else."""
        if self.is_engines_fp8:
            return "precision.recipe"
        return "backend.engine" if self.backend.engine == "transformer_engine" else None

    @property
    def instead(self) -> str:
        return (
            "precision.recipe=torch_scaled_mm, which needs none of it"
            if self.is_engines_fp8
            else "backend.engine=auto"
        )


def choose_engine(
    asked: Asked, config: TransformerConfig, parallel: ModelParallel, backend: Backend
) -> EngineLayers | None:
    """Transformer Engine's layers, tried on this device, or None: ours; says which and why. Every
    rank calls it.

    Raises UnavailableError where they are asked for by name and cannot be had, or the kernels of
    the attention cannot compute this model.
    """
    if backend.name == "cpu":
        return None
    engine = None
    if asked.backend.engine != "torch" or asked.is_engines_fp8:
        engine = _usable_engine(asked, config, parallel, backend)
    if engine is None or "attention" in engine.left_out:
        _require_kernel(asked, config, parallel, backend)
    return engine


def _usable_engine(
    asked: Asked, config: TransformerConfig, parallel: ModelParallel, backend: Backend
) -> EngineLayers | None:
    parts = left_out(asked.model, asked.layout, asked.precision, document_mask=asked.document_mask)
    engine = EngineLayers(parts)
    is_ours, reason = "layers" in parts, parts.get("layers")
    if reason is None:
        reason = engine_lacks_here(backend.device)
    if reason is None:
        reason = _trial(asked, engine, config, parallel, backend)
    if reason is None:
        ours = "; ".join(f"the {part} ours: {why}" for part, why in parts.items())
        log.info("transformer layers: Transformer Engine's%s", f", {ours}" if ours else "")
        return engine
    if asked.by_name is not None:
        raise UnavailableError(
            f"{asked.by_name}: Transformer Engine's layers cannot be had: {reason}; install "
            f"{ENGINE_EXTRA} for this PyTorch and its CUDA, or take {asked.instead}"
        )
    log.log(
        logging.INFO if is_ours else logging.WARNING,
        "transformer layers: ours, not Transformer Engine's: %s",
        reason,
    )
    return None


def _trial(
    asked: Asked,
    engine: EngineLayers,
    config: TransformerConfig,
    parallel: ModelParallel,
    backend: Backend,
) -> str | None:
    # As the model does when it is built: Transformer Engine reads it from the environment.
    LanguageModule._set_attention_backend(SimpleNamespace(config=config))
    # A router's choices between near equals would differ by rounding; experts are ours.
    config, model = tried_config(config), asked.model.model_copy(update={"moe": None})
    dense = EngineLayers({part: why for part, why in engine.left_out.items() if part != "experts"})
    ours, theirs = layer_spec(config, model), layer_spec(config, model)
    dense.put_into(theirs)
    trial = Trial(config, asked.sequence_length, asked.model.rope_base, parallel, backend)
    return trial.fault(theirs, ours)


def _require_kernel(
    asked: Asked, config: TransformerConfig, parallel: ModelParallel, backend: Backend
) -> None:
    """Raises UnavailableError where torch's kernel of that name cannot compute this attention; the
    step would say no more than that none is available."""
    if config.attention_backend is AttnBackend.auto:
        return
    heads = (config.num_attention_heads, config.num_query_groups)
    query, key = (
        torch.zeros(
            asked.sequence_length,
            1,
            count // config.tensor_model_parallel_size,
            config.kv_channels,
            device=backend.device,
            dtype=config.params_dtype,
        )
        for count in heads
    )
    attention = ChosenSdpaAttention(
        config, 1, None, "self", config.softmax_scale, pg_collection=parallel.groups
    )
    try:
        attention.attend(query, key, key, None)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UnavailableError(
            f"backend.attention: PyTorch's {asked.backend.attention} kernels cannot compute this "
            f"attention on this GPU ({str(error).splitlines()[0]}); take auto"
        ) from error
