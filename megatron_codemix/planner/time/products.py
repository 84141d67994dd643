"""The matrix products of a layer on one rank, and how long a matrix product takes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import Gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time.constants import Constants

NumberFormat = Literal["fp32", "bf16", "fp8"]
_OPERAND_BYTES = {"fp32": 4, "bf16": 2, "fp8": 1}
TILES = ((128, 256), (256, 128), (128, 128))
"""Rows and columns of the output that one multiprocessor works on at a time: those that cuBLAS
takes for large products on Hopper (CUTLASS's default tiles for sm90)."""
_SMALL_TILE_COST = 1.15
"""Of the square tile, for the same operations: it reads half as much again from shared memory."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Products `[rows, inner] x [inner, columns]` with a weight, as one rank does them."""

    name: str
    rows: int
    """Tokens."""
    inner: int
    columns: int
    count: int = 1
    """How many of them: the experts of a rank."""
    can_be_fp8: bool = True

    @property
    def flops(self) -> float:
        """Of the forward pass."""
        return 2.0 * self.rows * self.inner * self.columns * self.count

    @property
    def parameters(self) -> int:
        """Of the weights."""
        return self.inner * self.columns * self.count


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Sizes that the parts of a layer have on one tensor-parallel rank."""

    hidden: int
    queries: int
    keys: int
    """Keys and values together."""
    mlp_in: int
    mlp: int
    head: int


def widths(model: ModelConfig, layout: LayoutConfig) -> Widths:
    """Of one rank. Experts are whole on their ranks, so their widths are not divided."""
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    mlp = model.ffn_hidden_size // (layout.tensor if model.moe is None else 1)
    return Widths(
        hidden=model.hidden_size,
        queries=model.num_attention_heads * head // layout.tensor,
        keys=2 * (model.num_query_groups or model.num_attention_heads) * head // layout.tensor,
        mlp_in=mlp * (1 if model.activation == "gelu" else 2),
        mlp=mlp,
        head=head,
    )


def layer_products(job: Job) -> tuple[Linear, ...]:
    """Those of one layer with weights, for one microbatch on one rank."""
    size = widths(job.model, job.layout)
    tokens = job.microbatch_tokens // job.layout.context
    attention = (
        Linear(name="qkv", rows=tokens, inner=size.hidden, columns=size.queries + size.keys),
        Linear(name="projection", rows=tokens, inner=size.queries, columns=size.hidden),
    )
    moe = job.model.moe
    if moe is None:
        return (
            *attention,
            Linear(name="mlp_in", rows=tokens, inner=size.hidden, columns=size.mlp_in),
            Linear(name="mlp_out", rows=tokens, inner=size.mlp, columns=size.hidden),
        )
    # Tokens of the ranks that share the experts are spread evenly over them.
    own, count = tokens // job.layout.tensor, moe.num_experts // job.layout.expert
    rows = math.ceil(own * moe.top_k / count)
    router = Linear(
        name="router", rows=own, inner=size.hidden, columns=moe.num_experts, can_be_fp8=False
    )
    into = Linear(name="mlp_in", rows=rows, inner=size.hidden, columns=size.mlp_in, count=count)
    out = Linear(name="mlp_out", rows=rows, inner=size.mlp, columns=size.hidden, count=count)
    return (*attention, router, into, out)


def output_product(job: Job) -> Linear:
    """The logits, on a rank of the last pipeline stage."""
    columns = padded_vocabulary_size(job.model.vocabulary_size) // job.layout.tensor
    tokens = job.microbatch_tokens // job.layout.context
    return Linear(
        name="output", rows=tokens, inner=job.model.hidden_size, columns=columns, can_be_fp8=False
    )


def forward_seconds(
    linear: Linear, gpu: Gpu, constants: Constants, number_format: NumberFormat
) -> float:
    """Of all products of `linear`."""
    rows, columns, inner = linear.rows, linear.columns, linear.inner
    return linear.count * product_seconds(rows, columns, inner, gpu, constants, number_format)


def backward_seconds(
    linear: Linear, gpu: Gpu, constants: Constants, number_format: NumberFormat
) -> float:
    """Of the gradients with respect to inputs and weights."""
    rows, columns, inner = linear.rows, linear.columns, linear.inner
    of_inputs = product_seconds(rows, inner, columns, gpu, constants, number_format)
    of_weights = product_seconds(columns, inner, rows, gpu, constants, number_format)
    return linear.count * (of_inputs + of_weights)


def product_seconds(
    rows: int,
    columns: int,
    inner: int,
    gpu: Gpu,
    constants: Constants,
    number_format: NumberFormat = "bf16",
) -> float:
    """One product `[rows, inner] x [inner, columns]` of operands in this format.

    Multiprocessors work on tiles of the output, one each at a time, so the last round of tiles may
    leave some idle, and each tile costs something besides its operations. Never faster than memory
    delivers operands and takes the result.
    """
    peak, operand_bytes = _peak(gpu, number_format), _OPERAND_BYTES[number_format]
    is_fp8 = number_format == "fp8"
    reached = peak * (constants.fp8_efficiency if is_fp8 else constants.gemm_efficiency)
    # A tile starts and ends in the same time in all formats: more terms where terms are faster.
    ramp = constants.gemm_ramp * peak / gpu.bf16_flops
    per_multiprocessor = reached / gpu.multiprocessors
    compute = min(
        rounds * 2.0 * height * width * (inner + ramp) * cost / per_multiprocessor
        for rounds, height, width, cost in _rounds(rows, columns, gpu.multiprocessors)
    )
    moved = operand_bytes * (rows + columns) * inner + max(2, operand_bytes) * rows * columns
    memory = moved / (gpu.memory_bandwidth * constants.memory_efficiency)
    return max(compute, memory) + constants.kernel_seconds


def _peak(gpu: Gpu, number_format: NumberFormat) -> float:
    if number_format == "fp32":
        return gpu.fp32_flops
    if number_format == "bf16":
        return gpu.bf16_flops
    if gpu.fp8_flops is None:
        raise ConfigError([f"precision.kind: {gpu.title} has no FP8; set precision.kind=bf16"])
    return gpu.fp8_flops


def _rounds(rows: int, columns: int, multiprocessors: int) -> Iterator[tuple[int, int, int, float]]:
    """(rounds of tiles, height, width, cost) for each size of tile."""
    for height, width in TILES:
        tiles = math.ceil(rows / height) * math.ceil(columns / width)
        cost = _SMALL_TILE_COST if height == width else 1.0
        yield math.ceil(tiles / multiprocessors), height, width, cost
