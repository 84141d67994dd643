"""Seconds of one training step, by part, and what follows from them."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.precision_checks import BLOCKS, check_capability
from megatron_codemix.config.schema import AnyPrecisionConfig, Fp8Config
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import Cluster, Gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time.collectives import (
    Group,
    all_gather_seconds,
    exposed_seconds,
    send_seconds,
)
from megatron_codemix.planner.time.constants import Constants
from megatron_codemix.planner.time.layer import (
    Pass,
    Seconds,
    activation_bytes,
    layer_parameters,
    layer_pass,
    output_pass,
    recomputed,
    table_parameters,
)
from megatron_codemix.planner.time.pipeline import (
    bubble_seconds,
    overlap_microbatches,
    stage_layers,
)

_OPTIMIZER_BYTES = 38
"""Memory traffic of Adam for each parameter: gradient (4), its norm (4) and reset (4), weights and
two moments in fp32 read and written (24), bf16 weights written (2)."""
_FEW_BUCKETS = 40_000_000
_BUCKET_PER_RANK = 1_000_000
"""Parameters of a bucket in megatron-core, the larger of the two."""


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """One step of the full batch."""

    step_seconds: float
    parts: dict[str, float]
    """Seconds; they sum to `step_seconds`. Collectives and messages count where they delay the
    step."""
    tokens_per_second: float
    tokens_per_second_per_gpu: float
    model_flops_per_gpu: float
    """A second, of the model alone: nothing for what is computed again."""
    mfu: float
    """`model_flops_per_gpu` as a part of `peak_flops`."""
    peak_flops: float
    """Of the GPU in bf16 without sparsity, in every precision."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For `--json`."""
        return asdict(self)


def estimate_time(job: Job, cluster: Cluster, constants: Constants) -> TimeEstimate:
    """Of `job` on `cluster`. Raises ConfigError if the GPU lacks the precision."""
    _require_recipe(job, cluster.gpu)
    step = _Step(job, cluster, constants)
    parts = step.parts()
    seconds = sum(parts.values())
    rate = job.global_batch_sequences * job.sequence_length / seconds
    flops = training_flops_per_token(job.model, job.sequence_length) * rate / job.world_size
    return TimeEstimate(
        step_seconds=seconds,
        parts=parts,
        tokens_per_second=rate,
        tokens_per_second_per_gpu=rate / job.world_size,
        model_flops_per_gpu=flops,
        mfu=flops / cluster.gpu.bf16_flops,
        peak_flops=cluster.gpu.bf16_flops,
    )


def check_timed(precision: AnyPrecisionConfig) -> list[str]:
    """Why no time of this format is told; empty where one is. `estimate_time` has one all the same,
    by which layouts can be compared."""
    if not isinstance(precision, Fp8Config) or precision.recipe != "emulated":
        return []
    rule = precision.rule
    instead = f"recipe: {rule}" if rule in BLOCKS else f"recipe: {rule} or torch_scaled_mm"
    return [
        "precision.recipe: emulated multiplies in fp32 and rounds in kernels whose time the "
        "planner does not know, so that it has neither speed nor cost; plan real FP8, "
        f"{instead}, or bf16"
    ]


def _require_recipe(job: Job, gpu: Gpu) -> None:
    """That it has FP8 at all is asked where its speed is."""
    if isinstance(job.precision, Fp8Config) and gpu.fp8_flops is not None:
        problems = check_capability(job.precision, gpu.compute_capability)
        if problems:
            raise ConfigError([f"{gpu.title}: {problem}" for problem in problems])


