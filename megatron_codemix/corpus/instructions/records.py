"""Records of instruction files: JSON lines, one JSON list as Alpaca's files are, or Parquet."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import orjson

from megatron_codemix.corpus.instructions.json_list import list_items
from megatron_codemix.corpus.readers import OpenFile, Skipped, read_chunks
from megatron_codemix.corpus.readers.chunks import without_compression
from megatron_codemix.corpus.readers.json_lines import json_records
from megatron_codemix.corpus.readers.parquet import is_parquet, open_parquet, row_group
from megatron_codemix.errors import DataError

Fields = dict[str, Any]  # Any: JSON values

_LINES = (".jsonl", ".ndjson", ".json")


def read_records(file: OpenFile, bad: Skipped) -> Iterator[tuple[str, Fields]]:
    """(where it stands, record) of each; what is not UTF-8 goes to `bad`.

    Raises DataError: another form of file, a damaged one, what is not JSON or no object.
    """
    name = without_compression(file.name)
    if is_parquet(file.name):
        yield from _rows(file, bad)
    elif name.endswith(".json") and _begins_list(file):
        yield from _of_list(file, bad)
    elif name.endswith(_LINES):
        for number, record in json_records(file, bad):
            yield f"line {number}", record
    else:
        raise DataError(
            f"{file.place}: conversations are read from .jsonl, .ndjson, .json (as they are, .gz "
            "or .zst) and .parquet; convert it"
        )


def _begins_list(file: OpenFile) -> bool:
    chunks = read_chunks(file)
    return next(chunks, b"").lstrip().startswith(b"[")


def _of_list(file: OpenFile, bad: Skipped) -> Iterator[tuple[str, Fields]]:
    for number, value in enumerate(list_items(file)):
        if not isinstance(value, dict):
            raise DataError(f"{file.place}: item {number} is not an object")
        if _is_utf8(value):
            yield f"item {number}", value
        else:
            bad.add("not UTF-8", f"{file.name}:item {number}")


def _is_utf8(value: Fields) -> bool:
    """JSON's \\ud800 escapes can spell what UTF-8 cannot."""
    try:
        orjson.dumps(value)
    except TypeError:  # or what orjson alone cannot write
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return False
    return True


def _rows(file: OpenFile, bad: Skipped) -> Iterator[tuple[str, Fields]]:
    number = 0
    with ExitStack() as stack:
        table = open_parquet(file, stack)
        for group in range(table.num_row_groups):
            for rows, _ in row_group(file, table, group, table.schema_arrow.names):
                for row in rows:
                    number += 1
                    if row is None:
                        bad.add("not UTF-8", f"{file.name}:{number}")
                    else:
                        yield f"row {number}", row
