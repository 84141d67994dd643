"""Lines of a file: those of bytes.split, in bounded memory whatever the file is."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.corpus.readers import InputFile, Skipped, read_documents
from megatron_codemix.corpus.readers.chunks import split_lines, whole_content
from tests.helpers.kills import ROOT

CHUNKS = st.lists(st.text("ab\n", max_size=12).map(str.encode), max_size=12)


@given(CHUNKS, st.integers(1, 8))
def test_lines_are_those_of_the_whole(chunks: list[bytes], max_line_bytes: int):
    lines = b"".join(chunks).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    expected = [line if len(line) <= max_line_bytes else None for line in lines]
    assert list(split_lines([chunk for chunk in chunks if chunk], max_line_bytes)) == expected


def test_a_line_that_is_too_long_is_skipped_and_counted(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "' + b"x" * 5000 + b'"}\n{"text": "b"}\n')
    skipped = Skipped()
    files = [InputFile(path, path.name)]
    documents = list(read_documents(files, "text", skipped, max_bytes=2 << 20))
    assert [len(one.text) for one in documents] == [1, 5000, 1]
    documents = list(read_documents(files, "text", skipped, max_bytes=1 << 10))
    assert [one.text for one in documents] == ["a", "b"]
    assert skipped.names == {"longer than 0 MiB": ["a.jsonl:2"]}


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_a_file_that_is_too_long_for_a_document_is_skipped(tmp_path: Path, name: str):
    data = b"x" * (3 << 20)
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(name.split(".")[-1], bytes)
    (tmp_path / name).write_bytes(pack(data))
    file = InputFile(tmp_path / name, name)
    assert whole_content(file, len(data)) == data
    assert whole_content(file, len(data) - 1) is None
    skipped = Skipped()
    assert list(read_documents([file], "text", skipped, max_bytes=2 << 20)) == []
    assert skipped.counts == {"longer than 2 MiB": 1}


READ = """
import sys
from pathlib import Path
from megatron_codemix.corpus.readers import InputFile, Skipped, read_documents

path = Path(sys.argv[1])
skipped = Skipped()
for document in read_documents([InputFile(path, path.name)], "text", skipped):
    print(document.id)
print(skipped.names)
status = Path("/proc/self/status").read_text().split()
print(int(status[status.index("VmHWM:") + 1]) * 1024)
"""


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.txt.gz"])
def test_a_gigabyte_in_one_line_takes_no_memory(tmp_path: Path, name: str):
    """A gigabyte of zeros is 30 kB of zstd: nobody has to download it."""
    path = tmp_path / name
    with open(path, "wb") as raw:
        if name.endswith(".zst"):
            handle = zstandard.ZstdCompressor().stream_writer(raw)
        else:
            handle = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1)
        handle.write(b'{"id": "first", "text": "a"}\n')
        for _ in range(1024):
            handle.write(b"0" * (1 << 20))
        handle.write(b'\n{"id": "last", "text": "b"}\n')
        handle.close()
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *told, peak = done.stdout.splitlines()
    if name.endswith(".zst"):
        assert told == ["first", "last", "{'longer than 64 MiB': ['a.jsonl.zst:2']}"]
    else:
        assert told == ["{'longer than 64 MiB': ['a.txt.gz']}"]
    assert int(peak) < 256 << 20
