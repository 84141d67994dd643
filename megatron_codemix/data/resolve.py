"""RunConfig -> the data a run will really read: shards checked against the tokenizer, cursors taken
over from the parent.

Reads headers and manifests only, so it is quick at any size, and it runs before any process group
is started.
"""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megatron_codemix.config.identity import run_identity
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.schema import RunConfig, SourceConfig
from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.conversations import conversation_problems, template_of
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.caps import SourceState, plan_mixture, source_states
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.shards.token_shard import TokenShard, require_tokenizer
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.transforms.fill_in_the_middle import FillInTheMiddle
from megatron_codemix.data.transforms.rows import RowTransform
from megatron_codemix.errors import CodemixError, ConfigError, DataError, RunError
from megatron_codemix.ledgers import read_ledger
from megatron_codemix.lineage import Ancestor, parents_of
from megatron_codemix.runs import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """Where a source stands after the parent phases."""

    cursor: int
    chain_tokens: int
    samples_per_epoch: int


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Everything that decides which samples a run reads."""

    sources: list[SourceSpec]
    """Sources that the mixture reads, by name."""
    mixture: MixturePlan
    sequence_length: int
    seed: int
    tokenizer_hash: str
    manifest_hashes: dict[str, str]
    """Of these, and of sources that the configuration names and the mixture does not come to."""
    states: dict[str, SourceState] = field(default_factory=dict)
    """Of the sources that the mixture reads."""
    document_mask: bool = False
    chat_template: ChatTemplate | None = None
    """Of conversations whose answers alone are learned; None where all tokens are."""
    inherited: dict[str, Inherited] = field(default_factory=dict)
    """State of every source that the chain of parents has read; {} for a first phase or with
    data.restart."""
    parent_identity: str | None = None

    def identity(self, config: RunConfig) -> str:
        """Identity of the run that `config` describes on this data."""
        return run_identity(
            config,
            mixture=self.mixture.as_dict(),
            tokenizer_hash=self.tokenizer_hash,
            manifest_hashes=self.manifest_hashes,
            parent_identity=self.parent_identity,
        )

    def dataset(self) -> MixtureDataset:
        """The samples of the run, 0, 1, 2, ...

        Raises ConfigError where a source has other samples than the parent read of it: a cursor
        counts samples of one cut.
        """
        dataset = MixtureDataset(
            self.sources,
            self.mixture,
            sequence_length=self.sequence_length,
            seed=self.seed,
            start_cursors={name: state.cursor for name, state in self.inherited.items()},
            document_mask=self.document_mask,
            answers_only=self.chat_template is not None,
        )
        if self.inherited:
            self._require_samples_of_parent(dataset.samples_per_epoch)
        return dataset

    def _require_samples_of_parent(self, samples_per_epoch: Mapping[str, int]) -> None:
        problems = [
            f"data.sources.{name}: an epoch is {number} samples here and was "
            f"{self.inherited[name].samples_per_epoch} in the parent (another sequence_length, "
            "packing or shard), so where the parent stood means nothing here; set "
            "data.restart=true to read from the beginning"
            for name, number in samples_per_epoch.items()
            if name in self.inherited and self.inherited[name].samples_per_epoch != number
        ]
        if problems:
            raise ConfigError(problems)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For the provenance record of an attempt."""
        return {
            "mixture": self.mixture.as_dict(),
            "start_cursors": {name: state.cursor for name, state in self.inherited.items()},
            "tokenizer_hash": self.tokenizer_hash,
            "manifest_hashes": self.manifest_hashes,
            **({"chat_template": self.chat_template.hash} if self.chat_template else {}),
        }


