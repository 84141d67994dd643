"""The files of a token shard and the types of its tokens."""

from pathlib import Path
from typing import Any

import numpy as np

_SUFFIXES = (".bin", ".idx", ".blocks", ".documents.jsonl", ".manifest.json")
_MAX_UINT16_VOCABULARY = 65_535


def shard_file(prefix: Path, suffix: str) -> Path:
    """`<prefix><suffix>`; the prefix may have dots of its own.

    Suffixes: .bin (tokens), .idx (borders of documents), .blocks (hashes), .manifest.json,
    .documents.jsonl (a line for each document), and of conversations .answers (a bit a token).
    """
    return prefix.with_name(prefix.name + suffix)


def all_files(prefix: Path) -> list[Path]:
    """Every file of a shard, its manifest, which is written last, at the end."""
    return [shard_file(prefix, suffix) for suffix in _SUFFIXES]


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """uint16 up to 65,535 entries, else int32."""
    return np.dtype(np.uint16 if vocabulary_size <= _MAX_UINT16_VOCABULARY else np.int32)
