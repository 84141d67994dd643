"""Documents to a file of JSON lines, compressed: whole or absent, the same bytes for the same
documents.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import orjson
import zstandard

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.readers.chunks import MAX_LINE_BYTES, too_long
from megatron_codemix.corpus.readers.skipped import Skipped
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file

SUFFIX = ".jsonl.zst"
_LEVEL = 3


@dataclass(frozen=True)
class CorpusFile:
    """One file as written, `file` being its path in the corpus folder: `num_bytes` is UTF-8 text,
    `file_bytes` and `sha256` are of the file.
    """

    file: str
    num_documents: int
    num_bytes: int
    file_bytes: int
    sha256: str

    def has_its_size(self, folder: Path) -> bool:
        """Whether it is there, as far as its size tells."""
        path = folder / self.file
        return path.is_file() and path.stat().st_size == self.file_bytes

    def is_whole(self, folder: Path) -> bool:
        """Whether every byte of it is there."""
        return self.has_its_size(folder) and hash_file(folder / self.file) == self.sha256


class RecordWriter:
    """Appends JSON objects, one a line, to a file that appears once the block has succeeded; a
    context manager."""

    def __init__(self, path: Path) -> None:
        # With a checksum, so that what is damaged later is refused and not read.
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(path))
            raw = stack.enter_context(open(temporary, "wb"))
            self._stream = compressor.stream_writer(raw, closefd=False)
            stack.push(self._finish)  # where it fails, the others are told
            self._stack = stack.pop_all()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _finish(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._stream.close()  # type: ignore[no-untyped-call] # zstandard's, in part untyped

    def add(self, record: dict[str, JsonValue]) -> None:
        """Writes a line."""
        self.write(encoded(record))

    def write(self, line: bytes) -> None:
        """Writes a line that is `encoded`."""
        self._stream.write(line)


def encoded(record: dict[str, JsonValue]) -> bytes:
    """The record as a line of UTF-8, its fields by name. Raises DataError: nested too deep."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS)
    except TypeError:  # a number of more than 64 bits, more than 254 levels
        pass
    try:
        return json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    except RecursionError as error:
        raise DataError(
            f"document {record.get('id')!r}: its metadata is nested too deep to be written; take "
            "it out of the input"
        ) from error


def utf8_bytes(text: str) -> int:
    """Its length in UTF-8; most texts are ASCII, and need no copy to tell."""
    return len(text) if text.isascii() else len(text.encode())


def write_documents(
    folder: Path,
    file: str,
    documents: Iterable[Document],
    left_out: Skipped | None = None,
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> tuple[CorpusFile, dict[str, int]]:
    """Writes `<folder>/<file>`, atomically. Returns the file, and its documents by licence
    (`unknown` where a document has none).

    left_out: counts documents whose line is longer than any reader takes; without it such a
    document is a DataError.
    """
    path = folder / file
    num_documents = num_bytes = 0
    licences: dict[str, int] = {}
    with RecordWriter(path) as writer:
        for document in documents:
            line = encoded(document.to_record())
            if len(line) - 1 > max_line_bytes:  # its end is not counted
                _leave_out(document, left_out, max_line_bytes)
                continue
            writer.write(line)
            num_documents += 1
            num_bytes += utf8_bytes(document.text)
            licence = document.licence or "unknown"
            licences[licence] = licences.get(licence, 0) + 1
    written = CorpusFile(file, num_documents, num_bytes, path.stat().st_size, hash_file(path))
    return written, dict(sorted(licences.items()))


def _leave_out(document: Document, left_out: Skipped | None, max_line_bytes: int) -> None:
    if left_out is None:
        raise DataError(
            f"document {document.id!r}: is {too_long(max_line_bytes)} as a line of JSON, which no "
            "reader takes; take it out of the input, or cut it"
        )
    left_out.add(f"{too_long(max_line_bytes)} as a line of JSON", document.id)
