"""Byte-level BPE: loads any byte-level tokenizer.json; trains one on equal bytes of each source.

`<|endoftext|>` ends documents. Where a text itself has these characters they are encoded as
ordinary text: a document cannot end itself.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from megatron_codemix.corpus.output_place import require_file_place
from megatron_codemix.corpus.readers import InputFile, Skipped, read_documents
from megatron_codemix.corpus.split import require_validation_fraction, split_of
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_file, hash_json, read_json, write_json, write_text

log = logging.getLogger(__name__)

END_OF_DOCUMENT = "<|endoftext|>"
FILL_IN_THE_MIDDLE = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""What `train_tokenizer` adds for data/transforms/fill_in_the_middle.py."""
_END_OF_DOCUMENT_NAMES = (END_OF_DOCUMENT, "<|end_of_text|>", "</s>", "<eos>")
# GPT-4's pattern after a split into single digits. Measured on 20 MB of this machine's code, markup
# and text with 8,192 entries: 3.45 bytes a token, GPT-2's pattern 3.32; the fast encoder gives the
# same tokens with both.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ORDER_KEY = b"megatron_codemix tokenizer sample v1"
_MAX_TRAINING_BYTES = 8_000_000  # of each source; more does not change 8,192 entries visibly
_NUM_BYTES = 256


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
        self._end_of_document = end_of_document
        self.matches_special_tokens = matches_special_tokens
        self._backend.encode_special_tokens = not matches_special_tokens
        self.hash = hash_json(record)
        self.splitting = {name: record.get(name) for name in ("normalizer", "pre_tokenizer")}
        """What of tokenizer.json decides where a text is split before merges."""
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        self.vocabulary_size: int = max(vocabulary.values()) + 1
        self.end_of_document_id = _end_of_document_id(vocabulary, path, end_of_document)
        if "ByteLevel" not in json.dumps(record.get("decoder")):
            raise DataError(f"{path}: not a byte-level tokenizer; only those are supported")
        self._added = {
            int(entry["id"]): entry["content"] for entry in record.get("added_tokens") or []
        }

    def __reduce__(self) -> Any:
        make = partial(
            Tokenizer,
            end_of_document=self._end_of_document,
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

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """Text that the tokens stand for; bytes that are not UTF-8 (a cut character) become
        U+FFFD.
        """
        text: str = self._backend.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def decode_bytes(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> bytes:
        """Bytes that the tokens stand for; of a cut character those that are there."""
        return b"".join([self._token_bytes[number] for number in ids])

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
    others = [byte for byte in range(_NUM_BYTES) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(_NUM_BYTES + number): byte for number, byte in enumerate(others)
    }


def _end_of_document_id(vocabulary: dict[str, int], path: Path, wanted: str | None) -> int:
    names = _END_OF_DOCUMENT_NAMES if wanted is None else (wanted,)
    for name in names:
        if name in vocabulary:
            return vocabulary[name]
    raise DataError(f"{path}: has no end-of-document token; {' or '.join(names)} is needed")


def tokenizer_hash(path: Path) -> str:
    """`Tokenizer.load(path).hash` without loading the tokenizer: sha256 of the canonical JSON."""
    try:
        return hash_json(orjson.loads(_read(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not a tokenizer.json ({error})") from error


@dataclass(frozen=True)
class TrainedTokenizer:
    """What `train_tokenizer` has written, or found there (`was_complete`)."""

    path: Path
    hash: str
    vocabulary_size: int
    bytes_per_source: dict[str, int]
    seconds: float
    was_complete: bool


def require_trainable(
    vocabulary_size: int, validation_fraction: float, out: Path, *, fill_in_the_middle: bool = False
) -> None:
    """Raises DataError for arguments of `train_tokenizer` that no corpus can meet."""
    num_special = 1 + len(FILL_IN_THE_MIDDLE) * fill_in_the_middle
    if vocabulary_size < _NUM_BYTES + num_special:
        asked = ", fill-in-the-middle" if fill_in_the_middle else ""
        raise DataError(
            f"vocabulary of {vocabulary_size}: at least {_NUM_BYTES + num_special} "
            f"(every byte, end of document{asked})"
        )
    require_validation_fraction(validation_fraction)
    require_file_place(out, "tokenizer.json")


def train_tokenizer(
    corpus: Path,
    vocabulary_size: int,
    out: Path,
    *,
    validation_fraction: float = 0.05,
    max_bytes: int = _MAX_TRAINING_BYTES,
    text_field: str = "text",
    fill_in_the_middle: bool = False,
    advance: Callable[[int], None] | None = None,
) -> TrainedTokenizer:
    """Trains on the same number of bytes of each source of the corpus folder, held-out documents
    left out. `fill_in_the_middle`: its three tokens are among the entries.

    `advance` is told of UTF-8 bytes read; the corpus is read twice. The same corpus gives the same
    file. Left as it is where `out` was trained with equal arguments. Raises DataError.
    """
    start = time.monotonic()
    require_trainable(
        vocabulary_size, validation_fraction, out, fill_in_the_middle=fill_in_the_middle
    )
    files = source_files(corpus)
    special_tokens = [END_OF_DOCUMENT, *(FILL_IN_THE_MIDDLE if fill_in_the_middle else ())]
    arguments = {
        "vocabulary_size": vocabulary_size,
        "validation_fraction": validation_fraction,
        "max_bytes": max_bytes,
        "pattern": _PATTERN,
        "special_tokens": special_tokens,
        "corpus": {name: hash_file(file.path) for name, file in sorted(files.items())},
    }
    record_path = _training_record(out)
    complete = _trained_before(out, record_path, arguments)
    if complete is not None:
        return complete
    if out.exists():
        log.warning("%s: is replaced; shards that were made with it need the former one", out)
    sample = TrainingSample(files, validation_fraction, max_bytes, text_field, advance)
    content = _train(sample.texts(), vocabulary_size, special_tokens)
    write_text(out, content)
    tokenizer = Tokenizer(content, out)
    if tokenizer.vocabulary_size < vocabulary_size:
        log.warning(
            "%s: only %d of %d entries: the corpus is too small for more",
            out,
            tokenizer.vocabulary_size,
            vocabulary_size,
        )
    trained = TrainedTokenizer(
        path=out,
        hash=tokenizer.hash,
        vocabulary_size=tokenizer.vocabulary_size,
        bytes_per_source=sample.bytes_per_source,
        seconds=time.monotonic() - start,
        was_complete=False,
    )
    write_json(
        record_path, {"arguments": arguments, "result": asdict(trained) | {"path": out.name}}
    )
    return trained


def _training_record(path: Path) -> Path:
    return path.with_name(path.name + ".training.json")


def held_out_in_training(tokenizer: Tokenizer) -> float | None:
    """Validation fraction that `train_tokenizer` made this tokenizer with; None where that is not
    on record."""
    try:
        record = read_json(_training_record(tokenizer.path))
        if record["result"]["hash"] != tokenizer.hash:
            return None
        return float(record["arguments"]["validation_fraction"])
    except (OSError, ValueError, KeyError, TypeError):  # absent, or not ours
        return None


def _trained_before(
    out: Path, record_path: Path, arguments: dict[str, Any]
) -> TrainedTokenizer | None:
    try:
        record = read_json(record_path)
        result = record["result"]
        if record["arguments"] != arguments or tokenizer_hash(out) != result["hash"]:
            return None
    except (OSError, DataError, ValueError, KeyError):  # absent or damaged: train again
        return None
    log.info("%s: tokenizer is complete, nothing to do", out)
    return TrainedTokenizer(**(result | {"path": out, "was_complete": True}))


class TrainingSample:
    """Equal bytes of each source, the documents chosen by a keyed hash of their text."""

    def __init__(
        self,
        files: dict[str, InputFile],
        validation_fraction: float,
        max_bytes: int,
        text_field: str,
        advance: Callable[[int], None] | None,
    ) -> None:
        self._advance = advance
        self._files, self._fraction, self._text_field = files, validation_fraction, text_field
        # What cannot be read is named in this pass, not again in the second.
        sizes = {name: self._document_sizes(name) for name in sorted(files)}
        empty = [name for name, entries in sizes.items() if not entries]
        if empty:
            raise DataError(
                "no training document in source "
                + ", ".join(f"{name!r} ({files[name].path})" for name in empty)
                + "; give it more documents"
            )
        smallest = min(sum(size for _, size in entries) for entries in sizes.values())
        budget = min(max_bytes, smallest)
        self.bytes_per_source = dict.fromkeys(sizes, budget)
        self._chosen = {name: _chosen(entries, budget) for name, entries in sizes.items()}

    def texts(self) -> Iterator[str]:
        """The chosen documents; of each source the last one is cut at the budget."""
        for name, chosen in self._chosen.items():
            for text in self._training_texts(name, Skipped(is_announced=False)):
                num_bytes = chosen.pop(_order(text), 0)
                if num_bytes:
                    yield text.encode()[:num_bytes].decode(errors="ignore")

    def _document_sizes(self, name: str) -> list[tuple[int, int]]:
        texts = self._training_texts(name, Skipped())
        unique = {_order(text): len(text.encode()) for text in texts}
        return list(unique.items())

    def _training_texts(self, name: str, skipped: Skipped) -> Iterator[str]:
        documents = read_documents([self._files[name]], name, skipped, text_field=self._text_field)
        for document in documents:
            if self._advance is not None:
                self._advance(len(document.text.encode()))
            if split_of(document.origin, self._fraction) == "train":
                yield document.text


def _order(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), key=_ORDER_KEY, digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _chosen(entries: list[tuple[int, int]], budget: int) -> dict[int, int]:
    """order -> bytes taken, for the first documents in that order that make up the budget."""
    taken: dict[int, int] = {}
    for order, size in sorted(entries):
        if budget <= 0:
            break
        taken[order] = min(size, budget)
        budget -= size
    return taken


def _train(texts: Iterator[str], vocabulary_size: int, special_tokens: list[str]) -> str:
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend.to_str(pretty=True) + "\n"
