"""A whole step: its parts, and how they follow layout, precision and cluster."""

from dataclasses import replace

import pytest

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    MoeConfig,
    PrecisionConfig,
)
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import TimeEstimate, estimate_time, load_constants

H100 = make_cluster("h100")
CONSTANTS = load_constants()
BF16 = PrecisionConfig(kind="bf16")
MODEL = ModelConfig(
    num_layers=32,
    hidden_size=4096,
    ffn_hidden_size=11008,
    num_attention_heads=32,
    vocabulary_size=32768,
    tie_embeddings=False,
)


def job(
    *, gpus: int = 64, batch: int = 512, precision: AnyPrecisionConfig = BF16, **layout: object
) -> Job:
    return Job(
        model=MODEL,
        sequence_length=4096,
        global_batch_sequences=batch,
        layout=LayoutConfig(**layout),
        precision=precision,
        world_size=gpus,
    )


def estimate(spread: Job) -> TimeEstimate:
    return estimate_time(spread, H100, CONSTANTS)


def test_parts_sum_to_the_step_and_rates_follow() -> None:
    spread = job(tensor=2, pipeline=2, sequence_parallel=True, recompute="full")
    found = estimate(spread)
    assert sum(found.parts.values()) == pytest.approx(found.step_seconds)
    assert all(seconds >= 0 for seconds in found.parts.values())
    assert found.tokens_per_second * found.step_seconds == pytest.approx(512 * 4096)
    flops = training_flops_per_token(MODEL, 4096) * found.tokens_per_second_per_gpu
    assert found.mfu == pytest.approx(flops / 989.4e12)
    assert found.as_dict()["parts"] == found.parts


def test_nothing_is_faster_than_the_gpu() -> None:
    for batch in (64, 512, 4096):
        assert 0.1 < estimate(job(batch=batch)).mfu < CONSTANTS.gemm_efficiency


def test_full_recomputation_adds_one_forward_of_the_layers() -> None:
    plain, full = estimate(job()).parts, estimate(job(recompute="full")).parts
    # Products: three of equal size in the layers, one of them forward; and the logits' three.
    layers = training_flops_per_token(MODEL, 4096) - 6 * 4096 * 32768
    products = plain["products"] * layers / training_flops_per_token(MODEL, 4096)
    assert plain["recompute"] == 0
    assert full["recompute"] == pytest.approx(
        products / 3 + plain["attention"] / 3.5 + plain["elementwise"] / 3, rel=0.1
    )
    half = estimate(job(recompute="full", recompute_method="block", recompute_layers=16)).parts
    assert half["recompute"] == pytest.approx(full["recompute"] / 2)


def test_selective_recomputation_repeats_attention() -> None:
    plain, selective = estimate(job()).parts, estimate(job(recompute="selective")).parts
    assert selective["recompute"] == pytest.approx(plain["attention"] / 3.5)


def test_more_chunks_make_the_bubble_smaller() -> None:
    bubbles = [
        estimate(job(pipeline=4, virtual_pipeline=chunks)).parts["bubble"] for chunks in (1, 2, 8)
    ]
    assert bubbles[1] == pytest.approx(bubbles[0] / 2)
    assert bubbles[2] == pytest.approx(bubbles[0] / 8)


def test_what_a_layout_does_not_use_costs_nothing() -> None:
    parts = estimate(job(gpus=1, batch=8)).parts
    for name in ("tensor", "context", "expert", "pipeline", "bubble", "data_parallel", "waiting"):
        assert parts[name] == 0, name


def test_overlap_hides_data_parallel_collectives() -> None:
    plain = estimate(job()).parts["data_parallel"]
    hidden = estimate(job(overlap_grad_reduce=True, overlap_param_gather=True))
    assert hidden.parts["data_parallel"] < plain / 2


def test_tensor_parallelism_across_nodes_is_slow() -> None:
    within = estimate(job(tensor=8, sequence_parallel=True))
    across = estimate_time(
        job(tensor=8, sequence_parallel=True), make_cluster("h100", gpus_per_node=4), CONSTANTS
    )
    # Four ranks on each of two nodes: 4 x 50 GB/s between them instead of 450.
    assert across.parts["tensor"] > 2.25 * within.parts["tensor"]


