"""What a stage has written, the next one reads: all of it."""

from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import InputFile, Skipped, read_documents
from megatron_codemix.corpus.writer import write_documents
from megatron_codemix.errors import DataError


def document(name: str, text: str) -> Document:
    return Document(name, "text", name, name, None, text)


def test_no_line_is_longer_than_readers_take(tmp_path: Path):
    # Each character takes two bytes in JSON: as a text it is short enough, as a line too long.
    documents = [document("a", "x"), document("b", '"\n' * (1 << 18)), document("c", "y" * 1000)]
    left_out = Skipped()
    file, _ = write_documents(tmp_path, "t.jsonl.zst", documents, left_out, max_line_bytes=1 << 20)
    assert left_out.names == {"longer than 1 MiB as a line of JSON": ["b"]}
    skipped = Skipped()
    files = [InputFile(tmp_path / file.file, file.file)]
    assert [one.id for one in read_documents(files, "text", skipped, max_bytes=1 << 20)] == [
        "a",
        "c",
    ]
    assert (file.num_documents, file.num_bytes, skipped.counts) == (2, 1001, {})


def test_where_nobody_counts_it_is_refused(tmp_path: Path):
    documents = [document("b", "\n" * (1 << 20))]
    with pytest.raises(DataError, match=r"document 'b': is longer than 1 MiB as a line of JSON"):
        write_documents(tmp_path, "t.jsonl.zst", documents, max_line_bytes=1 << 20)
    assert list(tmp_path.iterdir()) == []
