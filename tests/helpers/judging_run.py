"""A run that has learned one thing: to answer a judge's question with `Preferred: Answer (A)`."""

from pathlib import Path

import numpy as np
import yaml
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import END_OF_DOCUMENT, Tokenizer
from megatron_codemix.evaluation.judge.question import PREAMBLE, question
from megatron_codemix.evaluation.prompts import conversation_text
from tests.helpers.tiny import default_config, merge

SEQUENCE = 384
_STEPS = 160
_ANSWERED = " Comparison: it is clearer.\nPreferred: Answer (A)\nUser:"


def write_judging_run(folder: Path) -> Path:
    """Its configuration. A document is a question with two answers of random letters, as the chat
    template renders it, and the verdict; words are tokens, so that it fits SEQUENCE."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    documents = [_document(rng) for _ in range(200)]
    tokenizer = _train_tokenizer(folder / "tokenizer.json", documents)
    with TokenShardWriter(folder / "text", np.uint16) as writer:
        for tokens in tokenizer.encode_batch(documents):
            writer.add_document(np.append(tokens, tokenizer.end_of_document_id).astype(np.uint16))
        writer.finish(
            source="text",
            split="train",
            tokenizer_hash=tokenizer.hash,
            vocabulary_size=tokenizer.vocabulary_size,
            end_of_document_id=tokenizer.end_of_document_id,
            num_bytes=sum(map(len, documents)),
            licences={"CC0-1.0": len(documents)},
            origin={"made_by": "tests"},
        )
    config = merge(
        default_config(folder),
        {
            "model": {"vocabulary_size": tokenizer.vocabulary_size},
            "schedule": {"peak_lr": 1e-2, "min_lr": 1e-3, "warmup_tokens": 20 * SEQUENCE},
            "train": {"train_tokens": _STEPS * 4 * SEQUENCE, "global_batch_sequences": 4},
        },
    )
    config["data"] = {
        "sequence_length": SEQUENCE,
        "sources": {"text": {"train": str(folder / "text")}},
        "mixture": {"kind": "constant", "weights": {"text": 1}},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _document(rng: np.random.Generator) -> str:
    instruction, first, second = (
        "".join(chr(letter) for letter in rng.integers(ord("a"), ord("z") + 1, rng.integers(3, 9)))
        for _ in range(3)
    )
    asked = [("system", PREAMBLE), ("user", question(instruction, "", first, second))]
    return conversation_text(asked) + _ANSWERED


def _train_tokenizer(path: Path, documents: list[str]) -> Tokenizer:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END_OF_DOCUMENT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(documents, trainer)
    backend.save(str(path))
    return Tokenizer.load(path)
