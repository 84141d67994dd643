"""Token shards of random documents."""

from pathlib import Path
from typing import Any

import numpy as np

from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.writer import TokenShardWriter

VOCABULARY_SIZE = 5000
END_OF_DOCUMENT = 0


def finish_unchecked(writer: TokenShardWriter, **fields: Any) -> Manifest:
    """A shard as another program may have left it: its tokens and ends are not looked at."""
    root = writer.finish_files()
    manifest = Manifest(
        dtype=writer.dtype.name,
        num_documents=writer.num_documents,
        num_tokens=writer.num_tokens,
        blocks_root=root,
        **fields,
    )
    manifest.save(shard_file(writer.prefix, ".manifest.json"))
    return manifest


def write_random_shard(
    prefix: Path,
    *,
    num_documents: int = 60,
    longest: int = 40,
    seed: int = 0,
    dtype=np.uint16,
    vocabulary_size: int = VOCABULARY_SIZE,
    tokenizer_hash: str = "t" * 64,
) -> Path:
    """Documents of 1 to `longest` random tokens, an end-of-document token included."""
    rng = np.random.default_rng(seed)
    with TokenShardWriter(prefix, dtype) as writer:
        for _ in range(num_documents):
            tokens = rng.integers(1, VOCABULARY_SIZE, rng.integers(1, longest + 1))
            tokens[-1] = END_OF_DOCUMENT
            writer.add_document(tokens)
        finish_unchecked(
            writer,
            source=prefix.name,
            split="train",
            tokenizer_hash=tokenizer_hash,
            vocabulary_size=vocabulary_size,
            end_of_document_id=END_OF_DOCUMENT,
            num_bytes=0,
            licences={},
            origin={},
        )
    return prefix