def resolve_data(config: RunConfig) -> DataPlan:
    """Checks every shard that the run will read. Raises ConfigError or DataError with all problems
    found."""
    tokenizer = Tokenizer.load(config.tokenizer.path)
    problems = []
    if tokenizer.vocabulary_size != config.model.vocabulary_size:
        problems.append(
            f"model.vocabulary_size: {config.model.vocabulary_size}, but {config.tokenizer.path} "
            "has "
            f"{tokenizer.vocabulary_size} entries; set it to that"
        )
    shards: dict[str, TokenShard] = {}
    specs: dict[str, SourceSpec] = {}
    for name in sorted(weighted_sources(config.data)):
        try:
            shards[name] = open_shard(config.data.sources[name].train, tokenizer.hash)
        except DataError as error:
            problems.append(f"data.sources.{name}.train: {error}")
            continue
        problems += other_use(name, "train", shards[name])
        source = config.data.sources[name]
        try:
            transform = _transform(name, source, tokenizer, config.train.seed)
        except DataError as error:
            problems.append(f"data.sources.{name}.fill_in_the_middle: {error}")
            continue
        specs[name] = SourceSpec(name, shards[name].prefix, source.packing, transform)
    problems += _trained_on(config)
    manifests = {name: shard.manifest for name, shard in shards.items()}
    problems += conversation_problems(config, manifests)
    if problems:
        raise ConfigError(problems)
    parents = parents_of(config)
    inherited = _inherited(parents[-1]) if parents and not config.data.restart else {}
    states = source_states(
        config,
        {name: shard.num_tokens for name, shard in shards.items()},
        {name: state.cursor for name, state in inherited.items()},
    )
    mixture = plan_mixture(config, states)
    return DataPlan(
        sources=[specs[name] for name in mixture.source_names],
        mixture=mixture,
        sequence_length=config.data.sequence_length,
        seed=config.train.seed,
        tokenizer_hash=tokenizer.hash,
        manifest_hashes={name: one.content_hash for name, one in manifests.items()},
        states={name: states[name] for name in mixture.source_names},
        document_mask=config.data.document_mask,
        chat_template=template_of(config, manifests),
        inherited=inherited,
        parent_identity=_identity(parents[-1].run) if parents else None,
    )


def other_use(name: str, split: Split, shard: TokenShard) -> list[str]:
    """A shard is for training or held out from it, never both; another source's may be meant, so it
    is noted."""
    manifest, path = shard.manifest, f"data.sources.{name}.{split}"
    if manifest.split != split:
        return [f"{path}: {shard.prefix} is a {manifest.split} shard; {_ADVICE[split]}"]
    if manifest.source != name:
        log.warning(
            "%s: %s was prepared as source %r; it is read as %r",
            path,
            shard.prefix,
            manifest.source,
            name,
        )
    return []


_ADVICE: dict[Split, str] = {
    "train": "it is held out from training; name the training shard",
    "validation": "scores on what is trained on say nothing; name the held-out shard, or give what "
    "was held out by other means a manifest with --split validation",
}


def _trained_on(config: RunConfig) -> list[str]:
    """Held-out shards that are training shards. A missing one is for evaluation to miss."""
    problems = []
    for name, source in config.data.sources.items():
        if source.validation is not None:
            with contextlib.suppress(CodemixError):
                problems += other_use(name, "validation", TokenShard.open(source.validation))
    return problems


def _transform(
    name: str, source: SourceConfig, tokenizer: Tokenizer, seed: int
) -> RowTransform | None:
    asked = source.fill_in_the_middle
    if asked is None:
        return None
    return FillInTheMiddle(
        tokenizer, rate=asked.rate, spm_rate=asked.spm_rate, seed=seed, source=name
    )


def open_shard(prefix: Path, tokenizer_hash: str) -> TokenShard:
    """The shard at `prefix`. Raises DataError if another tokenizer made it."""
    shard = TokenShard.open(prefix)
    require_tokenizer(shard, tokenizer_hash)
    return shard


def _identity(parent: RunDirectory) -> str:
    status = parent.read_status()
    if status is None:
        raise RunError(f"{parent.path}: no run here (status.json is missing)")
    return status.identity


def _inherited(parent: Ancestor) -> dict[str, Inherited]:
    lines = [line for line in read_ledger(parent.run) if line["step"] == parent.step]
    if not lines:
        raise RunError(
            f"{parent.run.ledger}: has no line of step {parent.step}, so where the parent's "
            "sources stood is unknown; restore it (the `codemix train` command of the parent puts "
            "back what its checkpoints have), or set data.restart=true to read every source from "
            "its beginning"
        )
    return {
        name: Inherited(
            cursor=source["cursor"],
            chain_tokens=source["chain_tokens"],
            samples_per_epoch=source["samples_per_epoch"],
        )
        for name, source in lines[-1]["sources"].items()
    }
