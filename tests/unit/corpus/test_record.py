"""What corpus.json may say: of the version before, of a newer one, damaged."""

import json
from pathlib import Path

import pytest

from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.errors import DataError


def test_the_record_of_the_version_before_is_read(tmp_path: Path):
    entry = {"file": "text.jsonl.zst", "num_documents": 2, "num_bytes": 5, "file_bytes": 9}
    record = {
        "format_version": 1,
        "arguments": {"source_bytes": 3},
        "environment": {"python": "3.11"},
        "sources": {"text": entry | {"sha256": "ab", "licences": {"MIT": 2}}},
        "skipped": {"empty": {"count": 1, "first": ["a"]}},
    }
    (tmp_path / "corpus.json").write_text(json.dumps(record))
    read = load_corpus(tmp_path)
    assert read is not None
    assert (read.sources["text"].num_documents, read.sources["text"].num_bytes) == (2, 5)
    assert read.stages[0].options == {"source_bytes": 3}
    assert read.stages[0].dropped["all"].counts == {"empty": 1}


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 2}', '{"sources": {}}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str):
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(DataError, match="not a corpus record"):
        load_corpus(tmp_path)


def test_a_record_of_a_newer_version_is_refused(tmp_path: Path):
    (tmp_path / "corpus.json").write_text('{"format_version": 3}')
    with pytest.raises(DataError, match="is of a newer version"):
        load_corpus(tmp_path)
