"""A run that trains in seconds: a tokenizer of bytes, two small shards, a small model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.files import rewrite_jsonl

END_OF_DOCUMENT = 256
VOCABULARY = 257
SEQUENCE = 32


def write_tokenizer(path: Path, special_tokens: Sequence[str] = ()) -> str:
    """Each byte is a token; 256 ends a document, the others follow. Returns the hash."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", *special_tokens])
    backend.save(str(path))
    return tokenizer_hash(path)


def write_shard(
    prefix: Path,
    documents: list[np.ndarray],
    *,
    tokenizer: str,
    source: str = "text",
    split: str = "train",
) -> None:
    """A shard of byte tokens; each document gets its end-of-document token."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with TokenShardWriter(prefix, np.uint16) as writer:
        for document in documents:
            writer.add_document(np.append(document, END_OF_DOCUMENT))
        writer.finish(
            source=source,
            split=split,
            tokenizer_hash=tokenizer,
            vocabulary_size=VOCABULARY,
            end_of_document_id=END_OF_DOCUMENT,
            num_bytes=sum(len(document) for document in documents),
            licences={"CC0-1.0": len(documents)},
            origin={"made_by": "tests"},
        )


def markov_documents(seed: int, count: int, mean_length: int = 40) -> list[np.ndarray]:
    """Documents in which most tokens follow from the one before: something can be learned."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, 256)
    documents = []
    for length in rng.integers(mean_length // 2, 2 * mean_length, count):
        tokens = rng.integers(0, 256, length)
        for position in range(1, length):
            if rng.random() < 0.9:
                tokens[position] = table[tokens[position - 1]]
        documents.append(tokens)
    return documents


def write_run(folder: Path, special_tokens: Sequence[str] = (), **changes: object) -> Path:
    """A data folder with sources `code` and `text` and a configuration; its path. `changes` are
    sections merged over the defaults."""
    tokenizer = write_tokenizer_into(folder, special_tokens)
    for seed, source in enumerate(("code", "text")):
        write_shard(
            folder / source, markov_documents(seed, 200), tokenizer=tokenizer, source=source
        )
        write_held_out(folder / f"{source}.held", seed + 10, tokenizer=tokenizer, source=source)
    config = merge(default_config(folder), changes)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_held_out(prefix: Path, seed: int, *, tokenizer: str, source: str) -> None:
    """A shard of 12 documents, some longer than a window, with the list that evaluation reads."""
    documents = markov_documents(seed, 12)
    write_shard(prefix, documents, tokenizer=tokenizer, source=source, split="validation")
    rows = [{"id": f"{source}-{n}", "bytes": len(tokens)} for n, tokens in enumerate(documents)]
    rewrite_jsonl(prefix.with_name(prefix.name + ".documents.jsonl"), rows)


def write_tokenizer_into(folder: Path, special_tokens: Sequence[str] = ()) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return write_tokenizer(folder / "tokenizer.json", special_tokens)


def default_config(folder: Path) -> dict[str, object]:
    """Two layers of width 32, 20 steps of 8 samples, 60% code."""
    return {
        "model": {
            "num_layers": 2,
            "hidden_size": 32,
            "ffn_hidden_size": 64,
            "num_attention_heads": 4,
            "num_query_groups": 2,
            "vocabulary_size": VOCABULARY,
            "tie_embeddings": True,
        },
        "data": {
            "sequence_length": SEQUENCE,
            "sources": {
                name: {"train": str(folder / name), "validation": str(folder / f"{name}.held")}
                for name in ("code", "text")
            },
            "mixture": {"kind": "constant", "weights": {"code": 0.6, "text": 0.4}},
        },
        "tokenizer": {"path": str(folder / "tokenizer.json")},
        "optimizer": {"kind": "adamw", "weight_decay": 0.1},
        "schedule": {"kind": "cosine", "peak_lr": 3e-3, "min_lr": 3e-4, "warmup_tokens": 512},
        "train": {
            "train_tokens": 20 * 8 * SEQUENCE,
            "global_batch_sequences": 8,
            "seed": 1,
        },
        "layout": {"microbatch_sequences": 2},
        "precision": {"kind": "fp32"},
    }


def merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """`over` wins, section by section."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged
