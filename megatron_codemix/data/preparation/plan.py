"""What is asked of a preparation, and what of it is left to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.corpus.output_place import require_folder_place
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.split import SPLITS, Split, require_validation_fraction
from megatron_codemix.corpus.stages.run import wanted_files
from megatron_codemix.corpus.store import hash_files, place_of, source_sizes
from megatron_codemix.data.preparation.blocks import WHOLE, Part
from megatron_codemix.data.preparation.conversations import choose_template, holds_conversations
from megatron_codemix.data.preparation.sorted_shards import shard_prefix
from megatron_codemix.data.shards.layout import shard_file, token_dtype
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_file

Advance = Callable[[int], None]

VALIDATION_FRACTION = 0.05
BLOCK_BYTES = 16 * 1024 * 1024
"""Text tokenised at once: the most that a kill can cost."""
_ORDER_VERSION = 2  # raise when the same corpus would give other bytes


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What was asked for, with the inputs hashed."""

    tokenizer: Tokenizer
    out: Path
    validation_fraction: float = VALIDATION_FRACTION
    text_field: str = "text"
    origin_field: str = "origin"
    chat_template: str = "auto"
    """See choose_template; of the sources that hold conversations."""
    block_bytes: int = BLOCK_BYTES
    num_workers: int = 1
    part: Part = WHOLE
    advance: Advance

    @cached_property
    def template(self) -> ChatTemplate:
        """Of the sources that hold conversations. Raises DataError."""
        return choose_template(self.chat_template, self.tokenizer)

    @property
    def splits(self) -> tuple[Split, ...]:
        return SPLITS if self.validation_fraction > 0 else ("train",)

    def inputs(self, files: Sequence[InputFile], template: ChatTemplate | None) -> dict[str, Any]:
        """All that decides a source's shards; a shard with equal inputs is finished."""
        return {
            **({"chat_template": template.hash} if template else {}),
            "order_version": _ORDER_VERSION,
            "corpus_file": files[0].name if len(files) == 1 else place_of(files).name,
            "corpus_sha256": hash_files(files),
            "tokenizer_hash": self.tokenizer.hash,
            "validation_fraction": self.validation_fraction,
            "text_field": self.text_field,
            "origin_field": self.origin_field,
        }


@dataclass(frozen=True)
class PreparationPlan:
    """What is left to do: `todo[source]` are the inputs of shards to write, `finished` those there
    already."""

    files: dict[str, tuple[InputFile, ...]]
    todo: dict[str, dict[str, Any]]
    finished: dict[str, dict[Split, Manifest]]
    templates: dict[str, ChatTemplate]
    """Of the sources that hold conversations."""
    text_bytes: int
    """Of the sources to do: as recorded in corpus.json, else guessed."""
    disk_bytes: int


def plan_preparation(
    corpus: Path, preparation: Preparation, sources: Sequence[str] | None
) -> PreparationPlan:
    """Hashes the inputs and looks for finished shards; writes nothing. Raises DataError."""
    require_validation_fraction(preparation.validation_fraction)
    require_folder_place(preparation.out, "the token shards")
    files = wanted_files(corpus, sources)
    templates = _templates(preparation, files)
    todo, finished = {}, {}
    for name, parts in files.items():
        inputs = preparation.inputs(parts, templates.get(name))
        found = _finished(preparation, name, inputs)
        if found is None:
            todo[name] = inputs
        else:
            finished[name] = found
    sizes = source_sizes(corpus, files)
    text_bytes = sum(sizes[name] for name in todo)
    itemsize = token_dtype(preparation.tokenizer.vocabulary_size).itemsize
    # At most a token every two bytes of text; blocks and shards lie side by side for a while.
    disk_bytes = 2 * text_bytes * itemsize // 2
    return PreparationPlan(files, todo, finished, templates, text_bytes, disk_bytes)


def _templates(
    preparation: Preparation, files: Mapping[str, Sequence[InputFile]]
) -> dict[str, ChatTemplate]:
    """Raises DataError where a template was asked for and no source holds a conversation."""
    found = {
        name: preparation.template
        for name, parts in files.items()
        if holds_conversations(parts, preparation.block_bytes)
    }
    if preparation.chat_template != "auto" and not found:
        raise DataError(
            f"--chat-template {preparation.chat_template}: no source holds conversations "
            f"({', '.join(files)}); `codemix corpus instructions` makes such a source"
        )
    return found


def _finished(
    preparation: Preparation, source: str, inputs: dict[str, Any]
) -> dict[Split, Manifest] | None:
    found: dict[Split, Manifest] = {}
    for split in preparation.splits:
        prefix = shard_prefix(preparation.out, source, split)
        try:
            manifest = TokenShard.open(prefix).manifest
            documents_hash = hash_file(shard_file(prefix, ".documents.jsonl"))
        except (DataError, OSError):  # absent, damaged or of another version: made again
            return None
        if manifest.origin != {**inputs, "documents_sha256": documents_hash}:
            return None
        found[split] = manifest
    return found
