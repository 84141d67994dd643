"""Files of records, cut into blocks: what a worker takes, and the most that a kill can cost.

Which records a block holds depends on the file and the block size alone. JSON lines are cut by
bytes: block k has the lines that start in bytes [k * block_bytes, (k + 1) * block_bytes) of the
(decompressed) file. A block of a Parquet file is a row group. A block is read in pieces of about
1 MiB of text, so memory does not grow with it.
"""

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from megatron_codemix.corpus.readers import InputFile, read_chunks
from megatron_codemix.errors import DataError, UnavailableError

PIECE_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
_LINE_SUFFIXES = (".jsonl", ".ndjson", ".json")
_COMPRESSIONS = (".gz", ".zst")
_MAX_ROWS = 1024


class Record(NamedTuple):
    """`position`: byte at which the line starts in the (decompressed) file, or number of the
    Parquet row. `fields` is None where the record is not UTF-8."""

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
    return _plain_name(name).endswith((*_LINE_SUFFIXES, ".parquet"))


def count_blocks(file: InputFile, block_bytes: int) -> int | None:
    """None where only reading to its end tells: compressed JSON lines. Raises DataError."""
    if _is_parquet(file):
        with ExitStack() as stack:
            return int(_open_parquet(file, stack).num_row_groups)
    if file.name.endswith(_COMPRESSIONS):
        return None
    try:
        return -(-file.path.stat().st_size // block_bytes)
    except OSError as error:
        raise DataError(f"{file.path}: cannot be read ({error.strerror})") from error


def column_names(file: InputFile) -> list[str] | None:
    """Of a Parquet file; None of JSON lines, where each record has its own. Raises DataError."""
    if not _is_parquet(file):
        return None
    with ExitStack() as stack:
        return list(_open_parquet(file, stack).schema_arrow.names)


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
    if _is_parquet(file):
        yield from _parquet_blocks(file, is_wanted, columns)
        return
    if file.name.endswith(_COMPRESSIONS):
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


def _plain_name(name: str) -> str:
    suffix = next((suffix for suffix in _COMPRESSIONS if name.endswith(suffix)), "")
    return name.removesuffix(suffix)


def _is_parquet(file: InputFile) -> bool:
    return _plain_name(file.name).endswith(".parquet")


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
    for chunk in read_chunks(file.path):
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
    loads = orjson.loads
    for line in lines.split(b"\n"):
        if line and not line.isspace():
            try:
                fields = loads(line)
            except orjson.JSONDecodeError:
                fields = _parsed_leniently(file, position, line)
            if type(fields) is not dict and fields is not None:
                raise DataError(
                    f"{_place(file, position)} is a JSON {type(fields).__name__}, not an object"
                )
            records.append(Record(position, fields))
        position += len(line) + 1
    return Piece(records, len(lines))


def _parsed_leniently(file: InputFile, position: int, line: bytes) -> Any:
    """What the json module makes of it: it takes NaN, orjson does not. None where the line is not
    UTF-8, or spells (\\ud800) what UTF-8 cannot."""
    try:
        fields = json.loads(line.decode("utf-8-sig"))
        json.dumps(fields, ensure_ascii=False).encode()
        return fields
    except UnicodeError:
        return None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except (RecursionError, ValueError) as error:  # nested too deep, a number too long
        reason = str(error)
    raise DataError(
        f"{_place(file, position)} is not JSON ({reason}); one object a line is expected"
    )


def _place(file: InputFile, position: int) -> str:
    """`FILE: line 12`, counted anew: it is asked for once, in an error."""
    number, left = 1, position
    for chunk in read_chunks(file.path):
        number += chunk.count(b"\n", 0, left)
        left -= len(chunk)
        if left <= 0:
            break
    return f"{file.path}: line {number}"


def _parquet_blocks(
    file: InputFile, is_wanted: Callable[[int], bool], columns: Sequence[str]
) -> Iterator[Block]:
    import pyarrow as arrow  # type: ignore[import-untyped] # ships no types

    with ExitStack() as stack:
        table = _open_parquet(file, stack)
        wanted = [name for name in table.schema_arrow.names if name in columns]
        first_row = 0
        for number in range(table.num_row_groups):
            group = table.metadata.row_group(number)
            if is_wanted(number):
                rows = max(
                    1, min(_MAX_ROWS, PIECE_BYTES * group.num_rows // (group.total_byte_size or 1))
                )
                try:
                    batches = table.iter_batches(
                        batch_size=max(1, min(_MAX_ROWS, rows)),
                        row_groups=[number],
                        columns=wanted,
                        use_threads=False,
                    )
                    yield number, _parquet_pieces(file, batches, first_row)
                except _parquet_errors(arrow) as error:
                    raise _damaged_parquet(file, error) from error
            first_row += group.num_rows


def _parquet_pieces(file: InputFile, batches: Any, first_row: int) -> Iterator[Piece]:
    import pyarrow as arrow

    row = first_row
    try:
        for batch in batches:
            yield Piece(_rows(arrow, batch, row), batch.nbytes)
            row += batch.num_rows
    except _parquet_errors(arrow) as error:
        raise _damaged_parquet(file, error) from error


def _rows(arrow: Any, batch: Any, first_row: int) -> list[Record]:  # Any: pyarrow is untyped
    names = batch.schema.names
    try:
        columns = [column.to_pylist() for column in batch.columns]
    except UnicodeDecodeError:
        return _rows_as_bytes(arrow, batch, first_row)
    return [
        Record(first_row + number, dict(zip(names, values, strict=True)))
        for number, values in enumerate(zip(*columns, strict=True))
    ]


def _rows_as_bytes(arrow: Any, batch: Any, first_row: int) -> list[Record]:
    """One by one, so that only what is not UTF-8 is left out."""
    columns = [
        column.cast(arrow.large_binary()).to_pylist()
        if arrow.types.is_string(column.type) or arrow.types.is_large_string(column.type)
        else column.to_pylist()
        for column in batch.columns
    ]
    records = []
    for number, values in enumerate(zip(*columns, strict=True)):
        try:
            decoded = [v.decode() if isinstance(v, bytes) else v for v in values]
            fields = dict(zip(batch.schema.names, decoded, strict=True))
        except UnicodeDecodeError:
            fields = None
        records.append(Record(first_row + number, fields))
    return records


def _open_parquet(file: InputFile, stack: ExitStack) -> Any:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet  # type: ignore[import-untyped] # ships no types
    except ImportError as error:
        raise UnavailableError(
            f"{file.path}: reading Parquet needs pyarrow; pip install pyarrow"
        ) from error
    source: Path | IO[bytes] = file.path
    if file.name.endswith(_COMPRESSIONS):  # Parquet is read from its end
        unpacked = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        unpacked.writelines(read_chunks(file.path))
        source = unpacked
    try:
        # A buffer makes it read pages as they are needed, not whole columns.
        return parquet.ParquetFile(
            source, buffer_size=PIECE_BYTES, pre_buffer=False, page_checksum_verification=True
        )
    except _parquet_errors(arrow) as error:
        raise _damaged_parquet(file, error) from error


def _parquet_errors(arrow: Any) -> tuple[type[Exception], ...]:
    """What pyarrow raises for damaged files: names that are not UTF-8 are ValueErrors, types that
    it does not know TypeErrors."""
    return (arrow.ArrowException, OSError, ValueError, TypeError, OverflowError)


def _damaged_parquet(file: InputFile, error: Exception) -> DataError:
    reason = (str(error).splitlines() or ["no reason given"])[0]
    return DataError(f"{file.path}: truncated or damaged Parquet ({reason}); copy it again")
