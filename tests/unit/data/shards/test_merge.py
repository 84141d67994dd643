"""Joining shards, against megatron-core's own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.data.shards import merge
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.merge import MergedShard, bytes_to_read, merge_shards
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.verify import verify_shards
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_file
from tests.helpers.megatron_core import import_megatron

ROOT = Path(__file__).parents[4]


def write_shard(prefix: Path, seed: int, count: int = 70, **fields: Any) -> Path:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 300, count)
    with TokenShardWriter(prefix, fields.pop("dtype", np.uint16)) as writer:
        tokens = rng.integers(0, 1000, int(lengths.sum())).astype(writer.dtype)
        tokens[np.cumsum(lengths) - 1] = 0
        writer.append_block(tokens, lengths)
        lines = shard_file(prefix, ".documents.jsonl")
        lines.write_text("".join(json.dumps({"id": f"{seed}-{n}"}) + "\n" for n in range(count)))
        described: dict[str, Any] = {
            "source": "code",
            "split": "train",
            "tokenizer_hash": "ab" * 32,
            "vocabulary_size": 1000,
            "end_of_document_id": 0,
            "num_bytes": 100 + seed,
            "licences": {"MIT": count - 1, f"L{seed}": 1},
            "origin": {"documents_sha256": hash_file(lines)},
        }
        writer.finish(**{**described, **fields})
    return prefix


def join(prefixes: list[Path], out: Path, **options: Any) -> MergedShard:
    return merge_shards(prefixes, out, advance=lambda num_bytes: None, **options)


def megatron_merge(prefixes: list[Path], out: Path) -> None:
    """Megatron-LM's tools/merge_datasets.py."""
    module = import_megatron("megatron.core.datasets.indexed_dataset")
    builder = module.IndexedDatasetBuilder(f"{out}.bin", dtype=np.uint16)
    for prefix in prefixes:
        builder.add_index(str(prefix))
    builder.finalize(f"{out}.idx")


def require_same_pair(one: Path, two: Path) -> None:
    for suffix in (".bin", ".idx"):
        assert shard_file(one, suffix).read_bytes() == shard_file(two, suffix).read_bytes()


def test_the_bytes_are_megatrons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(merge, "_PIECE_TOKENS", 500)
    monkeypatch.setattr(merge, "_PIECE_DOCUMENTS", 30)
    prefixes = [write_shard(tmp_path / f"s{n}", n) for n in (2, 1, 3)]
    join(prefixes, tmp_path / "ours")
    megatron_merge(prefixes, tmp_path / "theirs")
    require_same_pair(tmp_path / "ours", tmp_path / "theirs")


def test_the_manifest_sums_what_the_shards_say(tmp_path: Path):
    prefixes = [write_shard(tmp_path / f"s{n}", n) for n in (1, 2)]
    join(prefixes, tmp_path / "ours")
    manifest = TokenShard.open(tmp_path / "ours").manifest
    assert manifest.num_bytes == 203
    assert manifest.licences == {"L1": 1, "L2": 1, "MIT": 138}
    assert verify_shards([tmp_path / "ours"], lambda blocks: None)[0].problems == []
    lines = shard_file(tmp_path / "ours", ".documents.jsonl").read_text().splitlines()
    assert [json.loads(lines[n])["id"] for n in (0, 70)] == ["1-0", "2-0"]


def test_a_finished_merge_is_left_as_it_is(tmp_path: Path):
    prefixes = [write_shard(tmp_path / f"s{n}", n) for n in (1, 2)]
    assert not join(prefixes, tmp_path / "ours").was_complete
    assert join(prefixes, tmp_path / "ours").was_complete
    write_shard(prefixes[0], 7)
    assert not join(prefixes, tmp_path / "ours").was_complete


@pytest.mark.parametrize("has_manifests", [True, False])
def test_progress_ends_at_its_total(tmp_path: Path, has_manifests: bool):
    prefixes, told = [write_shard(tmp_path / f"s{n}", n) for n in (1, 2)], list[int]()
    if not has_manifests:
        shard_file(prefixes[0], ".manifest.json").unlink()
    total = bytes_to_read(prefixes)
    merge_shards(prefixes, tmp_path / "ours", advance=told.append)
    assert sum(told) == total


def test_a_changed_shard_is_not_joined(tmp_path: Path):
    prefixes = [write_shard(tmp_path / f"s{n}", n) for n in (1, 2)]
    path = shard_file(prefixes[1], ".bin")
    data = bytearray(path.read_bytes())
    data[777] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="s2: has changed since its manifest"):
        join(prefixes, tmp_path / "ours")
    assert not list(tmp_path.glob("*ours*"))


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path):
    one = write_shard(tmp_path / "one", 1)
    other = write_shard(tmp_path / "two", 2, tokenizer_hash="cd" * 32, split="validation")
    with pytest.raises(DataError, match=r"differ in split: .*\n.*differ in tokenizer_hash"):
        join([one, other], tmp_path / "ours")
    wide = write_shard(tmp_path / "wide", 2, dtype=np.int32)
    with pytest.raises(DataError, match="several token types"):
        join([one, wide], tmp_path / "ours")
    with pytest.raises(DataError, match="is one of the shards"):
        join([one, wide], one)


def test_sources_are_joined_under_a_name(tmp_path: Path):
    prefixes = [write_shard(tmp_path / n, 1, source=n) for n in ("one", "two")]
    with pytest.raises(DataError, match="name the joined source with --source"):
        join(prefixes, tmp_path / "ours")
    join(prefixes, tmp_path / "ours", source="both")
    assert Manifest.load(tmp_path / "ours.manifest.json").source == "both"


@pytest.mark.parametrize("has_manifests", [True, False])
def test_the_tool_takes_megatrons_flags(tmp_path: Path, has_manifests: bool):
    folder = tmp_path / "in"
    folder.mkdir()
    prefixes = [write_shard(folder / f"s{n}", n) for n in (1, 2)]
    if not has_manifests:
        for path in (*folder.glob("*.json"), *folder.glob("*.blocks")):
            path.unlink()
    tool = [sys.executable, str(ROOT / "tools/merge_shards.py"), "--input", str(folder)]
    command = [*tool, "--output-prefix", str(tmp_path / "ours")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    megatron_merge(prefixes, tmp_path / "theirs")
    require_same_pair(tmp_path / "ours", tmp_path / "theirs")
    assert shard_file(tmp_path / "ours", ".manifest.json").exists() == has_manifests
    (folder / "s2.bin").unlink()
    alone = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert alone.returncode == 2
    assert "s2: .bin and .idx are wanted" in alone.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
