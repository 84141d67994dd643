"""What stays from step to step: weights, gradients, the optimizer's state."""

from typing import NamedTuple

from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.layer import FP32
from megatron_codemix.planner.memory.parameters import RankParameters

MOMENT_BYTES = 2 * FP32
"""AdamW's two, of one parameter."""


class State(NamedTuple):
    """Bytes on one rank."""

    weights: int
    gradients: int
    optimizer: int


def state_of(job: Job, parameters: RankParameters) -> State:
    """By formula: without what megatron-core pads its buffers with.

    Fully sharded, a rank has its part of everything, and for the layer that computes the whole
    weights and gradients.
    """
    is_fp32 = job.precision.model_format == "fp32"
    element = FP32 if is_fp32 else 2
    for_each = MOMENT_BYTES + (0 if is_fp32 else FP32)
    optimizer = for_each * _optimizer_elements(job, parameters)
    total = parameters.total
    if not job.fully_sharded:
        return State(element * total, FP32 * total, optimizer)
    replicas = job.data_parallel * job.layout.context
    part = -(-total // replicas)
    gathered = element * parameters.layer
    return State(element * part + gathered, FP32 * part + gathered, for_each * part)


def fp8_copy_bytes(job: Job, parameters: RankParameters) -> int:
    """Of weights in FP8, beside the bf16 ones, kept from microbatch to microbatch: in the order
    that each of two products takes (Transformer Engine on Hopper, torch's products, MXFP8's two
    roundings), or once (emulated otherwise). With fp8_params they stand in the place of the bf16
    ones, and are as large. Scales count where there is one for 32 elements."""
    precision = job.precision
    if not isinstance(precision, Fp8Config):
        return 0
    is_micro = precision.scaling == "mxfp8"
    scales = parameters.fp8_matrices // 16 if is_micro else 0
    if precision.fp8_params:
        return scales
    copies = 1 if precision.recipe == "emulated" and not is_micro else 2
    return scales + copies * parameters.fp8_matrices


def _optimizer_elements(job: Job, parameters: RankParameters) -> int:
    """Parameters whose state a rank has. Experts have replicas of their own."""
    layout = job.layout
    if not layout.distributed_optimizer:
        return parameters.total
    replicas = job.data_parallel * layout.context
    of_experts = job.world_size // layout.pipeline // layout.expert
    return -(-parameters.shared // replicas) + -(-parameters.experts // of_experts)
