"""Time of one layer, and of what stands before and after the layers, for one microbatch on one
rank: forward and backward."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.planner.hardware import Cluster, Gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time.collectives import Group, all_gather_seconds, exposed_seconds
from megatron_codemix.planner.time.constants import Constants
from megatron_codemix.planner.time.products import (
    Linear,
    NumberFormat,
    backward_seconds,
    forward_seconds,
    layer_products,
    output_product,
    widths,
)

Part = Literal["products", "attention", "elementwise", "tensor", "context", "expert"]
Seconds = Mapping[Part, float]

_EXPONENTIAL_TERMS = 64
"""An exponential for each score takes as long as so many terms of the two products: on Hopper they
have 1/256 of the throughput, at head dimension 128 with 1/512 of the operations (FlashAttention-3,
arXiv 2407.08608, section 3.2)."""
_BACKWARD_ATTENTION = 2.5
"""Five products instead of two, as scores are computed again (FlashAttention, arXiv 2205.14135)."""
_ATTENTION_BLOCK = 128
"""Scores are computed in squares of this side, also those that the diagonal halves."""
_LOSS_BYTES = 12
"""Memory traffic of the loss for each logit, forward; as much backward: bf16 and fp32 copies,
maximum, sum of exponentials."""
_CAST_BYTES_ENGINE = {"delayed": 2, "tensorwise": 4, "blockwise": 4, "mxfp8": 4}
"""Memory traffic of Transformer Engine's cast for each element: it is written by rows and by
columns, by the kernel before where the scale is known by then (delayed scaling), else by another
one, which has to read it. Weights are cast once a step, which is left out."""
_CAST_BYTES_TORCH = 7
"""The same of `mcore/fp8`, compiled, on a bf16 matrix (bytes read + written): its maximum 2, to FP8
2 + 1, the copy in the other order of memory 1 + 1, as a kernel of its own. Weights are cast once a
step."""
_LAYER_KERNELS = 8
"""Kernels without products, forward; twice as many backward."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Seconds of one microbatch, by part."""

    forward: Seconds
    backward: Seconds


def layer_pass(job: Job, cluster: Cluster, constants: Constants) -> Pass:
    """One layer, averaged over those in FP8 and those in bf16."""
    gpu, tokens = cluster.gpu, job.microbatch_tokens // job.layout.context
    linears = layer_products(job)
    into, back = _products(job, linears, gpu, constants)
    kernels, bandwidth = _LAYER_KERNELS * constants.kernel_seconds, _bandwidth(gpu, constants)
    bytes_into, bytes_back = _elementwise_bytes(job, tokens)
    casts_into, casts_back = _cast_seconds(job, linears, gpu, constants)
    attention = _attention(job, gpu, constants, tokens)
    forward: dict[Part, float] = {
        "products": into,
        "attention": attention,
        "elementwise": bytes_into / bandwidth + casts_into + kernels,
    }
    backward: dict[Part, float] = {
        "products": back,
        "attention": _BACKWARD_ATTENTION * attention,
        "elementwise": bytes_back / bandwidth + casts_back + 2 * kernels,
    }
    forward["tensor"], backward["tensor"] = _tensor(job, cluster, constants, back)
    forward["context"] = _context(job, cluster, constants)
    # Keys and values are gathered again, and their gradients reduced.
    backward["context"] = 2 * forward["context"]
    forward["expert"] = backward["expert"] = _expert(job, cluster, constants)
    return Pass(forward=forward, backward=backward)


def output_pass(job: Job, cluster: Cluster, constants: Constants) -> Pass:
    """Logits and loss."""
    gpu, linear = cluster.gpu, output_product(job)
    number_format: NumberFormat = job.precision.model_format
    moved = _LOSS_BYTES * linear.rows * linear.columns / _bandwidth(gpu, constants)
    forward = forward_seconds(linear, gpu, constants, number_format)
    backward = backward_seconds(linear, gpu, constants, number_format)
    return Pass(
        forward={"products": forward, "elementwise": moved},
        backward={"products": backward, "elementwise": moved},
    )


