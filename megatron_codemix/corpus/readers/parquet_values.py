"""Values of Parquet columns as JSON can hold them.

Bytes are UTF-8, those of a fixed size hexadecimal; times are as ISO 8601 has them, to the
microsecond; durations are seconds; decimals are spelled, so that no digit is lost.
"""

from collections.abc import Callable
from typing import Any

Convert = Callable[[Any], Any]


def converter(kind: Any) -> Convert | None:  # kind: a pyarrow.DataType, which is untyped
    """From what pyarrow makes of a value to what JSON can hold; None where that is the same. The
    function raises UnicodeDecodeError for bytes that are no text."""
    import pyarrow as arrow  # type: ignore[import-untyped] # ships no types

    types = arrow.types
    if types.is_dictionary(kind):
        return converter(kind.value_type)
    if isinstance(kind, arrow.BaseExtensionType):
        storage = converter(kind.storage_type)
        return None if storage is None else _unless_none(_storage_value(storage))
    if types.is_struct(kind):
        fields = {field.name: one for field in kind if (one := converter(field.type)) is not None}
        return _unless_none(_struct(fields)) if fields else None
    if types.is_map(kind):
        return _unless_none(_pairs(converter(kind.key_type), converter(kind.item_type)))
    if _is_list(types, kind):
        each = converter(kind.value_type)
        return None if each is None else _unless_none(lambda values: [each(one) for one in values])
    simple = _simple(types, kind)
    return None if simple is None else _unless_none(simple)


def _simple(types: Any, kind: Any) -> Convert | None:  # of pyarrow
    if types.is_fixed_size_binary(kind):
        return lambda value: value.hex()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return lambda value: value.decode()
    if types.is_decimal(kind):
        return str
    if types.is_duration(kind):
        return lambda value: value.total_seconds()
    if types.is_temporal(kind):
        return lambda value: value.isoformat() if hasattr(value, "isoformat") else list(value)
    return float if types.is_float16(kind) else None


def _is_list(types: Any, kind: Any) -> bool:  # of pyarrow
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(test(kind) for test in (*tests, types.is_list_view, types.is_large_list_view))


def _unless_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _struct(fields: dict[str, Convert]) -> Convert:
    def convert(value: dict[str, Any]) -> dict[str, Any]:
        return {name: fields[name](one) if name in fields else one for name, one in value.items()}

    return convert


def _pairs(key: Convert | None, item: Convert | None) -> Convert:
    def convert(pairs: list[tuple[Any, Any]]) -> list[list[Any]]:
        return [
            [key(name) if key else name, item(value) if item else value] for name, value in pairs
        ]

    return convert


def _storage_value(storage: Convert) -> Convert:
    """Of an extension: a UUID is bytes in the file and no bytes once it is read."""
    import uuid

    return lambda value: str(value) if isinstance(value, uuid.UUID) else storage(value)


def in_microseconds(arrow: Any, column: Any) -> Any:
    """The column with times to the microsecond: what Python makes of nanoseconds depends on what
    else is installed."""
    kind = _kind_in_microseconds(arrow, column.type)
    return column if kind == column.type else column.cast(kind, safe=False)


def _kind_in_microseconds(arrow: Any, kind: Any) -> Any:
    types = arrow.types
    if types.is_timestamp(kind) and kind.unit == "ns":
        return arrow.timestamp("us", kind.tz)
    if types.is_duration(kind) and kind.unit == "ns":
        return arrow.duration("us")
    if types.is_time64(kind) and kind.unit == "ns":
        return arrow.time64("us")
    if types.is_struct(kind):
        fields = [field.with_type(_kind_in_microseconds(arrow, field.type)) for field in kind]
        return arrow.struct(fields)
    if types.is_list(kind):
        return arrow.list_(
            kind.value_field.with_type(_kind_in_microseconds(arrow, kind.value_type))
        )
    return kind
