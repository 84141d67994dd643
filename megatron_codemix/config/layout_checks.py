"""What a layout can split, and how its options go together: each rule with its reason and what to
do. Most are megatron-core's own, of which its library checks few: Megatron-LM's argument parser
does, and without it several combinations train on wrong numbers."""

import math

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.engine_checks import check_engine
from megatron_codemix.config.engine_options import check_overlap_nodes, check_tensor_overlap
from megatron_codemix.config.graph_checks import check_graphs_layout
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.precision_checks import check_precision_layout
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, RunConfig


def layout_problems(config: RunConfig, world_size: int, gpus_per_node: int) -> list[str]:
    """All that keeps this layout from training on `world_size` GPUs, so many of them on each node:
    what is left of `codemix config check` where the rest of the configuration is right, and what
    that cannot know of the nodes."""
    return [
        *check_layout_options(config),
        *check_trained_layout(config),
        *check_layout(config, world_size),
        *check_overlap_nodes(config.layout, world_size, gpus_per_node),
    ]


def check_trained_layout(config: RunConfig) -> list[str]:
    """What optimizer, number formats, a chosen engine, overlaps and CUDA graphs ask of `layout`,
    beside what the model does; a model that is only read has no such rules."""
    return [
        *_check_muon(config),
        *check_precision_layout(config),
        *check_engine(config),
        *check_tensor_overlap(config),
        *check_graphs_layout(config),
    ]


def check_layout_options(config: RunConfig) -> list[str]:
    """What is wrong with `layout` whatever the number of processes; empty if all is well."""
    return [
        *_check_tensor(config.model, config.layout),
        *_check_pipeline(config.model, config.layout),
        *_check_sequence(config),
        *_check_experts(config.model, config.layout),
        *_check_recompute(config),
        *_check_overlap(config.layout),
    ]


def check_layout(config: RunConfig, world_size: int) -> list[str]:
    """What is wrong with running on `world_size` processes; empty if all is well."""
    layout = config.layout
    if world_size % layout.model_parallel:
        sizes = f"tensor {layout.tensor} x pipeline {layout.pipeline}"
        if layout.context > 1:
            sizes += f" x context {layout.context}"
        return [
            f"layout: {sizes} = {layout.model_parallel} processes hold one copy of the model, and "
            f"{world_size} processes are not a multiple of that; change the number of processes or "
            "the layout"
        ]
    if world_size // layout.pipeline % layout.expert:
        return [
            f"layout.expert: {layout.expert} does not divide the {world_size // layout.pipeline} "
            f"processes of a pipeline stage ({world_size} processes / layout.pipeline "
            f"{layout.pipeline}); they share the experts of its layers; change the number of "
            "processes or layout.expert"
        ]
    *ramp_up, full = batch_sizes(config).stages
    batches = {"train.global_batch_sequences": full.sequences}
    batches |= {
        f"train.ramp_up, from step {stage.first_step + 1} on": stage.sequences for stage in ramp_up
    }
    return [
        problem
        for where, batch in batches.items()
        for problem in _check_batch(layout, where, batch, world_size)
    ]


def _check_batch(layout: LayoutConfig, where: str, batch: int, world_size: int) -> list[str]:
    """Of one size that steps have: `where` it is asked for."""
    data_parallel = world_size // layout.model_parallel
    at_once = layout.microbatch_sequences * data_parallel
    if batch % at_once:
        return [
            f"{where}: {batch} is not a multiple of {at_once} "
            f"(layout.microbatch_sequences {layout.microbatch_sequences} x {data_parallel} "
            f"data-parallel ranks on {world_size} processes); every rank takes the same number of "
            "microbatches; change the microbatch or the number of processes: the global batch "
            "decides what is learned"
        ]
    num_microbatches = batch // at_once
    if layout.virtual_pipeline == 1 or num_microbatches % layout.pipeline == 0:
        return []
    return [
        f"layout.virtual_pipeline: each rank has {num_microbatches} microbatches in a step of "
        f"{batch} sequences ({where}) on {world_size} processes, not a multiple of layout.pipeline "
        f"{layout.pipeline}; interleaved stages pass microbatches on in groups of that size; "
        "change layout.microbatch_sequences or the number of processes, or set "
        "layout.virtual_pipeline=1"
    ]


def _check_tensor(model: ModelConfig, layout: LayoutConfig) -> list[str]:
    """What tensor parallelism cuts into equal parts."""
    parts = {
        "model.num_attention_heads": model.num_attention_heads,
        "model.num_query_groups": model.num_query_groups,
    }
    if model.moe is None:
        parts["model.ffn_hidden_size"] = model.ffn_hidden_size
    problems = [
        f"layout.tensor: {layout.tensor} does not divide {name} {size}; every tensor-parallel "
        "rank holds the same share"
        for name, size in parts.items()
        if size is not None and size % layout.tensor
    ]
    padded = padded_vocabulary_size(model.vocabulary_size)
    if padded % layout.tensor:
        problems.append(
            f"layout.tensor: {layout.tensor} does not divide the vocabulary of "
            f"{model.vocabulary_size}, padded to {padded} in every layout; powers of two do"
        )
    return problems


def _check_pipeline(model: ModelConfig, layout: LayoutConfig) -> list[str]:
    layers = model.num_layers
    if layout.virtual_pipeline > 1 and layout.pipeline == 1:
        return [
            f"layout.virtual_pipeline: {layout.virtual_pipeline} needs layout.pipeline > 1; it "
            "cuts pipeline stages into model chunks, and one stage alone has no bubble to make "
            "smaller; set layout.virtual_pipeline=1 or raise layout.pipeline"
        ]
    if layers % layout.pipeline:
        return [
            f"layout.pipeline: {layout.pipeline} does not divide model.num_layers {layers}; every "
            f"stage holds the same number of layers; {divisors_text(layers)} do"
        ]
    stage = layers // layout.pipeline
    if stage % layout.virtual_pipeline:
        return [
            f"layout.virtual_pipeline: {layout.virtual_pipeline} does not divide the {stage} "
            "layers of a pipeline stage; every model chunk holds the same number; "
            f"{divisors_text(stage)} do"
        ]
    return []


