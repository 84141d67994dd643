"""A block of a source as two runs, train and validation, each sorted by the shard's document order.

The order is a keyed hash of the text: adding documents moves none past another, and shards of parts
of a corpus merge into the shard of the whole.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.instructions.template import ChatTemplate, RenderedChat
from megatron_codemix.corpus.readers import (
    FieldsSeen,
    InputFile,
    RecordForm,
    Skipped,
    document_of,
    text_of,
)
from megatron_codemix.corpus.split import SPLITS, split_of
from megatron_codemix.data.preparation.conversations import (
    FLAGGED,
    METADATA,
    ConversationEncoder,
    has_conversation,
)
from megatron_codemix.data.preparation.fast_encoder import FastEncoder
from megatron_codemix.data.preparation.input_blocks import Piece, record_number
from megatron_codemix.data.preparation.runs import ENTRY, KEY_BYTES, Documents, RunWriter
from megatron_codemix.data.shards.layout import token_dtype
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError

Advance = Callable[[int], None]

_ORDER_KEY = b"megatron_codemix document order v1"


class CorpusEncoder:
    """Everything that decides what a block holds, apart from its records."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        source: str,
        validation_fraction: float,
        text_field: str,
        origin_field: str,
        chat_template: ChatTemplate | None = None,
    ) -> None:
        """chat_template: of a source of conversations; their text is what it makes of them."""
        self.columns: Sequence[str] = (
            *(text_field, origin_field),
            *("id", "path", "licence", "license"),
            *((METADATA,) if chat_template else ()),
        )
        self._tokenizer, self._source = tokenizer, source
        self._validation_fraction = validation_fraction
        self._form = RecordForm(text_field=text_field, origin_field=origin_field)
        self._template = chat_template
        self._dtype = FLAGGED if chat_template else token_dtype(tokenizer.vocabulary_size)
        self._encoder: FastEncoder | None = None
        self._chats: ConversationEncoder | None = None

    def load(self) -> None:
        """Loads the fast encoder, once for all processes that are forked."""
        if self._template is not None:
            self._chats = ConversationEncoder(self._tokenizer, self._template)
            return
        self._encoder = FastEncoder(
            self._tokenizer,
            dtype=self._dtype,
            end_of_document=self._tokenizer.end_of_document_id,
        )

    def write_block(
        self, file: InputFile, pieces: Iterator[Piece], folder: Path, advance: Advance
    ) -> dict[str, Any]:
        """`<split>.tokens`, `.lines` and `.entries` of both splits. Raises DataError for a
        record with something else than text."""
        splits: list[str] = []
        skipped = Skipped(is_announced=False)
        licences: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        parts = []
        for piece in pieces:
            documents, chats = self._documents(file, piece, skipped)
            if documents:
                part = self._described(documents, *self._tokenised(documents, chats))
                parts.append(part)
                advance(int(part.entries["num_bytes"].sum()))
            for document in documents:
                split = split_of(document.origin, self._validation_fraction)
                splits.append(split)
                licences[split][document.licence or "unknown"] += 1
        self._write(folder, parts, np.array(splits, dtype="S10"))
        return {
            "licences": {split: dict(counts) for split, counts in licences.items()},
            "skipped": skipped.counts,
            "skipped_names": skipped.names,
        }

    def _documents(
        self, file: InputFile, piece: Piece, skipped: Skipped
    ) -> tuple[list[Document], list[RenderedChat]]:
        """Of a source of conversations also what they are rendered to."""
        documents, chats = [], []
        number_of = partial(record_number, file)
        wanted = FieldsSeen(file.path, self._form.text_field, "--text-field", number_of)
        for position, record in piece.records:
            place = f"{file.name}@{position}"
            if record is None:
                skipped.add("not UTF-8", place)
                continue
            if self._chats is not None:
                chats.append(self._chats.render(record, partial(_place, file, position)))
                text = chats[-1].text
            elif has_conversation(record):
                raise DataError(
                    f"{_place(file, position)} is a conversation, and the first of its source is "
                    "none; put conversations into sources of their own"
                )
            else:
                text = text_of(record, wanted, position)
            if not text or text.isspace():
                skipped.add("empty", place)
            else:
                documents.append(document_of(record, text, self._source, place, self._form))
        return documents, chats

    def _tokenised(
        self, documents: list[Document], chats: list[RenderedChat]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """(tokens of all, tokens of each)."""
        if self._chats is not None:
            self._chats.prove(self._source, chats)
            return self._chats.encode(chats)
        texts = [document.text for document in documents]
        assert self._encoder is not None, "load() comes first"
        self._encoder.prove(self._source, texts)
        return self._encoder.encode(texts)

    def _described(
        self, documents: list[Document], tokens: npt.NDArray[Any], lengths: npt.NDArray[np.int32]
    ) -> Documents:
        entries = np.zeros(len(documents), dtype=ENTRY)
        entries["num_tokens"] = lengths
        keys, lines = bytearray(), []
        for number, (document, num_tokens) in enumerate(
            zip(documents, lengths.tolist(), strict=True)
        ):
            data = document.text.encode()
            line = _line(document, len(data), num_tokens)
            lines.append(line)
            keys += hashlib.blake2b(data, key=_ORDER_KEY, digest_size=16).digest()
            keys += hashlib.blake2b(line, digest_size=8).digest()  # between equal texts
            entries["num_bytes"][number] = len(data)
            entries["line_bytes"][number] = len(line)
        entries["key"] = np.frombuffer(keys, dtype=f"S{KEY_BYTES}")
        return Documents(entries, tokens, b"".join(lines))

    def _write(self, folder: Path, parts: list[Documents], splits: npt.NDArray[np.bytes_]) -> None:
        block = Documents(
            np.concatenate([np.empty(0, ENTRY), *(part.entries for part in parts)]),
            np.concatenate([np.empty(0, self._dtype), *(part.tokens for part in parts)]),
            b"".join(part.lines for part in parts),
        )
        parts.clear()
        order = np.argsort(block.entries["key"], kind="stable")
        for split in SPLITS:
            with RunWriter(folder / split) as run:
                run.append(block.in_order(order[splits[order] == split.encode()]))


def _place(file: InputFile, position: int) -> str:
    return f"{file.path}: the record at {record_number(file, position)}"


def _line(document: Document, num_bytes: int, num_tokens: int) -> bytes:
    return orjson.dumps(
        {
            "id": document.id,
            "source": document.source,
            "path": document.path,
            "origin": document.origin,
            "licence": document.licence,
            "bytes": num_bytes,
            "tokens": num_tokens,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
