"""Damaged input is read right or refused by name; never a crash, a hang, or other text.

What is right is told by the damaged bytes themselves: decompressed by the whole-file functions of
gzip and zstandard, split and parsed line by line with the json module. Parquet has checksums of its
pages but none of its footer: what it reads as text must be a text of the file.
"""

import gzip
import io
import json
import random
import resource
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation.input_blocks import count_blocks, read_blocks
from megatron_codemix.errors import DataError

NUM_MUTATIONS = 2500  # of each of four formats
MAX_BYTES = 100 << 20
"""zstd's own buffers included, of which a damaged header may ask for 64 MiB."""


def records() -> list[dict[str, Any]]:
    numbers = random.Random(4)
    return [
        {"id": n, "text": "\u00e9 word\n" * numbers.randrange(9), "path": None} for n in range(12)
    ]


LINES = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in records()).encode()


def parquet() -> bytes:
    buffer = io.BytesIO()
    table = pyarrow.Table.from_pylist(records())
    pyarrow.parquet.write_table(table, buffer, row_group_size=5, write_page_checksum=True)
    return buffer.getvalue()


def mutated(data: bytes, numbers: random.Random) -> bytes:
    """One to four small or large changes."""
    changed = bytearray(data)
    for _ in range(numbers.randrange(1, 5)):
        place = numbers.randrange(len(changed) + 1)
        length = numbers.choice([1, 1, 1, 4, 60])
        kind = numbers.randrange(6)
        if kind == 0:
            changed[place : place + length] = numbers.randbytes(length)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = numbers.choice([b"{", b"}", b'"', b"\n", b"\\", b"[", b"\x00"])
        elif kind == 3:
            changed[place:place] = changed[place // 2 : place // 2 + length]
        elif kind == 4:
            del changed[place:]
        elif place < len(changed):
            changed[place] ^= 1 << numbers.randrange(8)
    return bytes(changed)


def unzipped(data: bytes) -> bytes:
    return gzip.decompress(data)


def unframed(data: bytes) -> bytes:
    found = b""
    while data:
        decoder = zstandard.ZstdDecompressor().decompressobj()
        found += decoder.decompress(data)
        if not decoder.eof:
            raise zstandard.ZstdError("cut")
        data = decoder.unused_data
    return found


def expected(data: bytes, unpack: Callable[[bytes], bytes]) -> list[Any] | None:
    """The records, None for one that is not UTF-8; None where the file is to be refused."""
    if not data and unpack is not bytes:
        return None  # no archive, not even of nothing
    try:
        lines = unpack(data).split(b"\n")
    except (EOFError, OSError, zlib.error, zstandard.ZstdError):
        return None
    found: list[Any] = []
    for line in lines:
        if not line.strip():
            continue
        try:
            found.append(json.loads(line.decode("utf-8-sig")))
            json.dumps(found[-1], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            found[-1] = None
        except UnicodeDecodeError:
            found.append(None)
        except ValueError:
            return None
        if found[-1] is not None and not isinstance(found[-1], dict):
            return None
    return found


def read(path: Path, data: bytes) -> list[Any] | None:
    """None where it is refused by name."""
    path.write_bytes(data)
    file = InputFile(path, path.name)
    try:
        count_blocks(file, 300)
        return [
            record.fields
            for _, pieces in read_blocks(file, 300, lambda block: True, ["id", "text", "path"])
            for piece in pieces
            for record in piece.records
        ]
    except DataError as error:
        return None if str(path) in str(error) else ["an error without a name"]


@pytest.mark.parametrize(
    ("name", "pack", "unpack"),
    [
        ("a.jsonl", bytes, bytes),
        ("a.jsonl.gz", lambda data: gzip.compress(data, mtime=0), unzipped),
        ("a.jsonl.zst", zstandard.ZstdCompressor(write_checksum=True).compress, unframed),
    ],
)
def test_damaged_lines_are_read_right_or_refused(
    tmp_path: Path,
    name: str,
    pack: Callable[[bytes], bytes],
    unpack: Callable[[bytes], bytes],
):
    numbers = random.Random(name)
    num_refused = 0
    tracemalloc.start()
    for _ in range(NUM_MUTATIONS):
        # Damage below the compression too, else a checksum would end every case.
        data = mutated(LINES, numbers) if numbers.random() < 0.5 else LINES
        packed = pack(data)
        packed = mutated(packed, numbers) if data is LINES else packed
        found, wanted = read(tmp_path / name, packed), expected(packed, unpack)
        assert repr(found) == repr(wanted), packed  # repr: NaN is not equal to itself
        num_refused += found is None
    assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    tracemalloc.stop()
    assert 0.2 < num_refused / NUM_MUTATIONS < 0.95


def test_damaged_parquet_gives_no_other_text(tmp_path: Path):
    numbers = random.Random(6)
    whole, texts = parquet(), {entry["text"] for entry in records()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    num_refused = 0
    for _ in range(NUM_MUTATIONS):
        found = read(tmp_path / "a.parquet", mutated(whole, numbers))
        num_refused += found is None
        for fields in found or ():
            text = None if fields is None else fields.get("text")
            assert text is None or text in texts or not isinstance(text, str)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_BYTES // 1024
    assert num_refused > NUM_MUTATIONS // 4