def _check_sequence(config: RunConfig) -> list[str]:
    """What context and sequence parallelism cut along the sequence."""
    layout, length = config.layout, config.data.sequence_length
    problems = []
    if layout.sequence_parallel and layout.tensor == 1:
        problems.append(
            "layout.sequence_parallel: needs layout.tensor > 1, because it splits activations "
            "over the tensor-parallel ranks; set it to false or raise layout.tensor"
        )
    if layout.context > 1 and length % (2 * layout.context):
        problems.append(
            f"data.sequence_length: {length} is not a multiple of {2 * layout.context} "
            f"(2 x layout.context {layout.context}); each context-parallel rank takes two pieces "
            "of a sample, one from each end, for its share of the causal mask; change one of them"
        )
    elif layout.sequence_parallel and (length // layout.context) % layout.tensor:
        share = f" / layout.context {layout.context}" if layout.context > 1 else ""
        problems.append(
            f"data.sequence_length: {length}{share} is not a multiple of layout.tensor "
            f"{layout.tensor}, which layout.sequence_parallel needs"
        )
    return problems


def _check_experts(model: ModelConfig, layout: LayoutConfig) -> list[str]:
    if model.moe is None:
        if layout.expert == 1:
            return []
        return [
            f"layout.expert: {layout.expert} needs model.moe; a dense model has no experts to "
            "share; set layout.expert=1"
        ]
    experts = model.moe.num_experts
    problems = []
    if experts % layout.expert:
        problems.append(
            f"layout.expert: {layout.expert} does not divide model.moe.num_experts {experts}; "
            f"every rank holds the same number of whole experts; {divisors_text(experts)} do"
        )
    if layout.tensor > 1 and not layout.sequence_parallel:
        problems.append(
            "layout.sequence_parallel: model.moe with layout.tensor > 1 needs it; experts are not "
            "cut, so without it every tensor-parallel rank would compute the same experts on the "
            "same tokens; set it to true"
        )
    return problems


def _check_recompute(config: RunConfig) -> list[str]:
    layout, fields = config.layout, type(config.layout).model_fields
    needed = {
        "recompute_modules": "selective",
        "recompute_method": "full",
        "recompute_layers": "full",
    }
    problems = [
        f"layout.{name}: means something only with layout.recompute={kind}, which is "
        f"{layout.recompute}; remove it or change layout.recompute"
        for name, kind in needed.items()
        if getattr(layout, name) != fields[name].default and layout.recompute != kind
    ]
    if "layernorm" in layout.recompute_modules and config.model.block != "parallel":
        problems.append(
            "layout.recompute_modules: layernorm needs model.block=parallel; the sequential block "
            "is megatron-core's, which recomputes norms with Transformer Engine alone; take "
            "core_attn, mlp or layout.recompute=full"
        )
    other, replaced = ("mlp", "moe") if config.model.moe else ("moe", "mlp")
    if other in layout.recompute_modules:
        problems.append(
            f"layout.recompute_modules: {other} names no part of this model, whose layers have "
            f"{replaced} there (model.moe); take that instead"
        )
    held = config.model.num_layers // layout.model_chunks
    if layout.recompute == "full" and layout.recompute_layers > held > 0:
        problems.append(
            f"layout.recompute_layers: {layout.recompute_layers}, but each model chunk holds "
            f"{held} layers (model.num_layers {config.model.num_layers} / layout.pipeline "
            f"{layout.pipeline} / layout.virtual_pipeline {layout.virtual_pipeline}); at most "
            "those can be computed again; lower it"
        )
    return problems


def _check_overlap(layout: LayoutConfig) -> list[str]:
    problems = []
    if layout.overlap_param_gather and not layout.distributed_optimizer:
        problems.append(
            "layout.overlap_param_gather: needs layout.distributed_optimizer=true; without it "
            "every rank updates all weights and there is nothing to gather; change one of them"
        )
    if layout.overlap_param_gather and not layout.overlap_grad_reduce:
        problems.append(
            "layout.overlap_param_gather: needs layout.overlap_grad_reduce=true; weights are "
            "gathered in the buckets that the overlapped reduction makes; set it too"
        )
    if layout.bucket_parameters is not None and not layout.overlap_grad_reduce:
        problems.append(
            "layout.bucket_parameters: means something only with layout.overlap_grad_reduce=true; "
            "without overlap all gradients are one bucket; remove it or set that too"
        )
    return problems


def _check_muon(config: RunConfig) -> list[str]:
    """Muon orthogonalises whole matrices, of which every rank must have all."""
    if config.optimizer.kind != "muon":
        return []
    problems = []
    if config.layout.tensor > 1:
        problems.append(
            f"layout.tensor: {config.layout.tensor} cuts the matrices that optimizer.kind=muon "
            "orthogonalises whole; set it to 1, pipeline and data parallelism do not cut them"
        )
    if config.layout.distributed_optimizer:
        problems.append(
            "layout.distributed_optimizer: splits the optimizer's state over ranks, cutting "
            "through the matrices that optimizer.kind=muon orthogonalises whole; set it to false"
        )
    return problems


def divisors(number: int) -> list[int]:
    """Ascending."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return small + [number // n for n in reversed(small) if n * n != number]


def divisors_text(number: int) -> str:
    """`1, 2, 3, 4, 6, 12`, for "these would do"."""
    return ", ".join(map(str, divisors(number)))
