"""Held-out documents of a run's sources: which of them are scored."""

from dataclasses import dataclass

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.documents_file import count_records
from megatron_codemix.data.held_out_windows import choose_documents
from megatron_codemix.data.resolve import open_shard, other_use
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.files import read_jsonl

MAX_DOCUMENT_WINDOWS = 8
"""A long document counts with its first windows only, so that it cannot stand for a whole
source."""


@dataclass(frozen=True)
class HeldOutSource:
    """The part of one source that is scored."""

    name: str
    shard: TokenShard
    num_documents: int
    ids: list[str]


def held_out_sources(config: RunConfig, max_bytes_per_source: int) -> list[HeldOutSource]:
    """The sources of `config` that have a held-out shard. Raises DataError if none has,
    ConfigError where one is a training shard."""
    tokenizer = Tokenizer.load(config.tokenizer.path)
    found = []
    problems = []
    for name, source in sorted(config.data.sources.items()):
        if source.validation is None:
            continue
        shard = open_shard(source.validation, tokenizer.hash)
        if problem := other_use(name, "validation", shard):
            problems += problem
            continue
        require_documents(shard)
        documents = read_jsonl(shard_file(shard.prefix, ".documents.jsonl"))
        taken = choose_documents([entry["bytes"] for entry in documents], max_bytes_per_source)
        found.append(
            HeldOutSource(name, shard, taken, [entry["id"] for entry in documents[:taken]])
        )
    if problems:
        raise ConfigError(problems)
    if not found:
        raise DataError("no source has a held-out shard; set data.sources.<name>.validation")
    return found


def require_documents(shard: TokenShard) -> None:
    """Raises DataError unless `.documents.jsonl` has a line for each document of the shard."""
    path, lines = shard_file(shard.prefix, ".documents.jsonl"), count_records(shard.prefix)
    if lines != shard.num_documents:
        found = "is not there" if lines is None else f"{lines} lines"
        raise DataError(
            f"{path}: {found}, the shard has {shard.num_documents} documents; prepare the shard "
            "again"
        )
