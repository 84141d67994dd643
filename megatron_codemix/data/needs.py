"""What a configuration needs of this machine's disk and packages, and whether it is there."""

from collections.abc import Callable
from dataclasses import dataclass

from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.held_out import require_documents
from megatron_codemix.data.loading.dali import require_dali
from megatron_codemix.data.mixture.describe import readings, repetitions
from megatron_codemix.data.resolve import open_shard, resolve_data
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.errors import CodemixError, ConfigError
from megatron_codemix.obs.trackers import require_tracker


@dataclass(frozen=True)
class Needs:
    """`problems`: what keeps the run from starting, or its evaluation. `notes`: what a reader
    should know."""

    problems: list[str]
    notes: list[str]


def check_needs(config: RunConfig) -> Needs:
    """Looks for the tokenizer, every shard, the parent's run, the packages of loader and logging;
    reads headers and manifests only. A source that is read more often than `max_epochs` allows is a
    problem, one that is read often is noted."""
    notes: list[str] = []
    checks = [
        _check_loader,
        _check_trackers,
        check_held_out,
        lambda config: notes.extend(_notes_of_data(config)),
    ]
    problems = [problem for check in checks for problem in _problems_of(check, config)]
    return Needs(list(dict.fromkeys(problems)), [*notes, *unread_sources(config)])


def unread_sources(config: RunConfig) -> list[str]:
    """A note on each source that is in no mixture: training does not miss its shard."""
    notes = []
    for name in sorted(set(config.data.sources) - weighted_sources(config.data)):
        source = config.data.sources[name]
        rest = "only its held-out documents are read" if source.validation else "nothing reads it"
        note = f"data.sources.{name}: is not in the mixture; {rest}"
        try:
            TokenShard.open(source.train)
        except CodemixError as error:
            note += f" (and its training shard: {error})"
        notes.append(note)
    return notes


def _problems_of(check: Callable[[RunConfig], None], config: RunConfig) -> list[str]:
    try:
        check(config)
    except ConfigError as error:
        return error.problems
    except CodemixError as error:
        return [str(error)]
    return []


def _check_loader(config: RunConfig) -> None:
    if config.data.loader == "dali":
        require_dali()


def check_held_out(config: RunConfig) -> None:
    """Raises ConfigError: what validation and evaluation would refuse."""
    tokenizer = tokenizer_hash(config.tokenizer.path)
    problems = []
    for name, source in config.data.sources.items():
        if source.validation is None:
            continue
        try:
            shard = open_shard(source.validation, tokenizer)
            if shard.manifest.split == "validation":  # else resolve_data refuses it
                require_documents(shard)
        except CodemixError as error:
            problems.append(f"data.sources.{name}.validation: {error}")
    if problems:
        raise ConfigError(problems)


def _check_trackers(config: RunConfig) -> None:
    for package in ("tensorboard", "wandb"):
        if getattr(config.logging, package):
            require_tracker(package)


def _notes_of_data(config: RunConfig) -> list[str]:
    """What is read often, and what is cut. Raises CodemixError: what training would refuse."""
    data = resolve_data(config)
    # Refuses a sequence longer than a shard, or samples unlike the parent's.
    dataset = data.dataset()
    last = readings(config, data.mixture, data.states)[-1]
    cut = [
        f"data.sources.{name}: {packed.num_cut} of {len(packed.lengths)} conversations are longer "
        f"than a sample and cut at its end; {packed.num_left_out} of these have no answer before "
        "the cut and are left out"
        for name, packed in dataset.packed_conversations.items()
        if packed.num_cut
    ]
    repeated = repetitions({name: source.epochs for name, source in last.sources.items()})
    return [*cut, *repeated]
