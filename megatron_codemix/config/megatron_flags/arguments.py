"""The flags of Megatron-LM's pretrain_gpt.py that ask for the same run.

Names and defaults are those of `megatron/training/arguments.py` of the release that megatron-core
0.16 belongs to. Speed-only flags are left at Megatron-LM's defaults.
"""

from collections.abc import Mapping

from megatron_codemix.config.identity import SAMPLE_OPTIONS
from megatron_codemix.config.megatron_flags.flags import Flags
from megatron_codemix.config.megatron_flags.horizon import horizon_flags
from megatron_codemix.config.megatron_flags.layout import (
    kernel_flags,
    layout_flags,
    untranslated_kernels,
)
from megatron_codemix.config.megatron_flags.model import (
    expert_flags,
    model_flags,
    vocabulary_flags,
)
from megatron_codemix.config.megatron_flags.overrides import override_flags
from megatron_codemix.config.megatron_flags.precision import precision_flags
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.overrides import typed_overrides
from megatron_codemix.config.plan import RunPlan
from megatron_codemix.config.schema import (
    AdamWConfig,
    ConstantMixtureConfig,
    RunConfig,
    SourceConfig,
)
from megatron_codemix.errors import ConfigError


def megatron_arguments(config: RunConfig, plan: RunPlan) -> Flags:
    """Each flag with its values. Raises ConfigError for what Megatron-LM has no flag for."""
    _require_plain_samples(config)
    mixture = config.data.mixture
    if not isinstance(mixture, ConstantMixtureConfig) or config.data.changes:
        raise ConfigError(
            ["data.mixture: Megatron-LM blends with constant weights; it has no schedule of them"]
        )
    model, layout, optimizer = config.model, config.layout, config.optimizer
    if not isinstance(optimizer, AdamWConfig):
        raise ConfigError(
            [f"optimizer.kind: {optimizer.kind}: Megatron-LM's splits and scales in other ways"]
        )
    flags: Flags = [
        *model_flags(model),
        *expert_flags(model, layout),
        *vocabulary_flags(model, layout.tensor, plan),
        ("--seq-length", str(config.data.sequence_length)),
        ("--max-position-embeddings", str(config.data.sequence_length)),
        *layout_flags(layout),
        *kernel_flags(config),
        ("--global-batch-size", str(config.train.global_batch_sequences)),
        *horizon_flags(config, plan),
        ("--optimizer", "adam"),
        ("--weight-decay", repr(optimizer.weight_decay)),
        ("--adam-beta1", repr(optimizer.beta1)),
        ("--adam-beta2", repr(optimizer.beta2)),
        ("--adam-eps", repr(optimizer.epsilon)),
        ("--clip-grad", repr(optimizer.clip_grad_norm or 0.0)),
        ("--calculate-per-token-loss",),
        ("--seed", str(config.train.seed)),
        ("--train-data-path", *_blend(mixture, config.data.sources)),
        ("--dataloader-type", "single"),
        ("--eval-iters", "0"),
        ("--save-interval", str(plan.save_every_steps)),
        ("--log-interval", str(config.logging.every_steps)),
    ]
    return (
        flags
        + precision_flags(config.precision)
        + override_flags(typed_overrides(model.transformer_overrides))
    )


def what_differs(config: RunConfig) -> list[str]:
    """What the flags cannot make equal, for people to know before they compare."""
    notes = [
        "the weights at step 0 differ: here each follows from the seed and its name",
        "the order of the samples differs after the first epoch of a source, and where sources are "
        "blended",
        "Megatron-LM takes the learning rate from the tokens before a step, this project from "
        "those after it: its curve lies one step later",
        "the token shards are read as they are (NullTokenizer); --save and --load are left to you",
    ]
    if config.init_from is not None:
        notes.append(
            f"init_from ({config.init_from.run}) is not translated: Megatron-LM cannot load this "
            "project's checkpoints"
        )
    return notes + untranslated_kernels(config)


def _require_plain_samples(config: RunConfig) -> None:
    """Raises ConfigError unless the samples are windows of the documents' stream, read as they
    are."""
    read = weighted_sources(config.data)
    problems = [
        f"data.sources.{name}.{option}: pretrain_gpt.py has no flag for it"
        for name, source in config.data.sources.items()
        for option in SAMPLE_OPTIONS
        if getattr(source, option) is not None and name in read
    ]
    if config.train.stage != "pretrain":
        problems.append(
            f"train.stage: {config.train.stage} learns answers alone; pretrain_gpt.py has no flag "
            "for it"
        )
    if config.data.document_mask:
        problems.append(
            "data.document_mask: Megatron-LM's --reset-attention-mask puts the end-of-document "
            "token into the document that it ends, not into the one that it opens"
        )
    if problems:
        raise ConfigError(problems)


def _blend(mixture: ConstantMixtureConfig, sources: Mapping[str, SourceConfig]) -> tuple[str, ...]:
    return tuple(
        word
        for name, weight in sorted(mixture.weights.items())
        if weight
        for word in (repr(weight), str(sources[name].train))
    )
