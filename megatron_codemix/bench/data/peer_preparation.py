"""Megatron-LM's tools/preprocess_data.py, restated: megatron-core does not carry it.

The parts that cost: a line at a time through a pool of processes (json, `tokenizers` one document
at a time, token lists pickled back), IndexedDatasetBuilder in the parent. Left out: its imports
(8 s) and its wrapper around `tokenizers`, which both would only slow it down.
"""

import json
import multiprocessing
from pathlib import Path
from typing import ClassVar

import numpy as np
from tokenizers import Tokenizer

from megatron_codemix.bench.data.peer import IndexedDatasetBuilder

CHUNK_LINES = 32  # as there


class Encoder:
    """Runs in the workers; its tokenizer is made there once, by `initialise`."""

    tokenizer: ClassVar[Tokenizer]
    end_of_document: ClassVar[int | None]

    def __init__(self, tokenizer: Path) -> None:
        self.path = tokenizer

    def initialise(self) -> None:
        """Loads the tokenizer."""
        Encoder.tokenizer = Tokenizer.from_file(str(self.path))
        Encoder.end_of_document = Encoder.tokenizer.token_to_id("<|endoftext|>")

    def encode(self, line: str) -> tuple[list[int], list[int], int]:
        """Tokens, sentence lengths and size of a document."""
        ids: list[int] = Encoder.tokenizer.encode(json.loads(line)["text"]).ids
        lengths = [len(ids)] if ids else []
        if ids:
            assert Encoder.end_of_document is not None, self.path
            ids.append(Encoder.end_of_document)
            lengths[-1] += 1
        return ids, lengths, len(line)


def preprocess(source: Path, tokenizer: Path, prefix: Path, workers: int) -> None:
    """`<prefix>.bin` and `<prefix>.idx` of the documents in a JSONL file, uint16."""
    encoder = Encoder(tokenizer)
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=np.uint16)
    with (
        open(source, encoding="utf-8") as lines,
        # Forked, as on Linux up to Python 3.13: what the tool was written for.
        multiprocessing.get_context("fork").Pool(workers, encoder.initialise) as pool,
    ):
        for ids, lengths, _ in pool.imap(encoder.encode, lines, CHUNK_LINES):
            builder.add_document(ids, lengths)
        builder.finalize(f"{prefix}.idx")
        pool.close()
        pool.join()
