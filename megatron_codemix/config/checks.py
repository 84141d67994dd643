"""Rules across the sections of a configuration, each with its reason and what to do.

`check_config` needs nothing but the configuration; `check_layout` also the number of processes.
Neither needs data: whether shards and tokenizer fit is found where they are opened.
"""

from collections.abc import Sequence

from megatron_codemix.config.mixture_checks import check_mixture
from megatron_codemix.config.overrides import check_overrides
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schedule_checks import check_schedule
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, RunConfig
from megatron_codemix.errors import ConfigError


def check_config(config: RunConfig) -> list[str]:
    """Everything that is wrong whatever the number of processes; empty if all is well."""
    return [
        *_check_attention(config.model),
        *check_overrides(config.model.transformer_overrides),
        *check_mixture(config),
        *check_schedule(config),
        *_check_split(config.model, config.layout),
        *_check_sequence_parallel(config),
        *_check_initialisation(config),
    ]


def check_layout(config: RunConfig, world_size: int) -> list[str]:
    """What is wrong with running on `world_size` processes; empty if all is well."""
    layout = config.layout
    model_parallel = layout.tensor * layout.pipeline
    if world_size % model_parallel:
        return [
            f"layout: tensor {layout.tensor} x pipeline {layout.pipeline} = {model_parallel} "
            f"processes hold one copy of the model, and {world_size} processes are not a multiple "
            "of that; change the number of processes or the layout"
        ]
    data_parallel = world_size // model_parallel
    at_once = layout.microbatch_sequences * data_parallel
    if config.train.global_batch_sequences % at_once:
        return [
            f"train.global_batch_sequences: {config.train.global_batch_sequences} is not a "
            f"multiple of {at_once} (layout.microbatch_sequences {layout.microbatch_sequences} x "
            f"{data_parallel} data-parallel ranks on {world_size} processes); every rank takes the "
            "same number of microbatches; change the microbatch or the number of processes: the "
            "global batch decides what is learned"
        ]
    return []


def raise_if(problems: Sequence[str]) -> None:
    """Raises ConfigError with the problems, if there are any."""
    if problems:
        raise ConfigError(problems)


def _check_attention(model: ModelConfig) -> list[str]:
    problems = []
    heads, groups = model.num_attention_heads, model.num_query_groups
    if groups is not None and heads % groups:
        problems.append(
            f"model.num_query_groups: {groups} does not divide the {heads} attention heads; every "
            f"key/value head serves the same number of query heads; {_divisors(heads)} do"
        )
    if model.head_dim is None and model.hidden_size % heads:
        problems.append(
            f"model.num_attention_heads: {heads} does not divide model.hidden_size "
            f"{model.hidden_size}; change one of them or set model.head_dim"
        )
        return problems
    head_dim = model.head_dim or model.hidden_size // heads
    if head_dim % 2:
        field = "head_dim" if model.head_dim else "hidden_size"
        problems.append(
            f"model.{field}: the heads are {head_dim} wide, an odd number; the rotary position "
            "embedding turns pairs of dimensions; make the width of a head even"
        )
    return problems


def _check_split(model: ModelConfig, layout: LayoutConfig) -> list[str]:
    """What tensor and pipeline parallelism cut into equal parts."""
    parts = {
        "model.num_attention_heads": model.num_attention_heads,
        "model.num_query_groups": model.num_query_groups,
        "model.ffn_hidden_size": model.ffn_hidden_size,
    }
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
    if model.num_layers % layout.pipeline:
        problems.append(
            f"layout.pipeline: {layout.pipeline} does not divide model.num_layers "
            f"{model.num_layers}; every stage holds the same number of layers; "
            f"{_divisors(model.num_layers)} do"
        )
    return problems


def _check_sequence_parallel(config: RunConfig) -> list[str]:
    layout, length = config.layout, config.data.sequence_length
    if not layout.sequence_parallel:
        return []
    if layout.tensor == 1:
        return [
            "layout.sequence_parallel: needs layout.tensor > 1, because it splits activations "
            "over the tensor-parallel ranks; set it to false or raise layout.tensor"
        ]
    if length % layout.tensor:
        return [
            f"data.sequence_length: {length} is not a multiple of layout.tensor {layout.tensor}, "
            "which layout.sequence_parallel needs"
        ]
    return []


def _check_initialisation(config: RunConfig) -> list[str]:
    if config.data.restart and config.init_from is None:
        return [
            "data.restart: means something only with init_from; a new run reads from the beginning"
        ]
    return []


def _divisors(number: int) -> str:
    """`1, 2, 3, 4, 6, 12`, for "these would do"."""
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
