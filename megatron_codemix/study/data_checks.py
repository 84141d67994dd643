"""Whether the token shards that a study's phases read are there and whole, before the first of them
trains. Opens shards as training and evaluation do, which reads headers and sizes alone."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from megatron_codemix.config.checks import raise_if
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.held_out import require_documents
from megatron_codemix.data.resolve import open_shard, other_use
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest, manifest_command
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.errors import CodemixError, ConfigError
from megatron_codemix.study.damaged_ends import to_be_done
from megatron_codemix.study.data_paths import DATA_ROOT
from megatron_codemix.study.inventory import is_file
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import phase_progress
from megatron_codemix.study.tree import StudyTree


class ShardUse(NamedTuple):
    """What a phase reads a shard for."""

    source: str
    split: Split
    prefix: Path
    tokenizer: Path


class DataFound(NamedTuple):
    """`missing`: files by name. `damaged`: what is wrong with those that are there."""

    missing: list[str]
    damaged: list[str]

    @property
    def problems(self) -> list[str]:
        """Both, with what to do."""
        return [*map(missing_line, self.missing), *self.damaged]


def missing_line(name: str) -> str:
    """That a file is not there, with what to do."""
    if DATA_ROOT in name:
        return f"missing: {name}; give --data, the folder that {DATA_ROOT} stands for"
    return f"missing: {name}; prepare it, or set --data"


def data_of_all(tree: StudyTree) -> DataFound:
    """What the phases of `tree` read, whether they are done or not. tree: with identities."""
    return _look(tree, (use for node in tree.nodes.values() for use in _uses(node)))


def data_of_the_rest(tree: StudyTree, out: Path) -> DataFound:
    """What is read by the phases that are not done below `out` or in the store, or whose last
    checkpoint is to be made again; where a training is done, by its evaluation alone. tree: with
    identities."""
    return _look(tree, (use for node in tree.nodes.values() for use in _uses_left(tree, out, node)))


def _uses(node: PhaseNode) -> Iterator[ShardUse]:
    config = node.config
    for name, source in config.data.sources.items():
        if name in weighted_sources(config.data):
            yield ShardUse(name, "train", source.train, config.tokenizer.path)
        if source.validation is not None:
            yield ShardUse(name, "validation", source.validation, config.tokenizer.path)


def _uses_left(tree: StudyTree, out: Path, node: PhaseNode) -> list[ShardUse]:
    try:
        state = to_be_done(tree, out, phase_progress(tree, out, node)).state
    except CodemixError:  # its run is damaged, which others tell
        state = "pending"
    if state == "done":
        return []
    uses = [use for use in _uses(node) if state != "trained" or use.split == "validation"]
    if tree.spec.evaluation.reads_training_data:
        uses += [use for one in tree.chain(node) for use in _uses(one) if use.split == "train"]
    return uses


def _look(tree: StudyTree, uses: Iterable[ShardUse]) -> DataFound:
    missing, damaged = list(tree.inventory.missing), list[str]()
    for use in dict.fromkeys(uses):
        manifest = shard_file(use.prefix, ".manifest.json")
        try:
            if is_file(manifest):
                _require_whole(use, tree.inventory.tokenizer_hash(use.tokenizer))
            elif use.split == "validation":  # training shards are in the inventory
                missing.append(f"held-out shard {manifest}")
        except ConfigError as error:
            damaged += error.problems
        except CodemixError as error:
            place = f"data.sources.{use.source}.{use.split}"
            damaged += [f"{place}: {problem}" for problem in error.problems]
    return DataFound(list(dict.fromkeys(missing)), list(dict.fromkeys(damaged)))


def _require_whole(use: ShardUse, tokenizer: str | None) -> None:
    """Raises DataError, or ConfigError where the shard is for something else."""
    # Read for itself, so that its error has the command for this source and split.
    remedy = manifest_command(use.prefix, use.tokenizer, use.source, use.split)
    Manifest.load(shard_file(use.prefix, ".manifest.json"), remedy=remedy)
    shard = open_shard(use.prefix, tokenizer) if tokenizer else TokenShard.open(use.prefix)
    raise_if(other_use(use.source, use.split, shard))
    if use.split == "validation":
        require_documents(shard)
