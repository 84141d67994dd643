"""Files cut into blocks: each record in one block, whatever the block size and the compression."""

import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation import input_blocks
from megatron_codemix.data.preparation.input_blocks import count_blocks, read_blocks
from megatron_codemix.errors import DataError


def records(count: int, seed: int = 1) -> list[dict[str, Any]]:
    numbers = random.Random(seed)
    return [
        {"id": number, "text": "\u00e9\n" * numbers.choice([0, 1, 3, 40, 200])}
        for number in range(count)
    ]


def lines_of(entries: list[dict[str, Any]], newline: str = "\n") -> bytes:
    # Blank lines between, and no newline at the end.
    return f"{newline}\n{newline}".join(json.dumps(entry) for entry in entries).encode()


def parquet_of(entries: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    table = pyarrow.Table.from_pylist(entries)
    pyarrow.parquet.write_table(table, buffer, row_group_size=7)
    return buffer.getvalue()


def frames_of(data: bytes) -> bytes:
    """zstd in two frames, as `cat a.zst b.zst` makes it."""
    half = len(data) // 2
    return b"".join(
        zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:])
    )


FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "a.jsonl": lines_of,
    "a.json": lambda entries: lines_of(entries, "\r\n"),
    "a.jsonl.gz": lambda entries: gzip.compress(lines_of(entries)),
    "a.ndjson.zst": lambda entries: frames_of(lines_of(entries)),
    "a.parquet": parquet_of,
    "a.parquet.zst": lambda entries: zstandard.ZstdCompressor().compress(parquet_of(entries)),
}


def write(folder: Path, name: str, data: bytes) -> InputFile:
    (folder / name).write_bytes(data)
    return InputFile(folder / name, name)


def read(
    file: InputFile, block_bytes: int, is_wanted: Callable[[int], bool] = lambda block: True
) -> dict[int, list[Any]]:
    return {
        number: [record.fields for piece in pieces for record in piece.records]
        for number, pieces in read_blocks(file, block_bytes, is_wanted, ["id", "text"])
    }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("block_bytes", [17, 300, 3000, 10**9])
@pytest.mark.parametrize("piece_bytes", [50, 1 << 20])
def test_each_record_is_in_one_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block_bytes: int, piece_bytes: int
):
    monkeypatch.setattr(input_blocks, "PIECE_BYTES", piece_bytes)
    entries = records(20)
    file = write(tmp_path, name, FORMATS[name](entries))
    blocks = read(file, block_bytes)
    assert [entry for block in blocks.values() for entry in block] == entries
    assert list(blocks) == sorted(blocks)
    count = count_blocks(file, block_bytes)
    assert count is None or list(blocks) == list(range(count))
    # A block alone is what it is among the others.
    for number in list(blocks)[:: max(1, len(blocks) // 5)]:
        assert read(file, block_bytes, lambda block, one=number: block == one) == {
            number: blocks[number]
        }


def test_compressed_lines_are_cut_where_plain_lines_are(tmp_path: Path):
    entries = records(40)
    plain = write(tmp_path, "a.jsonl", lines_of(entries))
    packed = write(tmp_path, "a.jsonl.gz", gzip.compress(lines_of(entries)))
    blocks = {number: block for number, block in read(plain, 500).items() if block}
    assert read(packed, 500) == blocks


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b'{"text": "a", "x": NaN}', "a"),
        (b'\xef\xbb\xbf{"text": "b"}', "b"),
        (b'{"text": "\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"text": "c", "n": 123456789012345678901234567890}', "c"),
        (b'{"text": "\\ud800"}', None),
        (b'{"text": "\xff"}', None),
    ],
)
def test_what_the_json_module_reads_is_read(tmp_path: Path, line: bytes, fields: str | None):
    file = write(tmp_path, "a.jsonl", line)
    ((found,),) = read(file, 1000).values()
    assert found is None if fields is None else found["text"] == fields


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"text": "a"}\n\n{"text": "b"\n', "line 3 is not JSON"),
        (b"[1]", "line 1 is a list"),
        (b"[" * 200_000, "line 1 is not JSON"),
        (b'{"x": ' + b"9" * 5000 + b"}", "line 1 is not JSON .*thousands of digits"),
    ],
)
def test_what_is_no_object_is_refused_with_its_line(tmp_path: Path, data: bytes, message: str):
    file = write(tmp_path, "a.jsonl", data)
    with pytest.raises(DataError, match=message):
        read(file, 1000)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(input_blocks, "MAX_LINE_BYTES", 3 << 20)
    data = b'{"text": "a"}\n' + b" " * (9 << 20)
    file = write(tmp_path, name, data if name == "a.jsonl" else gzip.compress(data))
    with pytest.raises(DataError, match="line at byte 14 is longer than 3 MiB"):
        read(file, 1 << 30)
