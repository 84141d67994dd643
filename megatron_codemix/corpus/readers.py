"""Documents from the user's own files: JSON lines (plain, gzip, zstd), Parquet, or one document a
file.

What is not UTF-8 is named and skipped with a count; anything else that is wrong stops with
DataError.
"""

import glob
import gzip
import io
import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from megatron_codemix.corpus.document import Document, digest
from megatron_codemix.errors import DataError, UnavailableError

log = logging.getLogger(__name__)

_LINE_FORMATS = (".jsonl", ".ndjson")
_COMPRESSIONS = (".gz", ".zst")
_MAGIC = "*?["
_CHUNK_BYTES = 1 << 20
_ZSTD_BYTES = 2048
_MAX_NAMED = 20
_MAX_WARNINGS = 3  # of each file


@dataclass
class Skipped:
    """What was left out and why; the first few of each reason by name.

    is_announced: whether what cannot be read is logged; not where files are read a second time.
    """

    is_announced: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.names.setdefault(reason, [])
        if len(named) < _MAX_NAMED:
            named.append(name)

    def merge(self, other: "Skipped") -> None:
        """Adds what another reader left out."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            named = self.names.setdefault(reason, [])
            named += other.names[reason][: _MAX_NAMED - len(named)]


@dataclass(frozen=True)
class InputFile:
    """`name` is relative to the fixed part of the pattern, so that moving the folder changes no
    origin.
    """

    path: Path
    name: str


def expand_patterns(patterns: Sequence[str]) -> list[InputFile]:
    """Files that the glob patterns (or folders, or plain names) stand for, each once, sorted by
    name.

    Raises DataError for every pattern that matches no file.
    """
    found: dict[Path, InputFile] = {}
    empty = []
    for pattern in patterns:
        whole = f"{pattern}/**/*" if Path(pattern).is_dir() else pattern
        paths = [Path(name) for name in glob.glob(whole, recursive=True)]
        files = [path for path in paths if path.is_file()]
        if not files:
            empty.append(pattern)
        base = _fixed_folder(whole)
        for path in files:
            found.setdefault(path.resolve(), InputFile(path, path.relative_to(base).as_posix()))
    if empty:
        raise DataError(
            "\n".join(f"{pattern}: matches no file; check the pattern" for pattern in empty)
        )
    return sorted(found.values(), key=lambda file: (file.name, str(file.path)))


def _fixed_folder(pattern: str) -> Path:
    parts = Path(pattern).parts
    fixed = list(parts[:-1])
    for position, part in enumerate(fixed):
        if any(char in part for char in _MAGIC):
            return Path(*fixed[:position])
    return Path(*fixed)


def read_documents(
    files: Sequence[InputFile],
    source: str,
    skipped: Skipped,
    *,
    text_field: str = "text",
    origin_field: str = "origin",
) -> Iterator[Document]:
    """Documents in file order. A record's origin is its `origin_field`, else its `id`, else its
    text.

    Raises DataError: a truncated or damaged file, a line that is not JSON, a `text_field` that no
    record has, or that holds something else than text. A record where it is missing or null is
    skipped as empty.
    """
    for file in files:
        stem, _ = _without_compression(file.name)
        seen = FieldsSeen(file.path, text_field, "--text-field")
        if stem.endswith(_LINE_FORMATS):
            records = _json_records(file, skipped)
        elif stem.endswith(".parquet"):
            records = _parquet_records(file, skipped, seen)
        else:
            yield from _whole_file(file, source, skipped)
            continue
        yield from _from_records(file, records, source, skipped, seen, origin_field)


def _without_compression(name: str) -> tuple[str, str]:
    for suffix in _COMPRESSIONS:
        if name.endswith(suffix):
            return name.removesuffix(suffix), suffix
    return name, ""


class FieldsSeen:
    """Whether any record of a file has the wanted field, for one clear error where none has.

    option: the flag that names the field.
    """

    def __init__(self, path: Path, field: str, option: str) -> None:
        self.path, self.field, self.option = path, field, option
        self._names: dict[str, None] = {}
        self._num_records = 0
        self._is_found = False

    def require_column(self, names: Sequence[str] | None) -> None:
        """names: the columns of a Parquet file; None of another. Raises DataError."""
        if names is not None and self.field not in names:
            raise DataError(
                f"{self.path}: no column {self.field!r}; it has {', '.join(names)}; name the right "
                f"one with {self.option}"
            )
        self._names.update(dict.fromkeys(names or ()))

    def add(self, record: dict[str, Any]) -> None:
        """Counts a record, with text or without."""
        if self._is_found:
            return
        self._num_records += 1
        if record.get(self.field) is not None:
            self._is_found = True
        elif self._num_records <= _MAX_NAMED:
            self._names.update(dict.fromkeys(record))

    def require_text(self) -> None:
        """To be called after the last record. Raises DataError where the field was in none."""
        if self._num_records and not self._is_found:
            whose = "the only record has" if self._num_records == 1 else "the records have"
            raise DataError(
                f"{self.path}: no text in field {self.field!r} of {self._num_records} records; "
                f"{whose} {', '.join(self._names) or 'no fields'}; name the right field with "
                f"{self.option}"
            )


def text_of(record: dict[str, Any], wanted: FieldsSeen, number: int) -> str:
    """The text; "" where the field is missing or null. Raises DataError where it holds something
    else. number: of the record, or its position, for the error."""
    text = record.get(wanted.field)
    if isinstance(text, str):
        return text
    if text is None:
        return ""
    found = "a list" if isinstance(text, list) else type(text).__name__
    raise DataError(
        f"{wanted.path}: the record at {number} has {found} in field {wanted.field!r}, not text; "
        f"name the right field with {wanted.option}"
    )


def _from_records(
    file: InputFile,
    records: Iterator[tuple[int, dict[str, Any]]],
    source: str,
    skipped: Skipped,
    seen: FieldsSeen,
    origin_field: str,
) -> Iterator[Document]:
    for number, record in records:
        seen.add(record)
        text = text_of(record, seen, number)
        place = f"{file.name}:{number}"
        if not _is_encodable(text):
            skipped.add("not UTF-8", place)
        elif not text.strip():
            skipped.add("empty", place)
        else:
            yield document_of(record, text, source, place, origin_field)
    seen.require_text()


def document_of(
    record: dict[str, Any], text: str, source: str, place: str, origin_field: str
) -> Document:
    """The document of a record whose text is `text`; `place` stands for a missing id or path."""
    identity = record.get("id")
    known = str(identity) if isinstance(identity, str | int) else None
    return Document(
        id=known or place,
        source=source,
        path=_text_or(record.get("path"), place),
        origin=_text_or(record.get(origin_field), known or f"text:{digest(text).hex()}"),
        licence=_text_or(record.get("licence") or record.get("license"), "") or None,
        text=text,
    )


def _text_or(value: Any, default: str) -> str:  # Any: a field of the user's JSON
    return value if isinstance(value, str) and value else default


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON's \ud800 escapes can spell what UTF-8 cannot
        return False
    return True


def _whole_file(file: InputFile, source: str, skipped: Skipped) -> Iterator[Document]:
    data = b"".join(read_chunks(file.path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if skipped.is_announced:
            log.warning("%s: not UTF-8, skipped", file.path)
        skipped.add("not UTF-8", file.name)
        return
    if not text.strip():
        skipped.add("empty", file.name)
        return
    text = text.replace("\r\n", "\n")
    yield Document(file.name, source, file.name, file.name, None, text)


@dataclass
class _NotUtf8:
    """Records of one file that are skipped: a few by number, the others counted."""

    file: InputFile
    unit: str
    skipped: Skipped
    count: int = 0

    def add(self, number: int) -> None:
        self.count += 1
        self.skipped.add("not UTF-8", f"{self.file.name}:{number}")
        if self.skipped.is_announced and self.count <= _MAX_WARNINGS:
            log.warning("%s: %s %d is not UTF-8, skipped", self.file.path, self.unit, number)

    def finish(self) -> None:
        if self.skipped.is_announced and self.count > _MAX_WARNINGS:
            text = "%s: not UTF-8, skipped: %d %ss in all"
            log.warning(text, self.file.path, self.count, self.unit)


def _json_records(file: InputFile, skipped: Skipped) -> Iterator[tuple[int, dict[str, Any]]]:
    not_utf8 = _NotUtf8(file, "line", skipped)
    for number, line in enumerate(_lines(file.path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            not_utf8.add(number)
            continue
        except json.JSONDecodeError as error:
            raise DataError(
                f"{file.path}: line {number} is not JSON ({error.msg} at column {error.colno}); "
                "one object a line is expected"
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"{file.path}: line {number} is a JSON {type(record).__name__}, not an object"
            )
        yield number, record
    not_utf8.finish()


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for chunk in read_chunks(path):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest


def read_chunks(path: Path) -> Iterator[bytes]:
    """Content in pieces of about 1 MiB, decompressed by suffix; DataError where it is cut or
    damaged.
    """
    try:
        with open(path, "rb") as raw:
            if path.name.endswith(".gz"):
                with gzip.open(raw) as unzipped:
                    yield from _pieces(unzipped)
            elif path.name.endswith(".zst"):
                yield from _zstd_pieces(raw, path)
            else:
                yield from _pieces(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged gzip ({error}); copy it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _pieces(handle: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := handle.read(_CHUNK_BYTES):
        yield chunk


def _zstd_pieces(handle: IO[bytes], path: Path) -> Iterator[bytes]:
    import zstandard  # 20 ms: only where a file needs it

    # Not stream_reader: it ends quietly where a frame is cut. Little at a time: 4 bytes may stand
    # for 128 KiB, so this makes 64 MiB at most.
    decoder = zstandard.ZstdDecompressor().decompressobj()
    is_fresh = True
    pieces: list[bytes] = []
    num_bytes = 0
    try:
        while data := handle.read(_ZSTD_BYTES):
            while data:
                if decoder.eof:
                    decoder = zstandard.ZstdDecompressor().decompressobj()
                pieces.append(decoder.decompress(data))
                num_bytes += len(pieces[-1])
                is_fresh = False
                data = decoder.unused_data if decoder.eof else b""
            if num_bytes >= _CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, num_bytes = [], 0
    except zstandard.ZstdError as error:
        raise DataError(f"{path}: damaged zstd ({error}); copy it again") from error
    if pieces:
        yield b"".join(pieces)
    if not decoder.eof and not is_fresh:
        raise DataError(f"{path}: truncated zstd; copy it again")


def _parquet_records(
    file: InputFile, skipped: Skipped, seen: FieldsSeen
) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow as arrow  # type: ignore[import-untyped] # ships no types
        import pyarrow.parquet as parquet  # type: ignore[import-untyped] # ships no types
    except ImportError as error:
        raise UnavailableError(
            f"{file.path}: reading Parquet needs pyarrow; pip install pyarrow"
        ) from error
    data = b"".join(read_chunks(file.path)) if file.name.endswith(_COMPRESSIONS) else None
    number = 0
    not_utf8 = _NotUtf8(file, "row", skipped)
    try:
        table = parquet.ParquetFile(io.BytesIO(data) if data is not None else file.path)
        names = table.schema_arrow.names
        seen.require_column(names)
        wanted = [name for name in names if name in _parquet_columns(seen.field)]
        for batch in table.iter_batches(batch_size=1024, columns=wanted):
            columns = {name: _values(arrow, batch.column(name)) for name in wanted}
            for row in range(batch.num_rows):
                number += 1
                record = {name: values[row] for name, values in columns.items()}
                try:
                    yield number, {name: _decoded(value) for name, value in record.items()}
                except UnicodeDecodeError:
                    not_utf8.add(number)
    except (arrow.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{file.path}: truncated or damaged Parquet ({str(error).splitlines()[0]}); "
            "copy it again"
        ) from error
    not_utf8.finish()


def _parquet_columns(text_field: str) -> set[str]:
    return {text_field, "id", "path", "origin", "licence", "license"}


def _values(arrow: Any, column: Any) -> list[Any]:  # Any: pyarrow is untyped
    # Strings as bytes: as_py would stop at the first value that is not UTF-8.
    if arrow.types.is_string(column.type):
        column = column.cast(arrow.binary())
    elif arrow.types.is_large_string(column.type):
        column = column.cast(arrow.large_binary())
    values: list[Any] = column.to_pylist()
    return values


def _decoded(value: Any) -> Any:  # Any: whatever the Parquet column holds
    return value.decode("utf-8") if isinstance(value, bytes) else value
