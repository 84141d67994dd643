"""Rows of Parquet files, a few at a time: memory does not grow with the file or its row groups."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from megatron_codemix.corpus.readers.chunks import COMPRESSIONS, read_chunks, without_compression
from megatron_codemix.corpus.readers.files import InputFile, OpenFile
from megatron_codemix.corpus.readers.parquet_values import Convert, converter, in_microseconds
from megatron_codemix.errors import DataError, UnavailableError

PIECE_BYTES = 1 << 20
_MAX_ROWS = 1024

Rows = list[dict[str, Any] | None]
"""Rows that follow one another, as columns -> values; None for one that is not UTF-8."""


def is_parquet(name: str) -> bool:
    """Whether the name is that of a Parquet file, as it is or compressed."""
    return without_compression(name).endswith(".parquet")


def open_parquet(file: OpenFile, stack: ExitStack) -> Any:  # Any: pyarrow is untyped
    """A pyarrow.parquet.ParquetFile, open as long as the stack is. Raises DataError,
    UnavailableError."""
    try:
        import pyarrow as arrow  # type: ignore[import-untyped] # ships no types
        import pyarrow.parquet as parquet  # type: ignore[import-untyped] # ships no types
    except ImportError as error:
        raise UnavailableError(
            f"{file.place}: reading Parquet needs pyarrow; pip install pyarrow"
        ) from error
    source: Path | IO[bytes]
    if file.name.endswith(COMPRESSIONS):  # Parquet is read from its end
        source = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        source.writelines(read_chunks(file))
    elif isinstance(file, InputFile) and file.place == str(file.path):  # Arrow wants UTF-8
        source = file.path
    else:
        source = stack.enter_context(file.open())
    try:
        # A buffer makes it read pages as they are needed, not whole columns.
        return parquet.ParquetFile(
            source, buffer_size=PIECE_BYTES, pre_buffer=False, page_checksum_verification=True
        )
    except parquet_errors(arrow) as error:
        raise damaged_parquet(file, error) from error


def require_columns(file: OpenFile, table: Any, named: Mapping[str, str]) -> None:
    """Raises DataError with each column that is not there. named: what names it -> the column, or a
    way down to it through objects. table: of open_parquet."""
    schema = table.schema_arrow
    problems = [
        f"{file.place}: no column {field!r} for {option}; it has {', '.join(schema.names)}; name "
        f"the right field with {option}"
        for option, field in named.items()
        if _type_of(schema, field) is None
    ]
    if problems:
        raise DataError(*problems)


def require_text_column(file: OpenFile, table: Any, field: str, advice: str) -> None:
    """Raises DataError where the column holds something that is read as text, but is none: a date,
    a decimal number, a hash. table: of open_parquet."""
    import pyarrow as arrow

    kind, types = _type_of(table.schema_arrow, field), arrow.types
    if kind is not None and (
        types.is_temporal(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind)
    ):
        raise DataError(f"{file.place}: column {field!r} is of type {kind}, not text; {advice}")


def _type_of(schema: Any, way: str) -> Any:  # of pyarrow
    """The type of a column, or at the end of a way down to it; None where it is missing."""
    if way in schema.names:
        return schema.field(way).type
    first, *rest = way.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for name in rest:
        names = [kind.field(n).name for n in range(kind.num_fields)]
        if name not in names:
            return None
        kind = kind.field(names.index(name)).type
    return kind


def row_group(
    file: OpenFile, table: Any, number: int, columns: Sequence[str]
) -> Iterator[tuple[Rows, int]]:  # table: of open_parquet
    """(rows, their bytes) of a row group. columns: what is read, where it is there. Raises
    DataError."""
    import pyarrow as arrow

    group = table.metadata.row_group(number)
    rows = PIECE_BYTES * group.num_rows // (group.total_byte_size or 1)
    try:
        batches = table.iter_batches(
            batch_size=max(1, min(_MAX_ROWS, rows)),
            row_groups=[number],
            columns=[name for name in table.schema_arrow.names if name in columns],
            use_threads=False,
        )
        for batch in batches:
            yield _rows(arrow, batch), batch.nbytes
    except parquet_errors(arrow) as error:
        raise damaged_parquet(file, error) from error


def _rows(arrow: Any, batch: Any) -> Rows:  # Any: pyarrow is untyped
    names = batch.schema.names
    columns = [in_microseconds(arrow, column) for column in batch.columns]
    converters = [converter(column.type) for column in columns]
    if not any(converters):
        try:
            lists = [column.to_pylist() for column in columns]
            return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
        except UnicodeDecodeError:
            pass
    lists = [_values(arrow, *pair) for pair in zip(columns, converters, strict=True)]
    return [
        None if _BROKEN in values else dict(zip(names, values, strict=True))
        for values in zip(*lists, strict=True)
    ]


class _Broken:
    """In place of a value that is not UTF-8."""

    def __eq__(self, other: object) -> bool:
        return other is self

    __hash__ = object.__hash__


_BROKEN = _Broken()


def _values(arrow: Any, column: Any, convert: Convert | None) -> list[Any]:
    """One by one, so that only what is not UTF-8 is left out."""
    types = arrow.types
    if types.is_string(column.type) or types.is_large_string(column.type):
        column = column.cast(arrow.large_binary())
        convert = converter(column.type)
    return [_value(cell, convert) for cell in column]


def _value(cell: Any, convert: Convert | None) -> Any:
    try:
        value = cell.as_py()
        return value if convert is None else convert(value)
    except UnicodeDecodeError:
        return _BROKEN


def parquet_errors(arrow: Any) -> tuple[type[Exception], ...]:
    """What pyarrow raises for damaged files: names that are not UTF-8 are ValueErrors, types that
    it does not know TypeErrors."""
    return (arrow.ArrowException, OSError, ValueError, TypeError, OverflowError)


def damaged_parquet(file: OpenFile, error: Exception) -> DataError:
    """The readable error for what pyarrow has raised."""
    reason = (str(error).splitlines() or ["no reason given"])[0]
    return DataError(f"{file.place}: truncated or damaged Parquet ({reason}); copy it again")