def test_a_slow_network_slows_what_crosses_it() -> None:
    slow = make_cluster("h100", network="ethernet-100")
    layout = {"overlap_grad_reduce": True, "overlap_param_gather": True}
    assert (
        estimate_time(job(**layout), slow, CONSTANTS).step_seconds
        > estimate(job(**layout)).step_seconds
    )
    alone = job(gpus=8, **layout)
    assert estimate_time(alone, slow, CONSTANTS) == estimate(alone)


def test_fp8_gains_less_on_a_small_model() -> None:
    def gain(hidden: int) -> float:
        model = MODEL.model_copy(
            update={"hidden_size": hidden, "ffn_hidden_size": 4 * hidden, "num_layers": 8}
        )
        plain = replace(job(), model=model)
        low = replace(plain, precision=Fp8Config(recipe="tensorwise"))
        return estimate(plain).step_seconds / estimate(low).step_seconds

    gains = [gain(hidden) for hidden in (1024, 2048, 4096, 8192)]
    assert gains == sorted(gains)
    assert gains[-1] < 2


def test_casts_by_torchs_own_kernels_take_their_time() -> None:
    """7 bytes for each element: maximum, cast, transposed copy. Inputs and gradients with each
    microbatch, weights once a step."""
    engines, scaled = (
        estimate(job(precision=precision))
        for precision in (
            Fp8Config(recipe="tensorwise"),
            Fp8Config(recipe="torch_scaled_mm", rule="tensorwise"),
        )
    )
    assert scaled.step_seconds > engines.step_seconds
    assert scaled.parts["products"] == engines.parts["products"]
    inner, columns = (4096, 4096, 4096, 11008), (3 * 4096, 4096, 2 * 11008, 4096)
    tokens, microbatches, layers = 4096, 512 // 64, 32
    elements = microbatches * tokens * (sum(inner) + sum(columns))
    elements += sum(one * other for one, other in zip(inner, columns, strict=True))
    seconds = layers * 7 * elements / (3.35e12 * CONSTANTS.memory_efficiency)
    casts = scaled.parts["elementwise"] - estimate(job()).parts["elementwise"]
    assert casts == pytest.approx(seconds, rel=1e-6)


def test_fp8_on_a_gpu_without_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="no FP8"):
        estimate_time(job(precision=Fp8Config(recipe="delayed")), make_cluster("a100"), CONSTANTS)


def test_a_layout_that_overlaps_its_collectives_is_planned_as_published_ones_are() -> None:
    cut = {"tensor": 8, "sequence_parallel": True}
    waits = job(**cut)
    overlaps = job(**cut, tensor_overlap=True)
    assert estimate(overlaps) == estimate(replace(waits, tensor_overlap=True))
    assert estimate(overlaps).parts["tensor"] < estimate(waits).parts["tensor"]


def test_mxfp8_is_planned_where_it_runs_and_gathers_bf16() -> None:
    asked = Fp8Config(recipe="mxfp8")
    with pytest.raises(ConfigError, match=r"NVIDIA H100.*10\.0 or higher, below 12\.0, and this"):
        estimate(job(precision=asked))
    found = {
        (recipe, params): estimate_time(
            job(precision=Fp8Config(recipe=recipe, fp8_params=params)),
            make_cluster("b200"),
            CONSTANTS,
        )
        for recipe in ("mxfp8", "tensorwise")
        for params in (False, True)
    }
    seconds = {key: each.step_seconds for key, each in found.items()}
    assert seconds["mxfp8", True] == seconds["mxfp8", False] == seconds["tensorwise", False]
    assert seconds["tensorwise", True] < seconds["tensorwise", False]


def test_experts_cost_what_they_do_and_what_they_send() -> None:
    moe = MoeConfig(num_experts=8, top_k=2, balance_coefficient=0.01)
    model = MODEL.model_copy(update={"moe": moe})
    spread = replace(job(expert=8), model=model)
    found, dense = estimate(spread), estimate(job())
    assert found.parts["expert"] > 0
    assert 1.2 < found.parts["products"] / dense.parts["products"] < 2.5
