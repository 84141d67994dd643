"""The formula's counts, against megatron-core's model, buffers and optimizer on the meta device."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from megatron_codemix.config.schema import (
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    MoeConfig,
    PrecisionConfig,
)
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import exact_counts
from megatron_codemix.planner.memory.exact import _request
from megatron_codemix.planner.memory.parameters import rank_parameters
from megatron_codemix.planner.memory.state import state_of
from tests.helpers.commands import python

LLAMA = ModelConfig(
    num_layers=8,
    hidden_size=512,
    ffn_hidden_size=1536,
    num_attention_heads=16,
    num_query_groups=8,
    vocabulary_size=50_000,
    tie_embeddings=False,
)
MODELS = {
    "llama": LLAMA,
    "gpt": LLAMA.model_copy(
        update={
            "activation": "gelu",
            "normalization": "layernorm",
            "num_query_groups": None,
            "add_bias": True,
            "tie_embeddings": True,
        }
    ),
    "cohere": LLAMA.model_copy(
        update={"block": "parallel", "normalization": "layernorm_no_bias", "tie_embeddings": True}
    ),
    "wide heads": LLAMA.model_copy(
        update={"head_dim": 64, "qk_norm": True, "z_loss": 1e-4, "activation": "geglu"}
    ),
    "experts": LLAMA.model_copy(
        update={"moe": MoeConfig(num_experts=8, top_k=2, balance_coefficient=0.01)}
    ),
}
LAYOUTS: list[Mapping[str, Any]] = [
    {},
    {"distributed_optimizer": False},
    {"tensor": 2, "sequence_parallel": True},
    {"tensor": 4, "pipeline": 2, "sequence_parallel": True},
    {"pipeline": 4},
    {"pipeline": 2, "virtual_pipeline": 4},
    {"context": 2, "overlap_grad_reduce": True, "bucket_parameters": 1_000_000},
    {"tensor": 8, "pipeline": 4, "context": 2, "sequence_parallel": True},
]
OF_EXPERTS: list[Mapping[str, Any]] = [
    {"expert": 4},
    {"expert": 8, "tensor": 2, "pipeline": 2, "sequence_parallel": True},
]
PADDING = 0.02
"""Of megatron-core's buffers: parameters begin at multiples of 64 elements, buckets end at
multiples of the replicas and of 128."""


def job(model: str, layout: Mapping[str, Any], world_size: int = 128, kind: str = "bf16") -> Job:
    return Job(
        model=MODELS[model],
        sequence_length=1024,
        global_batch_sequences=1024,
        layout=LayoutConfig(**layout),
        precision=PrecisionConfig(kind=kind),
        world_size=world_size,
    )


JOBS = [
    *(job(model, layout) for model in MODELS for layout in LAYOUTS),
    *(job("experts", layout) for layout in OF_EXPERTS),
    *(job("llama", layout, kind="fp32") for layout in LAYOUTS[:3]),
    job("llama", {"tensor": 8, "pipeline": 4}, world_size=1024),
]

_COUNT_ALL = """
import json, sys
from megatron_codemix.mcore.planning import PlannedJob, count
print(json.dumps([count(PlannedJob.of_json(text)) for text in json.loads(sys.argv[1])]))
"""


def count_all(jobs: Sequence[Job]) -> list[list[dict[str, int]]]:
    """By job and stage, in one process."""
    requests = json.dumps([_request(one) for one in jobs])
    result = python("-c", _COUNT_ALL, requests)
    assert result.returncode == 0, result.stderr
    counted: list[list[dict[str, int]]] = json.loads(result.stdout)
    return counted


def test_the_formula_counts_what_megatron_core_builds() -> None:
    for planned, stages in zip(JOBS, count_all(JOBS), strict=True):
        assert len(stages) == planned.layout.pipeline
        for stage, counted in enumerate(stages):
            by_formula = rank_parameters(planned, stage)
            assert counted["parameters"] == by_formula.total, (planned, stage)
            state = state_of(planned, by_formula)
            bytes_counted = (
                counted["weight_bytes"],
                counted["gradient_bytes"],
                counted["master_weight_bytes"] + counted["moment_bytes"],
            )
            assert bytes_counted == pytest.approx(tuple(state), rel=PADDING), (planned, stage)


def test_a_job_of_many_ranks_is_counted_by_a_command() -> None:
    """70B on 1,024 ranks: parameters, and the elements that its 16 replicas share with padding."""
    model = ModelConfig(
        num_layers=80,
        hidden_size=8192,
        ffn_hidden_size=28672,
        num_attention_heads=64,
        num_query_groups=8,
        vocabulary_size=131072,
        tie_embeddings=False,
    )
    planned = Job(
        model=model,
        sequence_length=4096,
        global_batch_sequences=1024,
        layout=LayoutConfig(tensor=8, pipeline=8, sequence_parallel=True),
        precision=Fp8Config(recipe="tensorwise"),
        world_size=1024,
    )
    first = exact_counts(planned).stages[0]
    assert first.parameters == 1_203_929_088
    assert first.optimizer_elements == 75_245_568
    assert first.optimizer_bytes == 12 * first.optimizer_elements


def test_what_megatron_core_refuses_is_said() -> None:
    odd = MODELS["llama"].model_copy(update={"transformer_overrides": {"gibberish": "1"}})
    refused = Job(
        model=odd,
        sequence_length=1024,
        global_batch_sequences=8,
        layout=LayoutConfig(),
        precision=PrecisionConfig(kind="bf16"),
        world_size=1,
    )
    with pytest.raises(ConfigError, match="gibberish"):
        exact_counts(refused)
