"""Rules across the sections of a configuration, each with its reason and what to do.

`check_config` needs nothing but the configuration; `layout_checks.check_layout` also the number of
processes. Neither needs data: whether shards and tokenizer fit is found where they are opened.
"""

from collections.abc import Sequence

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.engine_options import check_engine_loss
from megatron_codemix.config.graph_checks import check_graphs
from megatron_codemix.config.layout_checks import (
    check_layout_options,
    check_trained_layout,
    divisors_text,
)
from megatron_codemix.config.mixture_checks import check_mixture, weighted_sources
from megatron_codemix.config.override_checks import check_override_fit
from megatron_codemix.config.overrides import check_overrides
from megatron_codemix.config.plan import phase_samples
from megatron_codemix.config.precision_checks import check_precision
from megatron_codemix.config.schedule_checks import check_schedule
from megatron_codemix.config.schema import ModelConfig, RunConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.units import format_count


def check_config(config: RunConfig) -> list[str]:
    """Everything that is wrong whatever the number of processes; empty if all is well."""
    return [
        *check_all_but_layout(config),
        *check_layout_options(config),
        *check_trained_layout(config),
    ]


def check_all_but_layout(config: RunConfig) -> list[str]:
    """What no other layout would make right; empty if all is well."""
    if problems := _check_sizes(config):
        return problems
    return [
        *_check_attention(config.model),
        *_check_experts(config.model),
        *check_overrides(config.model.transformer_overrides),
        *check_override_fit(config),
        *_check_muon(config),
        *check_mixture(config),
        *_check_ramp_up(config),
        *check_schedule(config),
        *check_precision(config),
        *check_graphs(config),
        *check_engine_loss(config),
        *_check_initialisation(config),
        *_check_validation(config),
        *_check_instruct(config),
    ]


def raise_if(problems: Sequence[str]) -> None:
    """Raises ConfigError with the problems, if there are any."""
    if problems:
        raise ConfigError(problems)


def _check_sizes(config: RunConfig) -> list[str]:
    """Limits are far above what has been trained, and below what makes sums of sizes senseless."""
    model = config.model
    sizes = (
        ("model.num_layers", model.num_layers, 10_000),
        ("model.hidden_size", model.hidden_size, 2**20),
        ("model.ffn_hidden_size", model.ffn_hidden_size, 2**24),
        ("model.num_attention_heads", model.num_attention_heads, 2**20),
        ("model.vocabulary_size", model.vocabulary_size, 2**31),
        ("data.sequence_length", config.data.sequence_length, 2**30),
    )
    return [
        f"{name}: {value} is beyond any model; at most {most} is taken"
        for name, value, most in sizes
        if value > most
    ]


def _check_attention(model: ModelConfig) -> list[str]:
    problems = []
    heads, groups = model.num_attention_heads, model.num_query_groups
    if groups is not None and heads % groups:
        problems.append(
            f"model.num_query_groups: {groups} does not divide the {heads} attention heads; every "
            f"key/value head serves the same number of query heads; {divisors_text(heads)} do"
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


def _check_muon(config: RunConfig) -> list[str]:
    """What Muon asks of the model; `layout_checks` has what it asks of the layout."""
    if config.optimizer.kind != "muon":
        return []
    problems = []
    if config.model.moe is not None:
        problems.append(
            "optimizer.kind: muon does not go with model.moe; a router's rows are directions of "
            "choice, not a map to be orthogonalised, and Muon's papers leave it open; take adamw"
        )
    if config.model.mup is not None:
        problems.append(
            "model.mup: its multipliers are AdamW's; optimizer.kind=muon has other ones, which are "
            "not there; remove one of the two"
        )
    return problems


def _check_experts(model: ModelConfig) -> list[str]:
    moe = model.moe
    if moe is None:
        return []
    problems = []
    if moe.top_k > moe.num_experts:
        problems.append(
            f"model.moe.top_k: {moe.top_k} is more than the {moe.num_experts} experts of a layer; "
            "lower it"
        )
    if moe.top_k == 1 and moe.normalize_chosen:
        problems.append(
            "model.moe.normalize_chosen: with top_k 1 the weight of the chosen expert would always "
            "be 1, and the router would learn nothing from the loss; set it to false"
        )
    if model.add_bias:
        problems.append(
            "model.add_bias: with model.moe it would give the router a bias too, which its "
            "formulas do not have; set it to false"
        )
    if model.mup is not None:
        problems.append(
            "model.mup: does not go with model.moe; its table has no row for a router, "
            "whose outputs do not grow with the width; remove one of them"
        )
    if model.block == "parallel":
        problems.append(
            "model.block: parallel does not go with model.moe; its branches share one sum over the "
            "tensor-parallel ranks, and experts are not cut over those; set it to sequential"
        )
    return problems


def _check_ramp_up(config: RunConfig) -> list[str]:
    ramp_up, full = config.train.ramp_up, config.train.global_batch_sequences
    if ramp_up is None:
        return []
    start, increment = ramp_up.start_sequences, ramp_up.increment_sequences
    if start >= full:
        return [
            f"train.ramp_up.start_sequences: {start} is not below train.global_batch_sequences "
            f"{full}, to which the batch is to grow; lower it or leave out train.ramp_up"
        ]
    if (full - start) % increment:
        return [
            f"train.ramp_up.increment_sequences: {increment} does not divide the {full - start} "
            f"sequences from the first batch of {start} to train.global_batch_sequences {full}; "
            "the batch grows in equal increments; change one of them"
        ]
    if batch_sizes(config).stages[-1].first_sample >= phase_samples(config):
        return [
            f"train.ramp_up.over_tokens: {format_count(ramp_up.over_tokens)} of the "
            f"{format_count(config.train.train_tokens)} train.train_tokens leave no whole step for "
            "train.global_batch_sequences; make it shorter"
        ]
    return []


def _check_validation(config: RunConfig) -> list[str]:
    sources = config.data.sources.values()
    if config.validation is None or any(source.validation for source in sources):
        return []
    return [
        "validation: no source has a held-out shard to score; set data.sources.<name>.validation, "
        "or leave out the section"
    ]


def _check_instruct(config: RunConfig) -> list[str]:
    """What learning answers alone asks for. Whether sources have answers is found where they are
    opened."""
    if config.train.stage != "instruct":
        return []
    problems = []
    if config.init_from is None:
        problems.append(
            "train.stage: instruct tunes a model that has learned to write, and init_from is "
            "missing; name the run that it starts from"
        )
    if not config.data.document_mask:
        problems.append(
            "data.document_mask: false, and train.stage is instruct; a conversation would see the "
            "ones before it in its sample; set it to true"
        )
    read = weighted_sources(config.data)
    problems += [
        f"data.sources.{name}.fill_in_the_middle: moves tokens, so that answers could not be told "
        "from the rest; leave it out with train.stage: instruct"
        for name, source in config.data.sources.items()
        if source.fill_in_the_middle is not None and name in read
    ]
    return problems


def _check_initialisation(config: RunConfig) -> list[str]:
    if config.data.restart and config.init_from is None:
        return [
            "data.restart: means something only with init_from; a new run reads from the beginning"
        ]
    return []
