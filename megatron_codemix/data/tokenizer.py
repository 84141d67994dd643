"""Any byte-level tokenizer.json: encodes texts, and counts the bytes that tokens stand for.

`<|endoftext|>` ends documents. Where a text itself has these characters they are encoded as
ordinary text: a document cannot end itself.
"""

import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json

END_OF_DOCUMENT = "<|endoftext|>"
_END_OF_DOCUMENT_NAMES = (END_OF_DOCUMENT, "<|end_of_text|>", "</s>", "<eos>")
NUM_BYTES = 256
"""Entries of every byte-level vocabulary: one for each byte."""


class Tokenizer:
    """A tokenizer.json, for encoding documents and for counting the bytes that tokens stand for."""

    def __init__(
        self,
        content: str,
        path: Path,
        *,
        end_of_document: str | None = None,
        matches_special_tokens: bool = False,
    ) -> None:
        """`end_of_document`: its token, else one of the usual names. `matches_special_tokens`:
        where a text spells a special token it becomes that token, as Megatron-LM's tool has it."""
        from tokenizers import Tokenizer as Backend  # 30 ms, and only where tokens are made

        self.path = path
        self.content = content
        """tokenizer.json as read; the fast encoder is made from it."""
        try:
            record = orjson.loads(content)
            self._backend = Backend.from_str(content)
        except Exception as error:  # tokenizers raises bare Exception
            raise DataError(f"{path}: not a tokenizer.json ({error})") from error
        self.matches_special_tokens = matches_special_tokens
        self._backend.encode_special_tokens = not matches_special_tokens
        self.hash = hash_json(record)
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        self.vocabulary_size: int = max(vocabulary.values()) + 1
        self.end_of_document = _end_of_document(vocabulary, path, end_of_document)
        """The token that ends documents."""
        self.end_of_document_id = vocabulary[self.end_of_document]
        if "ByteLevel" not in json.dumps(record.get("decoder")):
            raise DataError(f"{path}: not a byte-level tokenizer; only those are supported")
        added = record.get("added_tokens") or []
        self._added = {int(entry["id"]): entry["content"] for entry in added}
        self.special_tokens: list[str] = [
            entry["content"] for entry in added if entry.get("special")
        ]
        """Those of the added tokens that no text can spell, unless `matches_special_tokens`."""

    def __reduce__(self) -> Any:
        make = partial(
            Tokenizer,
            end_of_document=self.end_of_document,
            matches_special_tokens=self.matches_special_tokens,
        )
        return make, (self.content, self.path)

    @property
    def added_tokens(self) -> list[str]:
        """Tokens that are found in a text before it is split, such as the end-of-document token."""
        return list(self._added.values())

    @classmethod
    def load(cls, path: Path, **options: Any) -> "Tokenizer":
        """Options as of the class. Raises DataError: absent, damaged, not byte-level, without an
        end-of-document token."""
        return cls(_read(path), path, **options)

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Tokens of each text, without an end-of-document token. Uses the machine's cores."""
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def encode_with_places(self, text: str) -> tuple[npt.NDArray[np.int32], list[tuple[int, int]]]:
        """Tokens of a text, and the characters [start, stop) that each stands for; of white space
        some tokenizers tell an empty range."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return np.array(encoding.ids, dtype=np.int32), list(encoding.offsets)

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """Text that the tokens stand for; bytes that are not UTF-8 (a cut character) become
        U+FFFD.
        """
        text: str = self._backend.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def decode_bytes(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> bytes:
        """Bytes that the tokens stand for; of a cut character those that are there."""
        return b"".join([self._token_bytes[number] for number in np.asarray(ids).tolist()])

    def token_id(self, token: str) -> int | None:
        """Number of a token such as `<|endoftext|>`; None where the vocabulary has none of it."""
        number: int | None = self._backend.token_to_id(token)
        return number

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        """By number."""
        table = [b""] * self.vocabulary_size
        byte_of = _bytes_of_characters()
        for token, number in self._backend.get_vocab(with_added_tokens=False).items():
            if number not in self._added:
                table[number] = bytes(byte_of[character] for character in token)
        for number, token in self._added.items():
            table[number] = token.encode()
        return table

    @cached_property
    def token_byte_lengths(self) -> npt.NDArray[np.int32]:
        """UTF-8 bytes that each token stands for; 0 for the end-of-document token.
        [vocabulary_size]
        """
        lengths = np.zeros(self.vocabulary_size, dtype=np.int32)
        for token, number in self._backend.get_vocab(with_added_tokens=False).items():
            lengths[number] = len(token)  # byte-level: a character of the entry is a byte
        for number, token in self._added.items():
            lengths[number] = len(token.encode())
        lengths[self.end_of_document_id] = 0
        return lengths


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a tokenizer.json (not UTF-8)") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); `codemix data tokenizer` makes a tokenizer"
        ) from error


def _bytes_of_characters() -> dict[str, int]:
    """What each character of a byte-level vocabulary stands for: GPT-2's table, in which printable
    bytes are themselves and the others are counted on from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(NUM_BYTES) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(NUM_BYTES + number): byte for number, byte in enumerate(others)
    }


def _end_of_document(vocabulary: dict[str, int], path: Path, wanted: str | None) -> str:
    names = _END_OF_DOCUMENT_NAMES if wanted is None else (wanted,)
    for name in names:
        if name in vocabulary:
            return name
    raise DataError(f"{path}: has no end-of-document token; {' or '.join(names)} is needed")


def tokenizer_hash(path: Path) -> str:
    """`Tokenizer.load(path).hash` without loading the tokenizer: sha256 of the canonical JSON."""
    try:
        return hash_json(orjson.loads(_read(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not a tokenizer.json ({error})") from error
