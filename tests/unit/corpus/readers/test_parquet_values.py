"""Columns of Parquet whose values JSON has not got, and texts that are bytes."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet
import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import RecordForm, Skipped, expand_patterns, read_documents
from megatron_codemix.corpus.writer import encoded
from megatron_codemix.errors import DataError

NOON = dt.datetime(2026, 1, 31, 12, 0, 0, 250_000)
# type, value in the table, what the line of JSON has
VALUES: list[tuple[arrow.DataType, Any, Any]] = [
    (arrow.decimal128(20, 2), Decimal("123456789012345678.90"), "123456789012345678.90"),
    (arrow.timestamp("ns"), 1769860800250000001, "2026-01-31T12:00:00.250000"),
    (arrow.timestamp("us"), NOON, "2026-01-31T12:00:00.250000"),
    (arrow.timestamp("s", "UTC"), 1769860800, "2026-01-31T12:00:00+00:00"),
    (arrow.date32(), NOON.date(), "2026-01-31"),
    (arrow.time64("ns"), 1_000_000_001, "00:00:01"),
    (arrow.duration("ns"), 1_500_000_000, 1.5),
    (arrow.binary(2), b"\xff\x00", "ff00"),
    (arrow.large_binary(), "caf\u00e9".encode(), "caf\u00e9"),
    (
        arrow.struct({"b": arrow.binary(), "n": arrow.int8()}),
        {"b": b"x", "n": 1},
        {"b": "x", "n": 1},
    ),
    (arrow.list_(arrow.timestamp("ns")), [0, None], ["1970-01-01T00:00:00", None]),
    (arrow.list_(arrow.decimal128(3, 1)), [Decimal("1.5")], ["1.5"]),
    (arrow.map_(arrow.string(), arrow.binary()), [("k", b"v")], [["k", "v"]]),
    (arrow.dictionary(arrow.int8(), arrow.string()), "word", "word"),
    (arrow.float16(), 1.5, 1.5),
    (arrow.list_(arrow.int64()), [1, 2], [1, 2]),
]


def read(table: arrow.Table, folder: Path, **form: Any) -> tuple[list[Document], dict[str, int]]:
    arrow.parquet.write_table(table, folder / "a.parquet")
    skipped = Skipped()
    files = expand_patterns([str(folder / "a.parquet")])
    return list(read_documents(files, "text", skipped, RecordForm(**form))), skipped.counts


@pytest.mark.parametrize(("kind", "value", "expected"), VALUES, ids=[str(one[0]) for one in VALUES])
def test_values_are_as_json_can_hold_them(tmp_path: Path, kind: Any, value: Any, expected: Any):
    column = arrow.array([value, None], kind)
    table = arrow.table({"text": ["one", "two"], "v": column})
    found, _ = read(table, tmp_path, metadata={"v": "v"})
    assert [json.loads(encoded(one.to_record())).get("metadata", {}) for one in found] == [
        {"v": expected},
        {},
    ]
    whole = arrow.table(
        {"text": ["one", "two"], "metadata": arrow.StructArray.from_arrays([column], ["v"])}
    )
    found, _ = read(whole, tmp_path)
    assert [json.loads(encoded(one.to_record()))["metadata"]["v"] for one in found] == [
        expected,
        None,
    ]


@pytest.mark.parametrize("kind", [arrow.binary(), arrow.large_binary(), arrow.binary_view()])
@pytest.mark.parametrize("is_nested", [False, True])
def test_bytes_are_taken_for_text(tmp_path: Path, kind: Any, is_nested: bool):
    column = arrow.array(["caf\u00e9".encode(), b"\xff", b"three"], kind)
    if is_nested:
        column = arrow.StructArray.from_arrays([column], ["body"])
    name = "page.body" if is_nested else "page"
    found, left_out = read(arrow.table({"page": column}), tmp_path, text_field=name)
    assert [one.text for one in found] == ["caf\u00e9", "three"]
    assert left_out == {"not UTF-8": 1}


def test_a_row_that_is_too_long_is_left_out(tmp_path: Path):
    texts = [
        "a" * (1 << 20),
        "\u00e9" * (1 << 19),
        "a" * (1 << 20) + "b",
        "\u00e9" * (1 << 19) + "b",
    ]
    arrow.parquet.write_table(arrow.table({"text": texts}), tmp_path / "a.parquet")
    skipped = Skipped()
    files = expand_patterns([str(tmp_path / "a.parquet")])
    found = list(read_documents(files, "text", skipped, max_bytes=1 << 20))
    assert [one.text for one in found] == texts[:2]
    assert skipped.counts == {"longer than 1 MiB": 2}
    assert skipped.names == {"longer than 1 MiB": ["a.parquet:3", "a.parquet:4"]}


@pytest.mark.parametrize("kind", [arrow.date32(), arrow.decimal128(5, 1), arrow.binary(4)])
def test_a_text_column_that_holds_no_text_is_refused(tmp_path: Path, kind: Any):
    table = arrow.table({"text": arrow.array([None], kind)})
    with pytest.raises(DataError, match=r"a\.parquet: column 'text' is of type .*, not text; "):
        read(table, tmp_path)
