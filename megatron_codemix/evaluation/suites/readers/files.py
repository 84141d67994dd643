"""The files of a task below a data folder, and the records in them, each with where it stands."""

import csv
import fnmatch
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_file

FORMATS = (".jsonl", ".json", ".parquet", ".csv", ".txt")
COMPRESSIONS = (".gz", ".zst")
_MAX_DEPTH = 6
_MAX_FILES = 100_000
"""A folder with more than so many is hardly one of evaluation data: somebody's home, a disk."""

Record = Any  # what a line or item of the file holds; a converter checks it


@dataclass(frozen=True)
class Located:
    """A record and where it stands, for messages: `file.jsonl:12`, `file.json, item 12`."""

    where: str
    record: Record


def list_files(folder: Path) -> list[str]:
    """Paths of data files, relative to the folder and sorted. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"--data-dir {folder}: no such folder")
    found: list[str] = []
    for root, folders, names in os.walk(folder):
        relative = Path(root).relative_to(folder)
        if len(relative.parts) >= _MAX_DEPTH:
            folders.clear()
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        found += [(relative / name).as_posix() for name in names if _has_format(name)]
        if len(found) > _MAX_FILES:
            raise DataError(
                f"--data-dir {folder}: more than {_MAX_FILES} data files below it; "
                "give the folder of the evaluation data alone"
            )
    return sorted(found)


def find_file(folder: Path, files: Sequence[str], patterns: Sequence[str]) -> Path | None:
    """The one file whose path, without its extensions, ends in one of the patterns (`boolq`,
    `boolq/validation-*`; case does not matter). None if there is none.

    Raises DataError where several files match that are not the same, byte by byte.
    """
    matching = [folder / name for name in files if _matches(name, patterns)]
    if len({hash_file(path) for path in matching}) > 1:
        listed = ", ".join(str(path) for path in matching)
        raise DataError(f"several files with different content: {listed}; leave one of them there")
    return matching[0] if matching else None


def read_records(path: Path) -> Iterator[Located]:
    """The records of a file, in order: lines of JSON, items of a JSON list or table, rows. What is
    neither list nor table is one record. A sibling `NAME-labels.lst` gives each its `label`.

    Raises DataError that names the file and line.
    """
    labels = _labels_of(path)
    number = -1
    for number, one in enumerate(_records(path)):
        if labels is None:
            yield one
        elif number < len(labels):
            yield Located(one.where, {**one.record, "label": labels[number]})
    if number < 0:
        raise DataError(f"{path}: has no records")
    if labels is not None and len(labels) != number + 1:
        raise DataError(f"{path}: {number + 1} records, but {len(labels)} labels beside it")


def read_text(path: Path) -> str:
    """The whole file, decompressed. Raises DataError."""
    try:
        return _decompressed(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 at byte {error.start}") from None


def without_extensions(name: str) -> str:
    """`nq/NQ-open.dev.jsonl.gz` -> `nq/NQ-open.dev`."""
    for extensions in (COMPRESSIONS, FORMATS):
        for extension in extensions:
            name = name.removesuffix(extension)
    return name


def _has_format(name: str) -> bool:
    return not name.startswith(".") and without_extensions(name) != name


def _matches(name: str, patterns: Sequence[str]) -> bool:
    parts = without_extensions(name).lower().split("/")
    for pattern in patterns:
        wanted = pattern.lower().split("/")
        if len(wanted) <= len(parts) and all(
            fnmatch.fnmatchcase(part, one)
            for part, one in zip(parts[-len(wanted) :], wanted, strict=True)
        ):
            return True
    return False


def _labels_of(path: Path) -> list[str] | None:
    labels = path.with_name(f"{without_extensions(path.name)}-labels.lst")
    return labels.read_text(encoding="utf-8").split() if labels.is_file() else None


def _format_of(path: Path) -> str:
    name = path.name
    for extension in COMPRESSIONS:
        name = name.removesuffix(extension)
    return PurePosixPath(name).suffix


def _records(path: Path) -> Iterator[Located]:
    match _format_of(path):
        case ".parquet":
            return _parquet_rows(path)
        case ".csv":
            return _csv_rows(path)
        case ".json":
            return _json_items(path)
        case ".txt":
            whole = read_text(path)
            return iter([Located(str(path), {"text": whole})] if whole else [])
        case _:
            return _json_lines(path, read_text(path))


def _json_lines(path: Path, text: str) -> Iterator[Located]:
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            is_last = not any(rest.strip() for rest in lines[number:])
            cut = " (the file ends here: is it cut short?)" if is_last else ""
            raise DataError(f"{path}:{number}: is not JSON: {error.msg}{cut}") from None
        yield Located(f"{path}:{number}", record)


def _json_items(path: Path) -> Iterator[Located]:
    text = read_text(path)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":  # several values: lines of JSON under another name
            raise DataError(
                f"{path}:{error.lineno}: is not JSON: {error.msg} (is it cut short?)"
            ) from None
        return _json_lines(path, text)
    if not isinstance(whole, list):
        return iter([Located(str(path), whole)])
    return (Located(f"{path}, item {number}", one) for number, one in enumerate(whole, start=1))


def _csv_rows(path: Path) -> Iterator[Located]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    for row in reader:
        yield Located(f"{path}:{reader.line_num}", row)


def _parquet_rows(path: Path) -> Iterator[Located]:
    import pyarrow as arrow  # type: ignore[import-untyped] # ships no types
    import pyarrow.parquet as parquet  # type: ignore[import-untyped] # ships no types

    try:
        source = parquet.ParquetFile(io.BytesIO(_decompressed(path)))
        columns = [name for name in source.schema_arrow.names if name != "image"]
        number = 0
        for batch in source.iter_batches(columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield Located(f"{path}, row {number}", row)
    except arrow.ArrowException as error:
        raise DataError(f"{path}: is not a Parquet file that can be read: {error}") from None


def _decompressed(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.suffix == ".zst":
            return _zstd_decompressed(data)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be decompressed: {error}") from None
    return data


def _zstd_decompressed(data: bytes) -> bytes:
    """Raises ValueError where it is damaged or cut short."""
    import zstandard

    parts = []
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            parts.append(frame.decompress(data))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
        if not frame.eof:
            raise ValueError("it ends within a frame")
        data = frame.unused_data
    return b"".join(parts)
