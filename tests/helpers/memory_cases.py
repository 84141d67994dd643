"""Small jobs whose memory the planner's formula is compared on, and their models on real ranks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any  # torch's types: imported in ranks alone
from unittest.mock import patch

from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    MoeConfig,
    PrecisionConfig,
)
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.layer import CPU, Kernels
from megatron_codemix.planner.memory.sizes import rank_sizes

BASE = ModelConfig(
    num_layers=4,
    hidden_size=128,
    ffn_hidden_size=320,
    num_attention_heads=8,
    num_query_groups=4,
    vocabulary_size=1000,
    tie_embeddings=False,
)
EXPERTS = MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)
MODELS = {
    "llama": BASE,
    "gpt": BASE.model_copy(
        update={
            "activation": "gelu",
            "normalization": "layernorm",
            "num_query_groups": None,
            "add_bias": True,
            "tie_embeddings": True,
        }
    ),
    "cohere": BASE.model_copy(
        update={
            "block": "parallel",
            "normalization": "layernorm_no_bias",
            "tie_embeddings": True,
            "rope_interleaved": True,
            "logit_scale": 0.0625,
        }
    ),
    "qk norm": BASE.model_copy(update={"qk_norm": True, "activation": "geglu", "z_loss": 1e-4}),
    "experts": BASE.model_copy(update={"moe": EXPERTS}),
}
BF16 = PrecisionConfig(kind="bf16")
FP32 = PrecisionConfig(kind="fp32")
FP8 = Fp8Config(recipe="emulated", rule="tensorwise", first_last_bf16=True)

GROUPED = replace(CPU, repeats_groups=True)
"""A GPU's way around kernels that know no groups, which a CPU can be told to take too."""
DENSE = replace(CPU, attention="dense")
"""torch's reference path, which a CPU can be told to take."""

SELECTIVE = {"recompute": "selective"}
FULL = {"recompute": "full"}
TP_SP = {"tensor": 2, "sequence_parallel": True}


@dataclass(frozen=True)
class Case:
    """One model in one layout."""

    model: str
    layout: Mapping[str, object]
    precision: AnyPrecisionConfig = BF16
    kernels: Kernels = CPU
    changes: Mapping[str, object] = field(default_factory=dict)
    """Of the model."""
    document_mask: bool = False

    def job(self) -> Job:
        layout = LayoutConfig(**{"microbatch_sequences": 2, **self.layout})
        return Job(
            model=MODELS[self.model].model_copy(update=self.changes),
            sequence_length=128,
            global_batch_sequences=8,
            layout=layout,
            precision=self.precision,
            world_size=layout.model_parallel * layout.expert,
            document_mask=self.document_mask,
        )


def modules(*names: str) -> dict[str, object]:
    return {**SELECTIVE, "recompute_modules": list(names)}


@contextmanager
def model_of(case: Case) -> Iterator[Any]:
    """(model chunks, ModelParallel) of this rank."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore import layers
    from megatron_codemix.mcore.groups import destroy_model_parallel, initialize_model_parallel
    from megatron_codemix.mcore.model import build_model

    job = case.job()
    parallel = initialize_model_parallel(job.layout, 1)
    chunks = build_model(
        job.model,
        job.layout,
        job.precision,
        sequence_length=job.sequence_length,
        seed=1,
        parallel=parallel,
        backend=select_backend("cpu"),
    )
    attend = layers.attend_on_gpu if case.kernels.repeats_groups else layers._attend_on_host
    with patch.object(layers, "_attend_on_host", attend):
        yield chunks, parallel
    destroy_model_parallel()


def input_of(case: Case) -> tuple[Any, Any, Any]:
    """Tokens, positions and, of two documents in each sample, the mask, of this rank's part of the
    sequences."""
    import torch

    from megatron_codemix.mcore.layers import document_attention_mask

    sizes = rank_sizes(case.job())
    shape = sizes.sequences, sizes.sequence // sizes.context
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(case.job().model.vocabulary_size, shape, generator=generator)
    positions = torch.arange(shape[1]).expand(shape)
    if not case.document_mask:
        return tokens, positions, None
    assert sizes.context == 1, "a rank's rows of the mask are not cut here"
    return tokens, positions, document_attention_mask(positions // (shape[1] // 2))
