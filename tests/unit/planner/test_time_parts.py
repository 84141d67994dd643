"""Parts of the time model against closed forms."""

import math

import pytest

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, MoeConfig, PrecisionConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import find_gpu, make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time.collectives import (
    Group,
    all_gather_seconds,
    exposed_seconds,
    gathered_bytes,
)
from megatron_codemix.planner.time.constants import load_constants
from megatron_codemix.planner.time.pipeline import bubble_seconds, stage_layers
from megatron_codemix.planner.time.products import (
    layer_products,
    output_product,
    product_seconds,
)

H100 = find_gpu("h100")
NODES = make_cluster("h100")
CONSTANTS = load_constants()


def job(*, moe: MoeConfig | None = None, num_layers: int = 8, **layout: object) -> Job:
    return Job(
        model=ModelConfig(
            num_layers=num_layers,
            hidden_size=2048,
            ffn_hidden_size=5632,
            num_attention_heads=16,
            num_query_groups=8,
            vocabulary_size=32768,
            tie_embeddings=False,
            moe=moe,
        ),
        sequence_length=4096,
        global_batch_sequences=64,
        layout=LayoutConfig(**layout),
        precision=PrecisionConfig(kind="bf16"),
        world_size=16,
    )


@pytest.mark.parametrize(
    "layout", [{}, {"tensor": 4}, {"context": 2}, {"tensor": 2, "context": 2, "pipeline": 2}]
)
@pytest.mark.parametrize("experts", [None, 4])
def test_products_are_those_that_training_flops_count(
    layout: dict[str, int], experts: int | None
) -> None:
    moe = None
    if experts is not None:
        moe = MoeConfig(num_experts=experts, top_k=2, balance_coefficient=0)
    spread = job(moe=moe, **layout)
    ranks = spread.layout.tensor * spread.layout.context
    forward = sum(linear.flops for linear in layer_products(spread)) * spread.model.num_layers
    forward += output_product(spread).flops
    counted = 3 * forward * ranks / spread.microbatch_tokens
    attention = 6 * spread.model.num_layers * 2048 * 4096  # causal, both products
    assert counted + attention == pytest.approx(
        training_flops_per_token(spread.model, spread.sequence_length), rel=1e-12
    )


@pytest.mark.parametrize("size", [512, 2048, 8192, 32768])
@pytest.mark.parametrize("number_format", ["bf16", "fp8"])
def test_a_product_is_slower_than_the_gpu_and_faster_with_size(
    size: int, number_format: str
) -> None:
    peak = {"bf16": H100.bf16_flops, "fp8": H100.fp8_flops}[number_format]
    seconds = product_seconds(size, size, size, H100, CONSTANTS, number_format)
    larger = product_seconds(2 * size, 2 * size, 2 * size, H100, CONSTANTS, number_format)
    assert seconds > 2 * size**3 / peak
    assert larger < 8 * seconds * 1.001


def test_a_thin_product_takes_the_time_of_its_bytes() -> None:
    # 16 x 16384 times 16384 x 16384: all bytes of the weights for few operations.
    seconds = product_seconds(16, 16384, 16384, H100, CONSTANTS)
    least = 2 * 16384 * 16384 / (H100.memory_bandwidth * CONSTANTS.memory_efficiency)
    assert least < seconds < 1.05 * least + CONSTANTS.kernel_seconds


def test_tiles_that_begin_another_round_cost_a_round() -> None:
    # 132 multiprocessors: 132 tiles of 128 x 256 are one round, 143 are two.
    def seconds(rows: int) -> float:
        return product_seconds(rows, 11 * 256, 8192, H100, CONSTANTS) - CONSTANTS.kernel_seconds

    assert seconds(12 * 128) == pytest.approx(seconds(11 * 128), rel=1e-9)
    assert 1.5 < seconds(13 * 128) / seconds(12 * 128) <= 2.0


def test_fp8_gains_more_with_size() -> None:
    def gain(size: int) -> float:
        plain = product_seconds(size, size, size, H100, CONSTANTS, "bf16")
        return plain / product_seconds(size, size, size, H100, CONSTANTS, "fp8")

    gains = [gain(size) for size in (1024, 2048, 4096, 16384)]
    assert gains == sorted(gains)
    assert gains[0] < 1.6 < 1.9 < gains[-1] < 2.3


def test_a_gpu_without_fp8_says_so() -> None:
    with pytest.raises(ConfigError, match=r"A100.*no FP8"):
        product_seconds(512, 512, 512, find_gpu("a100"), CONSTANTS, "fp8")


@pytest.mark.parametrize("size", [2, 8, 64])
def test_ring_collectives_move_all_but_the_own_part(size: int) -> None:
    group = Group(size=size, stride=1)
    # An all-reduce is a reduce-scatter and an all-gather: 2 (n - 1) / n of the bytes.
    assert 2 * gathered_bytes(group, 1e9) == pytest.approx(2 * (size - 1) / size * 1e9)


def test_large_collectives_take_the_bandwidth_of_their_links() -> None:
    def bandwidth(size: int, stride: int) -> float:
        group = Group(size=size, stride=stride)
        seconds = all_gather_seconds(group, 1e13, NODES, CONSTANTS)
        return gathered_bytes(group, 1e13) / seconds / CONSTANTS.link_efficiency

    assert bandwidth(8, 1) == pytest.approx(450e9, rel=1e-3)  # within a node
    assert bandwidth(64, 8) == pytest.approx(50e9, rel=1e-3)  # one rank on each node
    assert bandwidth(64, 2) == pytest.approx(200e9, rel=1e-3)  # four, with an adapter each
    assert bandwidth(64, 1) == pytest.approx(400e9, rel=1e-3)


def test_a_group_of_one_has_nothing_to_say() -> None:
    assert all_gather_seconds(Group(size=1, stride=1), 1e9, NODES, CONSTANTS) == 0


def test_small_collectives_cost_by_the_ranks() -> None:
    few, many = (
        all_gather_seconds(Group(size=size, stride=8), 8, NODES, CONSTANTS) for size in (2, 129)
    )
    assert many == pytest.approx(128 * few, rel=1e-3)


def test_hidden_collectives_show_only_what_sticks_out() -> None:
    assert exposed_seconds(1.0, 10.0, 0.2) == 0.2
    assert exposed_seconds(3.0, 1.0, 0.2) == 2.0


@pytest.mark.parametrize("virtual", [1, 2, 4])
@pytest.mark.parametrize("stages", [2, 4, 8])
def test_the_bubble_is_that_of_1f1b(stages: int, virtual: int) -> None:
    microbatches, one = 16, 0.25
    bubble = bubble_seconds([one] * stages, virtual)
    # arXiv 2104.04473, section 2.2: (p - 1) / (v m) of the time without it.
    assert bubble / (microbatches * one) == pytest.approx((stages - 1) / (virtual * microbatches))


def test_all_layers_are_on_some_stage() -> None:
    assert stage_layers(job(pipeline=4)) == [2, 2, 2, 2]
    # Llama 3.1 405B: 126 layers in 64 chunks of 2, embedding and loss in place of one each.
    uneven = stage_layers(job(num_layers=126, pipeline=8, virtual_pipeline=8))
    assert uneven == [15, *[16] * 6, 15]
    assert math.fsum(uneven) == 126
