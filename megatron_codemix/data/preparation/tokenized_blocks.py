"""A source's documents as tokens, in blocks on disk: what preparation can be killed in and go on
from.

A block is a folder that is whole or absent. Which documents it holds depends only on the corpus
file and the block size, so a rerun reads the same documents, finds the block there and goes on to
the next.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.split import SPLITS, Split, split_of
from megatron_codemix.data.preparation.fast_encoder import FastEncoder
from megatron_codemix.data.shards.layout import token_dtype
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.files import full_disk, sync_folder

Advance = Callable[[int], None]

_ORDER_KEY = b"megatron_codemix document order v1"
_ENTRY = np.dtype(
    [
        ("order_high", np.uint64),  # keyed hash of the text, 128 bits: the shard's document order
        ("order_low", np.uint64),
        ("id_hash", np.uint64),  # between equal texts
        ("split", np.uint8),
        ("num_bytes", np.int64),
        ("first_token", np.int64),  # in the block
        ("num_tokens", np.int64),
        ("line_start", np.int64),  # of the document's line in documents.jsonl
        ("line_bytes", np.int64),
    ]
)


@dataclass(frozen=True)
class BlockTokenizer:
    """Everything that decides what a block holds, apart from the documents."""

    tokenizer: Tokenizer
    source: str
    validation_fraction: float
    block_bytes: int

    def write_blocks(
        self, documents: Iterable[Document], folder: Path, advance: Advance
    ) -> list[Path]:
        """Tokenises what is not in `folder` yet. Memory: some multiple of one block's text."""
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.tmp"):
            shutil.rmtree(leftover)
        encoder: FastEncoder | None = None
        paths = []
        for number, block in enumerate(_blocks(documents, self.block_bytes)):
            path = folder / f"block-{number:06d}"
            if not path.exists():
                texts = [document.text for document in block]
                encoder = encoder or FastEncoder(self.tokenizer, self.source, texts)
                self._write(path, block, encoder.encode_batch(texts))
            paths.append(path)
            advance(sum(len(document.text.encode()) for document in block))
        return paths

    def _write(
        self, path: Path, block: list[Document], encoded: list[npt.NDArray[np.int32]]
    ) -> None:
        end = np.array([self.tokenizer.end_of_document_id], dtype=np.int32)
        index = np.zeros(len(block), dtype=_ENTRY)
        lines = bytearray()
        pieces: list[npt.NDArray[np.int32]] = []
        first_token = 0
        for number, (document, tokens) in enumerate(zip(block, encoded, strict=True)):
            num_tokens = len(tokens) + 1
            line = _line(document, num_tokens)
            split = SPLITS.index(split_of(document.origin, self.validation_fraction))
            index[number] = (
                *_order(document.text),
                _hash64(document.id),
                split,
                len(document.text.encode()),
                first_token,
                num_tokens,
                len(lines),
                len(line),
            )
            lines += line
            pieces += [tokens, end]
            first_token += num_tokens
        flat = np.concatenate(pieces).astype(token_dtype(self.tokenizer.vocabulary_size))
        _put_in_place(path, flat, bytes(lines), index)


def _blocks(documents: Iterable[Document], block_bytes: int) -> Iterator[list[Document]]:
    block: list[Document] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text.encode())
        if size >= block_bytes:
            yield block
            block, size = [], 0
    if block:
        yield block


def _line(document: Document, num_tokens: int) -> bytes:
    record = {
        "id": document.id,
        "source": document.source,
        "path": document.path,
        "origin": document.origin,
        "licence": document.licence,
        "bytes": len(document.text.encode()),
        "tokens": num_tokens,
    }
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _order(text: str) -> tuple[int, int]:
    digest = hashlib.blake2b(text.encode(), key=_ORDER_KEY, digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _put_in_place(
    path: Path, tokens: npt.NDArray[Any], lines: bytes, index: npt.NDArray[Any]
) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.mkdir()
        tokens.tofile(temporary / "tokens.bin")
        (temporary / "documents.jsonl").write_bytes(lines)
        np.save(temporary / "index.npy", index)
        for name in ("tokens.bin", "documents.jsonl", "index.npy"):
            with open(temporary / name, "rb") as handle:
                os.fsync(handle.fileno())
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise full_disk(error, path) from error


@dataclass(frozen=True)
class TokenizedDocument:
    """`line` is the document's record for `<prefix>.documents.jsonl`."""

    tokens: npt.NDArray[Any]
    line: bytes
    num_bytes: int


class ShuffledDocuments:
    """The documents of one split over all blocks, in keyed-hash order: adding others moves none
    past another."""

    def __init__(self, blocks: list[Path], split: Split, dtype: np.dtype[Any]) -> None:
        self._tokens = [_map(path / "tokens.bin", dtype) for path in blocks]
        self._lines = [_map(path / "documents.jsonl", np.dtype(np.uint8)) for path in blocks]
        indices = [np.load(path / "index.npy") for path in blocks]
        numbers = np.repeat(np.arange(len(blocks)), [len(index) for index in indices])
        entries = np.concatenate(indices) if indices else np.empty(0, dtype=_ENTRY)
        wanted = entries["split"] == SPLITS.index(split)
        self._entries, self._numbers = entries[wanted], numbers[wanted]
        order = np.lexsort([self._entries[key] for key in ("id_hash", "order_low", "order_high")])
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[TokenizedDocument]:
        for place in self._order.tolist():
            entry, block = self._entries[place], int(self._numbers[place])
            first, line = int(entry["first_token"]), int(entry["line_start"])
            yield TokenizedDocument(
                self._tokens[block][first : first + int(entry["num_tokens"])],
                self._lines[block][line : line + int(entry["line_bytes"])].tobytes(),
                int(entry["num_bytes"]),
            )


def _map(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.memmap(path, dtype=dtype, mode="r")
