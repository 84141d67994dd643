"""Shards and texts made up for the benchmark."""

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data.setting import END_OF_DOCUMENT, MEAN_TOKENS, VOCABULARY_SIZE
from megatron_codemix.data.shards.block_hashes import (
    BLOCK_BYTES,
    block_digest,
    finish_tree,
    hash_blocks,
)
from megatron_codemix.data.shards.index_file import HEADER_BYTES, finish_index
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer_training import train_tokenizer

_SIGMA = 1.2
"""Of the logarithm of the lengths: a long tail, as web text and code have it."""
_DOCUMENTS_AT_ONCE = 20_000
_DTYPE = np.dtype(np.uint16)
_FIELDS: dict[str, Any] = {  # Any: the manifest's fields
    "source": "bench",
    "split": "train",
    "tokenizer_hash": "0" * 64,
    "vocabulary_size": VOCABULARY_SIZE,
    "end_of_document_id": END_OF_DOCUMENT,
    "num_bytes": 0,
    "licences": {},
    "origin": {},
}


def document_lengths(num_documents: int, seed: int = 0) -> npt.NDArray[np.int32]:
    """Tokens of each document, log-normal with mean MEAN_TOKENS."""
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(np.log(MEAN_TOKENS) - _SIGMA**2 / 2, _SIGMA, num_documents)
    return np.maximum(2, lengths).astype(np.int32)


def write_index(path: Path, lengths: npt.NDArray[np.int32]) -> None:
    """A `.idx` of these documents, as the writer of our shards leaves it."""
    with open(path, "w+b") as handle:
        handle.write(bytes(HEADER_BYTES))
        handle.write(np.ascontiguousarray(lengths).data)
        finish_index(handle, len(lengths), _DTYPE)


def sparse_shard(folder: Path, num_documents: int) -> Path:
    """The prefix of a whole shard whose tokens are all 0, made once: its .bin is one hole, 1.6 kB a
    document that take no disk. For what reads few tokens or none."""
    prefix = folder / f"sparse-{num_documents}"
    if shard_file(prefix, ".manifest.json").exists():
        return prefix
    lengths = document_lengths(num_documents)
    num_tokens = int(lengths.sum(dtype=np.int64))
    num_bytes = num_tokens * _DTYPE.itemsize
    with open(shard_file(prefix, ".bin"), "wb") as handle:
        handle.truncate(num_bytes)
    write_index(shard_file(prefix, ".idx"), lengths)
    with open(shard_file(prefix, ".blocks"), "w+b") as blocks:
        num_whole, rest = divmod(num_bytes, BLOCK_BYTES)
        blocks.write(block_digest(bytes(BLOCK_BYTES)) * num_whole)
        if rest:
            blocks.write(block_digest(bytes(rest)))
        hash_blocks(shard_file(prefix, ".idx"), blocks, lambda num_bytes: None)
        root = finish_tree(blocks)
    Manifest(
        dtype="uint16",
        num_documents=num_documents,
        num_tokens=num_tokens,
        blocks_root=root,
        **_FIELDS,
    ).save(shard_file(prefix, ".manifest.json"))
    return prefix


def random_shard(folder: Path, num_documents: int) -> Path:
    """The prefix of a shard of random tokens, made once: 1.6 kB a document, on disk."""
    prefix = folder / f"random-{num_documents}"
    if shard_file(prefix, ".manifest.json").exists():
        return prefix
    rng = np.random.default_rng(1)
    with TokenShardWriter(prefix, _DTYPE) as writer:
        num_pieces = 1 + num_documents // _DOCUMENTS_AT_ONCE
        for lengths in np.array_split(document_lengths(num_documents), num_pieces):
            tokens = rng.integers(1, VOCABULARY_SIZE, int(lengths.sum()), _DTYPE)
            tokens[np.cumsum(lengths) - 1] = END_OF_DOCUMENT
            writer.append_block(tokens, lengths)
        writer.finish(**_FIELDS)
    return prefix


def text_file(folder: Path, num_bytes: int) -> Path:
    """A JSONL file of at least `num_bytes`: the Python installation's own sources, a file a
    document, over again where they do not suffice."""
    path = folder / f"text-{num_bytes}.jsonl"
    if not path.exists():
        written = 0
        with open(path, "wb") as handle:
            for text in _installed_texts():
                written += handle.write(
                    json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"
                )
                if written >= num_bytes:
                    break
    return path


def trained_tokenizer(folder: Path, text: Path) -> Path:
    """A byte-level BPE of VOCABULARY_SIZE entries (fewer where the text is too short), trained on
    the text."""
    corpus = folder / "tokenizer-corpus"
    corpus.mkdir()
    (corpus / "bench.jsonl").symlink_to(text)
    path = folder / "tokenizer.json"
    train_tokenizer(corpus, VOCABULARY_SIZE, path, validation_fraction=0.0)
    return path


def _installed_texts() -> Iterator[str]:
    roots = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib")]
    while True:
        for root in roots:
            for path in sorted(root.rglob("*.py")):
                text = path.read_text(encoding="utf-8", errors="ignore")
                if text.strip():
                    yield text
