"""Files of records, cut into blocks: what a worker takes, and the most that a kill can cost.

Which records a block holds depends on the file and the block size alone. JSON lines are cut by
bytes: block k has the lines that start in bytes [k * block_bytes, (k + 1) * block_bytes) of the
(decompressed) file. A block of a Parquet file is a row group. A block is read in pieces of about
1 MiB of text, so memory does not grow with it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from megatron_codemix.corpus.readers.chunks import (
    COMPRESSIONS,
    MAX_LINE_BYTES,
    read_chunks,
    without_compression,
)
from megatron_codemix.corpus.readers.fields import FieldsSeen
from megatron_codemix.corpus.readers.files import InputFile
from megatron_codemix.corpus.readers.json_lines import parse_object
from megatron_codemix.corpus.readers.parquet import (
    Rows,
    is_parquet,
    open_parquet,
    require_text_column,
    row_group,
)
from megatron_codemix.errors import DataError, UnavailableError

PIECE_BYTES = 1 << 20
_LINE_SUFFIXES = (".jsonl", ".ndjson", ".json")


class Record(NamedTuple):
    """`position`: byte at which the line starts in the (decompressed) file, or number of the
    Parquet row, from zero; see record_number. `fields` is None where the record is not UTF-8."""

    position: int
    fields: dict[str, Any] | None


class Piece(NamedTuple):
    """Records that follow one another; num_bytes: what they take in the (decompressed) file."""

    records: list[Record]
    num_bytes: int


Block = tuple[int, Iterator[Piece]]
"""Its number, and its pieces, to be read before the next block is asked for."""


def is_readable(name: str) -> bool:
    """Whether the name is one of JSON lines or Parquet, as they are or compressed."""
    return without_compression(name).endswith((*_LINE_SUFFIXES, ".parquet"))


def count_blocks(file: InputFile, block_bytes: int) -> int | None:
    """None where only reading to its end tells: compressed JSON lines. Raises DataError."""
    if is_parquet(file.name):
        with ExitStack() as stack:
            return int(open_parquet(file, stack).num_row_groups)
    if file.name.endswith(COMPRESSIONS):
        return None
    try:
        return -(-file.path.stat().st_size // block_bytes)
    except OSError as error:
        raise DataError(f"{file.path}: cannot be read ({error.strerror})") from error


def column_names(file: InputFile, seen: FieldsSeen) -> list[str] | None:
    """Of a Parquet file; None of JSON lines, where each record has its own. Raises DataError, also
    where the wanted column holds dates or decimal numbers."""
    if not is_parquet(file.name):
        return None
    with ExitStack() as stack:
        table = open_parquet(file, stack)
        require_text_column(file, table, seen.field, seen.advice)
        return list(table.schema_arrow.names)


def read_blocks(
    file: InputFile,
    block_bytes: int,
    is_wanted: Callable[[int], bool],
    columns: Sequence[str],
) -> Iterator[Block]:
    """The wanted blocks, ascending; compressed JSON lines are decompressed to their end in any
    case. columns: of Parquet, what is read where it is there.

    Raises DataError: a file that is cut or damaged, a line that is no JSON object or longer than
    64 MiB.
    """
    if is_parquet(file.name):
        yield from _parquet_blocks(file, is_wanted, columns)
        return
    if file.name.endswith(COMPRESSIONS):
        # groupby passes over what is left of a block that was not read.
        for number, group in itertools.groupby(
            _stream_lines(file, block_bytes), lambda cut: cut[0]
        ):
            if is_wanted(number):
                yield number, (_parsed(file, start, lines) for _, start, lines in group)
        return
    for number in range(count_blocks(file, block_bytes) or 0):
        if is_wanted(number):
            cuts = _lines_between(file, number * block_bytes, (number + 1) * block_bytes)
            yield number, (_parsed(file, start, lines) for start, lines in cuts)


def _lines_between(file: InputFile, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """(position, whole lines) for the lines that start in bytes [start, stop)."""
    try:
        with open(file.path, "rb") as handle:
            if start > 0:  # the line that goes over the border belongs to the block before
                handle.seek(start - 1)
                while (rest := handle.readline(PIECE_BYTES)) and not rest.endswith(b"\n"):
                    pass
            position = handle.tell()
            while position < stop and (lines := handle.read(min(PIECE_BYTES, stop - position))):
                if not lines.endswith(b"\n"):
                    lines += handle.readline(MAX_LINE_BYTES)
                _require_lines(file, position, lines)
                yield position, lines
                position += len(lines)
    except OSError as error:  # of the disk, not of the input: what is done so far stays
        raise UnavailableError(
            f"{file.path}: cannot be read ({error.strerror or error}); run the same command again "
            "once it can"
        ) from error


def _stream_lines(file: InputFile, block_bytes: int) -> Iterator[tuple[int, int, bytes]]:
    """(block, position, whole lines) of compressed JSON lines."""
    position, rest = 0, b""
    for chunk in read_chunks(file):
        rest += chunk
        while True:
            block = position // block_bytes
            size = (block + 1) * block_bytes - position
            # Of this block the line with its last byte is the last; else what is whole.
            end = rest.find(b"\n", size - 1) if len(rest) > size else rest.rfind(b"\n")
            if end < 0:
                break
            _require_lines(file, position, rest[: end + 1])
            yield block, position, rest[: end + 1]
            position, rest = position + end + 1, rest[end + 1 :]
        _require_lines(file, position, rest)
    if rest:
        yield position // block_bytes, position, rest


def _require_lines(file: InputFile, position: int, lines: bytes) -> None:
    if len(lines) < MAX_LINE_BYTES:
        return
    start = lines.rfind(b"\n", 0, len(lines) - 1) + 1
    if len(lines) - start >= MAX_LINE_BYTES:
        raise DataError(
            f"{file.path}: the line at byte {position + start} is longer than "
            f"{MAX_LINE_BYTES >> 20} MiB; one object a line is expected"
        )


def _parsed(file: InputFile, start: int, lines: bytes) -> Piece:
    records = []
    position = start
    for line in lines.split(b"\n"):
        if line and not line.isspace():
            fields = parse_object(line, partial(_place, file, position))
            records.append(Record(position, fields))
        position += len(line) + 1
    return Piece(records, len(lines))


def record_number(file: InputFile, position: int) -> int:
    """Line or row of the record, counted from one as everywhere in errors. The lines are counted
    anew: it is asked for once."""
    if is_parquet(file.name):
        return position + 1
    number, left = 1, position
    for chunk in read_chunks(file):
        number += chunk.count(b"\n", 0, left)
        left -= len(chunk)
        if left <= 0:
            break
    return number


def _place(file: InputFile, position: int) -> str:
    """`FILE: line 12`."""
    return f"{file.path}: line {record_number(file, position)}"


def _parquet_blocks(
    file: InputFile, is_wanted: Callable[[int], bool], columns: Sequence[str]
) -> Iterator[Block]:
    with ExitStack() as stack:
        table = open_parquet(file, stack)
        first_row = 0
        for number in range(table.num_row_groups):
            if is_wanted(number):
                yield number, _parquet_pieces(row_group(file, table, number, columns), first_row)
            first_row += table.metadata.row_group(number).num_rows


def _parquet_pieces(groups: Iterator[tuple[Rows, int]], first_row: int) -> Iterator[Piece]:
    for rows, num_bytes in groups:
        records = [Record(first_row + number, fields) for number, fields in enumerate(rows)]
        yield Piece(records, num_bytes)
        first_row += len(rows)
