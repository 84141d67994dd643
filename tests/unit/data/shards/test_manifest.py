"""The manifest: what is in its hash, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.errors import DataError

FIELDS: dict[str, Any] = {
    "source": "code",
    "split": "train",
    "tokenizer_hash": "t",
    "vocabulary_size": 100,
    "end_of_document_id": 0,
    "dtype": "uint16",
    "num_documents": 1,
    "num_tokens": 2,
    "num_bytes": 3,
    "licences": {"unknown": 1},
    "blocks_root": "b",
    "origin": {"corpus_file": "code.jsonl.zst"},
}


def test_round_trip(tmp_path: Path):
    manifest = Manifest(**FIELDS)
    manifest.save(tmp_path / "m.json")
    loaded = Manifest.load(tmp_path / "m.json")
    assert loaded == manifest
    assert loaded.content_hash == manifest.content_hash


@pytest.mark.parametrize(
    ("name", "value", "decides_tokens"),
    [
        ("blocks_root", "x", True),
        ("num_tokens", 3, True),
        ("tokenizer_hash", "x", True),
        ("dtype", "int32", True),
        ("end_of_document_id", 1, True),
        ("licences", {"MIT": 1}, False),
        ("origin", {}, False),
        ("num_bytes", 4, False),
    ],
)
def test_the_hash_covers_what_decides_the_tokens(name: str, value: Any, decides_tokens: bool):
    changed = Manifest(**{**FIELDS, name: value})
    assert (changed.content_hash != Manifest(**FIELDS).content_hash) is decides_tokens


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_field_that_was_edited_is_refused(tmp_path: Path, name: str):
    path = tmp_path / "text.train.manifest.json"
    Manifest(**FIELDS).save(path)
    other = {"split": "validation", "dtype": "int32", "licences": {}, "origin": {"a": 1}}
    value = FIELDS[name] + type(FIELDS[name])(1) if name not in other else other[name]
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(DataError, match="edited after the manifest was written") as caught:
        Manifest.load(path)
    assert f"codemix data manifest {tmp_path / 'text.train'} --tokenizer" in str(caught.value)


def test_a_manifest_of_an_older_version_is_read(tmp_path: Path):
    """It has no digest of its fields."""
    (tmp_path / "m.json").write_text(json.dumps(FIELDS))
    assert Manifest.load(tmp_path / "m.json") == Manifest(**FIELDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a manifest"),
        ("{}", "source"),
        ('{"format_version": 1}', "format_version"),
        ("[1]", "not a manifest"),
    ],
)
def test_what_is_not_a_manifest_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        Manifest.load(tmp_path / "m.json")
    assert "m.json" in str(caught.value)


def test_an_absent_manifest_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"m\.json: cannot be read"):
        Manifest.load(tmp_path / "m.json")