def recomputed(job: Job, forward: Seconds) -> float:
    """Seconds of a layer's forward pass that `recompute: selective` does again."""
    modules = job.layout.recompute_modules
    total = forward["attention"] if "core_attn" in modules else 0.0
    if "mlp" in modules or "moe" in modules:
        mlp = [linear for linear in layer_products(job) if linear.name.startswith("mlp")]
        share = sum(linear.flops for linear in mlp)
        total += forward["products"] * share / sum(linear.flops for linear in layer_products(job))
        total += forward["elementwise"] / 2
    if "layernorm" in modules:
        total += forward["elementwise"] / 4
    return total


def layer_parameters(job: Job) -> tuple[int, int]:
    """(parameters that all ranks of the group share out, parameters of experts) of one layer on
    one rank, in its matrices."""
    linears = layer_products(job)
    experts = sum(linear.parameters for linear in linears if linear.name.startswith("mlp"))
    total = sum(linear.parameters for linear in linears)
    return (total, 0) if job.model.moe is None else (total - experts, experts)


def table_parameters(job: Job) -> int:
    """Parameters of one embedding table on one tensor-parallel rank."""
    entries = padded_vocabulary_size(job.model.vocabulary_size)
    return entries * job.model.hidden_size // job.layout.tensor


def activation_bytes(job: Job) -> int:
    """Of the residual stream of one microbatch on the ranks of one tensor-parallel group."""
    item = 4 if job.precision.model_format == "fp32" else 2
    return job.microbatch_tokens // job.layout.context * job.model.hidden_size * item


def _products(
    job: Job, linears: tuple[Linear, ...], gpu: Gpu, constants: Constants
) -> tuple[float, float]:
    into = back = 0.0
    low, precision = _fp8_fraction(job), job.precision
    plain: NumberFormat = precision.model_format
    is_emulated = isinstance(precision, Fp8Config) and precision.recipe == "emulated"
    rounded: NumberFormat = "fp32" if is_emulated else "fp8"
    for linear in linears:
        fraction = low if linear.can_be_fp8 else 0.0
        formats: tuple[tuple[float, NumberFormat], ...] = (
            (fraction, rounded),
            (1 - fraction, plain),
        )
        for part, number_format in formats:
            if part:
                into += part * forward_seconds(linear, gpu, constants, number_format)
                back += part * backward_seconds(linear, gpu, constants, number_format)
    return into, back


def _fp8_fraction(job: Job) -> float:
    """Of the layers."""
    if not isinstance(job.precision, Fp8Config):
        return 0.0
    excepted = 2 if job.precision.first_last_bf16 else 0
    return max(0.0, 1 - excepted / job.model.num_layers)


def _cast_seconds(
    job: Job, linears: tuple[Linear, ...], gpu: Gpu, constants: Constants
) -> tuple[float, float]:
    """Of casts to FP8, forward and backward."""
    precision = job.precision
    if not isinstance(precision, Fp8Config):
        return 0.0, 0.0
    low = [linear for linear in linears if linear.can_be_fp8]
    inputs = sum(linear.rows * linear.inner * linear.count for linear in low)
    gradients = sum(linear.rows * linear.columns * linear.count for linear in low)
    if precision.is_engines:
        each, bandwidth = _CAST_BYTES_ENGINE[precision.recipe], _bandwidth(gpu, constants)
        into, back = float(each * inputs), each * gradients
    else:
        # Counted kernel by kernel, so these move no more than that.
        bandwidth = gpu.memory_bandwidth * constants.memory_efficiency
        weights = sum(linear.parameters for linear in low) / job.num_microbatches
        into = _CAST_BYTES_TORCH * (inputs + weights)
        back = _CAST_BYTES_TORCH * gradients
    scale = _fp8_fraction(job) / bandwidth
    return scale * into, scale * back


