"""Checks every byte of token shards against their manifests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_file


@dataclass(frozen=True)
class VerifiedShard:
    """`problems` is empty where every hash agrees."""

    prefix: Path
    num_blocks: int
    problems: list[str]


def find_shards(folder: Path) -> list[Path]:
    """Prefixes of the shards in a folder, by their manifests. Raises DataError where there is
    none."""
    suffix = ".manifest.json"
    found = sorted(
        path.with_name(path.name.removesuffix(suffix)) for path in folder.glob(f"*{suffix}")
    )
    if not found:
        raise DataError(f"{folder}: holds no token shard with a manifest")
    return found


def verify_shard(prefix: Path, advance: Callable[[int], None]) -> VerifiedShard:
    """Reads everything; all changed blocks are named, not only the first. `advance` counts
    blocks."""
    try:
        shard = TokenShard.open(prefix)
    except DataError as error:
        return VerifiedShard(prefix, 0, [str(error)])
    problems = []
    for block in range(shard.num_blocks):
        try:
            shard.check_block(block)
        except DataError as error:
            problems.append(str(error))
        advance(1)
    problems += _documents_problem(prefix, shard.manifest)
    return VerifiedShard(prefix, shard.num_blocks, problems)


def _documents_problem(prefix: Path, manifest: Manifest) -> list[str]:
    wanted = manifest.origin.get("documents_sha256")
    path = shard_file(prefix, ".documents.jsonl")
    if wanted is None:  # a shard made elsewhere
        return []
    if not path.is_file():
        return [f"{path}: missing; prepare the shard again"]
    if hash_file(path) != wanted:
        return [f"{path}: has changed since the manifest was written; prepare the shard again"]
    return []
