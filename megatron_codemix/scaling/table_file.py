"""The rows of a .csv or .jsonl file, as they stand there, with the line of each."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from megatron_codemix.errors import DataError


class Rows(NamedTuple):
    """Cells of a .csv are texts; those of a .jsonl are texts, numbers, true, false or None."""

    frame: pd.DataFrame
    lines: tuple[int, ...]
    """Of each row, from 1."""


def read_csv(path: Path) -> Rows:
    """Raises DataError for what is no table: lines of another length than the header's, two columns
    of one name, text that is not UTF-8."""
    records = _csv_records(path)
    if not records:
        raise DataError(f"{path}: the file is empty; give a header line and a line for each run")
    (line, header), *rows = records
    _check_unique(header, f"{path}: line {line}")
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"{path}: line {line} has {len(cells)} cells, and the header has {len(header)}; "
                "it may be cut off, or a text with a comma needs quotes"
            )
    frame = pd.DataFrame([cells for _, cells in rows], columns=header, dtype=object)
    return Rows(frame, tuple(line for line, _ in rows))


def read_jsonl(path: Path) -> Rows:
    """Raises DataError for a line that is no JSON object, or says a key twice."""
    rows, numbers = [], []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            rows.append(_json_row(line, f"{path}: line {number}"))
            numbers.append(number)
    if not rows:
        raise DataError(f"{path}: there is no run in it; give a JSON object for each, on a line")
    return Rows(pd.DataFrame(rows), tuple(numbers))


def _csv_records(path: Path) -> list[tuple[int, list[str]]]:
    """(line on which it begins, cells) of each that is not empty."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    records, line = [], 1
    try:
        for cells in reader:
            if any(cells):
                records.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}: line {line}: not a line of a CSV file ({error}); mend or remove it"
        ) from error
    return records


def _json_row(line: str, where: str) -> dict[str, Any]:  # Any: JSON values
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON values
        _check_unique([key for key, _ in pairs], where)
        return dict(pairs)

    try:
        row = json.loads(line, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: damaged JSON ({_reason(error)}); mend or remove it") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: not a run; expected an object, {{"name": ..., "tokens": ...}}')
    # A list is no cell: as text it can stand in a column that means nothing here.
    return {
        key: json.dumps(value) if isinstance(value, (list, dict)) else value
        for key, value in row.items()
    }


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _check_unique(names: Sequence[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{where}: {_listed(twice)} stands there more than once; give each column its own name"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give a file that may be read here") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: line {line}: not UTF-8 text (byte 0x{content[error.start]:02x}); save the "
            "file as UTF-8"
        ) from error