def _attention(job: Job, gpu: Gpu, constants: Constants, tokens: int) -> float:
    """Forward: causal, so half of the scores, in a fused kernel."""
    size = widths(job.model, job.layout)
    flops = 2.0 * tokens * (job.sequence_length + _ATTENTION_BLOCK) * size.queries
    flops *= 1 + _EXPONENTIAL_TERMS / size.head
    peak = gpu.fp32_flops if job.precision.model_format == "fp32" else gpu.bf16_flops
    return flops / (peak * constants.attention_efficiency) + constants.kernel_seconds


def _bandwidth(gpu: Gpu, constants: Constants) -> float:
    """Bytes a second of what fused kernels would have to move."""
    return gpu.memory_bandwidth * constants.memory_efficiency / constants.elementwise_factor


def _elementwise_bytes(job: Job, tokens: int) -> tuple[float, float]:
    """What fused kernels read and write, forward and backward: norms, residual sums, rotary
    embedding, the split of queries, keys and values, activation, and the order of experts."""
    model, size = job.model, widths(job.model, job.layout)
    is_parallel = model.block == "parallel"
    stream = tokens / (job.layout.tensor if job.layout.sequence_parallel else 1) * size.hidden
    turned = tokens * (size.queries + size.keys / 2)
    split = tokens * (size.queries + size.keys)
    experts = 1 if model.moe is None else model.moe.top_k / job.layout.tensor
    into = back = 0.0
    norms, sums = (1, 4) if is_parallel else (2, 6)
    into += stream * (2 * norms + sums)
    back += stream * (3 * norms + (3 if is_parallel else 6))
    into += 2 * turned + 2 * split
    back += 2 * turned + 2 * split
    if model.qk_norm:
        into, back = into + 2 * turned, back + 3 * turned
    into += experts * tokens * (size.mlp_in + size.mlp)
    back += experts * tokens * (2 * size.mlp_in + size.mlp)
    if model.moe is not None:
        into += 4 * experts * tokens * size.hidden
        back += 4 * experts * tokens * size.hidden
    item = 4 if job.precision.model_format == "fp32" else 2
    return item * into, item * back


def _tensor(
    job: Job, cluster: Cluster, constants: Constants, products_backward: float
) -> tuple[float, float]:
    """Exposed seconds, forward and backward.

    Attention and MLP each gather their input and reduce their output (without sequence parallelism
    one all-reduce, which is as much). Backward the same the other way round, and with sequence
    parallelism the input again for the weights' gradients; what is not needed at once runs beside
    these.
    """
    layout = job.layout
    group = Group(size=layout.tensor, stride=1)
    one = all_gather_seconds(group, activation_bytes(job), cluster, constants)
    again = 2 if layout.sequence_parallel else 0
    if job.overlaps_tensor:
        return (
            4 * one * constants.tensor_exposed_fraction,
            (4 + again) * one * constants.tensor_exposed_fraction,
        )
    at_once = 2 if layout.sequence_parallel else 0
    hidden = exposed_seconds(
        (4 + again - at_once) * one, products_backward / 2, constants.exposed_fraction
    )
    return 4 * one, at_once * one + hidden


def _context(job: Job, cluster: Cluster, constants: Constants) -> float:
    """Keys and values of the whole sample, forward."""
    layout, size = job.layout, widths(job.model, job.layout)
    group = Group(size=layout.context, stride=layout.tensor)
    item = 4 if job.precision.model_format == "fp32" else 2
    return all_gather_seconds(group, item * job.microbatch_tokens * size.keys, cluster, constants)


def _expert(job: Job, cluster: Cluster, constants: Constants) -> float:
    """Tokens to their experts and back, in one direction of the pass: each rank sends all but its
    own part, twice."""
    moe, layout = job.model.moe, job.layout
    if moe is None or layout.expert == 1:
        return 0.0
    group = Group(size=layout.expert, stride=1)
    sent = activation_bytes(job) / layout.tensor * moe.top_k
    # All-to-all: what a rank sends in all is spread over the group, as in a ring that gathers.
    return 2 * all_gather_seconds(group, sent, cluster, constants)
