"""A small run on documents, and what is needed to tune it on conversations."""

from pathlib import Path

import numpy as np
import yaml

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.corpus.instructions.template import CHATML_TOKENS
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.tokenizer import Tokenizer
from tests.helpers.conversations import random_chats, write_conversations
from tests.helpers.tiny import (
    VOCABULARY,
    default_config,
    merge,
    write_held_out,
    write_shard,
    write_tokenizer_into,
)

LENGTH = 192
"""Bytes are tokens: long enough for most conversations of one or two turns."""
NUM_ENTRIES = padded_vocabulary_size(VOCABULARY)
"""Without padding rows, which training's losses count and an evaluation does not."""
INSTRUCTIONS = {"code_instructions": 120, "text_instructions": 160}
"""Conversations of each source, training and held out."""


def write_instruction_data(folder: Path, chat_template: str = "auto") -> Path:
    """Shards of documents (code, text) and of conversations, training and held out; their
    tokenizer of bytes has ChatML's tokens. Returns the folder."""
    others = [f"<|{n}|>" for n in range(NUM_ENTRIES - VOCABULARY - len(CHATML_TOKENS))]
    tokenizer = write_tokenizer_into(folder, [*CHATML_TOKENS, *others])
    rng = np.random.default_rng(5)
    for seed, name in enumerate(("code", "text")):
        documents = [rng.integers(97, 123, n) for n in rng.integers(50, 400, 150)]
        write_shard(folder / f"{name}.train", documents, tokenizer=tokenizer, source=name)
        write_held_out(folder / f"{name}.validation", seed, tokenizer=tokenizer, source=name)
    for seed, (name, count) in enumerate(INSTRUCTIONS.items()):
        write_conversations(folder / "corpus", name, random_chats(count, seed, longest=3))
    prepare_corpus(
        folder / "corpus",
        folder / "tokenizer.json",
        folder,
        validation_fraction=0.1,
        chat_template=chat_template,
    )
    return folder


def write_pretraining(folder: Path, num_steps: int = 8, **changes: object) -> Path:
    """A configuration that trains on the documents of `write_instruction_data`'s folder."""
    sources = {
        name: {split: str(folder / f"{name}.{split}") for split in ("train", "validation")}
        for name in ("code", "text", *INSTRUCTIONS)
    }
    config = merge(
        default_config(folder),
        {
            "model": {"vocabulary_size": NUM_ENTRIES},
            "data": {"sequence_length": LENGTH},
            "schedule": {"warmup_tokens": 8 * LENGTH},
            "train": {"train_tokens": num_steps * 8 * LENGTH},
        },
    )
    config["data"] |= {"sources": sources}  # type: ignore[operator]
    path = folder / "pretrain.yaml"
    path.write_text(yaml.safe_dump(merge(config, changes)))
    return path


def write_tuning(folder: Path, parent: Path, num_steps: int = 12, **changes: object) -> Path:
    """A configuration that tunes the run `parent` on both sources of conversations, packed."""
    config = yaml.safe_load(write_pretraining(folder, num_steps).read_text())
    for name in INSTRUCTIONS:
        config["data"]["sources"][name]["packing"] = "best_fit"
    weights = {"code_instructions": 0.375, "text_instructions": 0.625}
    config["data"] |= {"document_mask": True, "mixture": {"weights": weights}}
    config["train"]["stage"] = "instruct"
    config["init_from"] = {"run": str(parent), "load": "weights"}
    path = folder / "instruct.yaml"
    path.write_text(yaml.safe_dump(merge(config, changes)))
    return path


def tokenizer_of(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder / "tokenizer.json")