class _Step:
    """What the parts of one step are made of."""

    def __init__(self, job: Job, cluster: Cluster, constants: Constants) -> None:
        self.job, self.cluster, self.constants = job, cluster, constants
        self.layer = layer_pass(job, cluster, constants)
        self.output = output_pass(job, cluster, constants)
        self.stages = [
            _Stage(self, layers, has_output=stage == job.layout.pipeline - 1)
            for stage, layers in enumerate(stage_layers(job))
        ]
        self.slowest = max(self.stages, key=lambda stage: stage.seconds)

    def parts(self) -> dict[str, float]:
        """Seconds by part."""
        job, constants, stage = self.job, self.constants, self.slowest
        parts = {name: job.num_microbatches * value for name, value in stage.parts.items()}
        parts["bubble"] = bubble_seconds(
            [stage.seconds for stage in self.stages], job.layout.virtual_pipeline
        )
        parts["pipeline"] = self._messages()
        parts["data_parallel"] = (
            self._sharded_weights() if job.fully_sharded else self._replicated_weights()
        )
        parts["optimizer"] = self._optimizer()
        nodes = job.world_size / self.cluster.gpus_per_node
        doublings = math.log2(nodes) if nodes > 1 else 0.0
        parts["waiting"] = constants.jitter * doublings * sum(parts.values())
        parts["host"] = constants.host_seconds
        return parts

    def _messages(self) -> float:
        """Between pipeline stages. Interleaved stages send and receive beside their work, so only
        filling and draining waits for messages."""
        layout = self.job.layout
        if layout.pipeline == 1:
            return 0.0
        share = layout.tensor if layout.sequence_parallel else 1
        distance = self.job.world_size // layout.pipeline
        sent = activation_bytes(self.job) / share
        one = send_seconds(distance, sent, self.cluster, self.constants)
        if layout.virtual_pipeline > 1:
            return 2 * (layout.pipeline - 1) * one
        return 2 * (self.job.num_microbatches + layout.pipeline - 1) * one

    def _replicated_weights(self) -> float:
        """Gradients to the ranks that hold their optimizer state, and weights back."""
        layout = self.job.layout
        gradients = weights = 0.0
        for group, parameters in self._replicas():
            bucket = layout.bucket_parameters or max(_FEW_BUCKETS, _BUCKET_PER_RANK * group.size)
            calls = math.ceil(parameters / bucket) if layout.overlap_grad_reduce else 1
            total = 4 * parameters
            gradients += self._gather(group, total, calls)
            if layout.distributed_optimizer:
                weights += self._gather(group, self._weight_bytes() * parameters, calls)
            else:
                gradients += self._gather(group, total, calls)
        behind, exposed = self.slowest, self.constants.exposed_fraction
        room = overlap_microbatches(layout)
        if layout.overlap_grad_reduce:
            gradients = exposed_seconds(gradients, room * behind.backward_seconds, exposed)
        if layout.overlap_param_gather:
            weights = exposed_seconds(weights, room * behind.forward_seconds, exposed)
        return gradients + weights

    def _sharded_weights(self) -> float:
        """FSDP: weights of each layer are gathered beside the layer before, forward and backward,
        and gradients reduced beside the next, in every microbatch."""
        exposed, stage = self.constants.exposed_fraction, self.slowest
        forward = backward = 0.0
        for group, parameters in self._replicas():
            calls = stage.layers + 1
            gathered = self._gather(group, self._weight_bytes() * parameters, calls)
            forward += gathered
            backward += gathered + self._gather(group, 4 * parameters, calls)
        return self.job.num_microbatches * (
            exposed_seconds(forward, stage.forward_seconds, exposed)
            + exposed_seconds(backward, stage.backward_seconds, exposed)
        )

    def _gather(self, group: Group, total_bytes: float, calls: float) -> float:
        return all_gather_seconds(group, total_bytes, self.cluster, self.constants, calls=calls)

    def _weight_bytes(self) -> int:
        precision = self.job.precision
        if isinstance(precision, Fp8Config):
            # With scales for 32 elements they are gathered as they were before they were rounded.
            return 1 if precision.fp8_params and precision.recipe != "mxfp8" else 2
        return 4 if precision.model_format == "fp32" else 2

    def _replicas(self) -> list[tuple[Group, int]]:
        """Groups that hold the same weights, with the slowest stage's parameters in them."""
        layout, stage = self.job.layout, self.slowest
        shared, experts = layer_parameters(self.job)
        size = self.job.data_parallel * layout.context
        parameters = shared * stage.layers + stage.tables * table_parameters(self.job)
        groups = [(Group(size=size, stride=layout.tensor), parameters)]
        if experts:
            copies = layout.tensor * size // layout.expert
            groups.append((Group(size=copies, stride=layout.expert), experts * stage.layers))
        return groups

    def _optimizer(self) -> float:
        is_split = self.job.layout.distributed_optimizer or self.job.fully_sharded
        held = sum(
            parameters / (group.size if is_split else 1) for group, parameters in self._replicas()
        )
        gpu = self.cluster.gpu
        return _OPTIMIZER_BYTES * held / (gpu.memory_bandwidth * self.constants.memory_efficiency)


class _Stage:
    """One pipeline stage: seconds of one microbatch."""

    def __init__(self, step: _Step, layers: int, *, has_output: bool) -> None:
        job = step.job
        self.layers = layers
        # A stage in the middle has none; the heaviest decides, and it is mostly an end.
        self.tables = (2 if not job.model.tie_embeddings else 1) if job.layout.pipeline == 1 else 1
        passes = [(layers, step.layer), *([(1, step.output)] if has_output else [])]
        forward = _total([(count, item.forward) for count, item in passes])
        backward = _total([(count, item.backward) for count, item in passes])
        again = _recomputed_layers(job, layers) * _recomputed_seconds(job, step.layer)
        self.forward_seconds = sum(forward.values())
        self.backward_seconds = sum(backward.values()) + again
        self.seconds = self.forward_seconds + self.backward_seconds
        self.parts: dict[str, float] = {
            name: forward[name] + backward[name] for name in forward
        } | {"recompute": again}


def _total(weighted: list[tuple[int, Seconds]]) -> dict[str, float]:
    names = dict.fromkeys(name for _, seconds in weighted for name in seconds)
    return {name: sum(n * seconds.get(name, 0.0) for n, seconds in weighted) for name in names}


def _recomputed_layers(job: Job, layers: int) -> int:
    """Of a stage's layers, those of which something is computed again."""
    layout = job.layout
    if layout.recompute == "none":
        return 0
    if layout.recompute == "full" and layout.recompute_method == "block":
        return min(layers, layout.recompute_layers * layout.virtual_pipeline)
    return layers


def _recomputed_seconds(job: Job, layer: Pass) -> float:
    """Of one such layer."""
    if job.layout.recompute == "full":
        return sum(layer.forward.values())
    return recomputed(job, layer.forward)
