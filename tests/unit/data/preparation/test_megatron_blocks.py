"""The drop-in for Megatron-LM's preprocess_data.py against its path with megatron-core itself."""

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import tokenizers
import zstandard

from megatron_codemix import workers
from megatron_codemix.data.preparation import megatron_blocks
from megatron_codemix.data.preparation.megatron_blocks import (
    WrittenKey,
    megatron_dtype,
    preprocess,
)
from megatron_codemix.data.preparation.megatron_flags import REFUSED, Request, read_flags
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import END_OF_DOCUMENT
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.files import read_jsonl
from tests.helpers.megatron_core import import_megatron

ROOT = Path(__file__).parents[4]
WORDS = ("alpha", "beta", "gamma", "value", "return", "import", "\u00e9t\u00e9", "\ua7cf", "  ")


def records(count: int, seed: int = 3) -> list[dict[str, Any]]:
    numbers = random.Random(seed)
    return [
        {
            "text": " ".join(numbers.choices(WORDS, k=numbers.randrange(1, 60)))
            + (END_OF_DOCUMENT if number % 11 == 0 else ""),
            "title": f"title {number}",
            "id": f"r{number}",
            "licence": "MIT" if number % 3 else None,
        }
        for number in range(count)
    ]


def lines_of(entries: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


@pytest.fixture(scope="module")
def indexed_dataset() -> Any:
    return import_megatron("megatron.core.datasets.indexed_dataset")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "text.jsonl").write_bytes(lines_of(records(60)))
    return train_tokenizer(folder / "corpus", 300, folder / "tokenizer.json").path


def megatron(
    module: Any, entries: Sequence[dict[str, Any]], key: str, content: str, out: Path, eod: bool
) -> None:
    """Encoder.encode and Partition.process_json_file of Megatron-LM's tool, with `tokenizers`."""
    backend = tokenizers.Tokenizer.from_str(content)
    builder = module.IndexedDatasetBuilder(
        f"{out}.bin", dtype=module.DType.optimal_dtype(backend.get_vocab_size())
    )
    for entry in entries:
        ids = backend.encode(entry[key], add_special_tokens=False).ids
        if ids and eod:
            ids.append(backend.token_to_id(END_OF_DOCUMENT))
        builder.add_document(ids, [len(ids)])
    builder.finalize(f"{out}.idx")


def request(tokenizer: Path, folder: Path, *flags: str) -> Request:
    return read_flags(_flags(tokenizer, folder, *flags))


def _flags(tokenizer: Path, folder: Path, *flags: str) -> list[str]:
    return [
        *("--output-prefix", str(folder / "ours"), "--workers", "1"),
        *("--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(tokenizer)),
        *flags,
    ]


def run(asked: Request, block_bytes: int = 3000) -> list[WrittenKey]:
    return preprocess(
        asked.files,
        asked.tokenizer,
        asked.output_prefix,
        keys=asked.keys,
        appends_eod=asked.appends_eod,
        num_workers=asked.num_workers,
        block_bytes=block_bytes,
        advance=lambda num_bytes: None,
    )


def write_inputs(folder: Path, entries: list[dict[str, Any]]) -> Path:
    """A folder with every format; read in the order of names."""
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines_of(entries[:40]))
    (folder / "b.json.gz").write_bytes(gzip.compress(lines_of(entries[40:80])))
    (folder / "c.ndjson.zst").write_bytes(
        zstandard.ZstdCompressor().compress(lines_of(entries[80:120]))
    )
    table = pyarrow.Table.from_pylist(entries[120:])
    pyarrow.parquet.write_table(table, folder / "d.parquet", row_group_size=9)
    (folder / "README.md").write_text("not data")
    return folder


@pytest.mark.parametrize("flags", [["--append-eod"], []])
def test_bytes_are_megatrons(
    tmp_path: Path, tokenizer: Path, indexed_dataset: Any, flags: list[str]
):
    entries = records(150)
    place = str(write_inputs(tmp_path / "in", entries))
    asked = request(tokenizer, tmp_path, "--input", place, "--json-keys", "text", "title", *flags)
    written = run(asked)
    content = tokenizer.read_text()
    for shard, key in zip(written, ("text", "title"), strict=True):
        assert shard.prefix == tmp_path / f"ours_{key}_document"
        theirs = tmp_path / f"theirs_{key}"
        megatron(indexed_dataset, entries, key, content, theirs, eod=bool(flags))
        for suffix in (".bin", ".idx"):
            ours = shard_file(shard.prefix, suffix).read_bytes()
            assert ours == shard_file(theirs, suffix).read_bytes()
        dataset = indexed_dataset.IndexedDataset(str(shard.prefix), mmap=True)
        assert len(dataset) == shard.num_documents == 150
        assert (dataset[7][-1] == asked.tokenizer.end_of_document_id) == bool(flags)
    assert not list(tmp_path.glob(".ours*"))


def test_codemix_reads_what_ends_with_its_token(tmp_path: Path, tokenizer: Path):
    entries = records(150)
    place = str(write_inputs(tmp_path / "in", entries))
    (written,) = run(request(tokenizer, tmp_path, "--input", place, "--append-eod"))
    shard = TokenShard.open(written.prefix)
    lines = read_jsonl(shard_file(written.prefix, ".documents.jsonl"))
    assert [line["id"] for line in lines] == [entry["id"] for entry in entries]
    assert [line["bytes"] for line in lines] == [len(e["text"].encode()) for e in entries]
    assert [line["tokens"] for line in lines] == shard.lengths.tolist()
    assert shard.manifest.num_bytes == sum(line["bytes"] for line in lines)
    assert shard.manifest.licences == {"MIT": 100, "unknown": 50}
    (plain,) = run(request(tokenizer, tmp_path, "--input", place))
    assert not shard_file(plain.prefix, ".manifest.json").exists()


@pytest.mark.parametrize("flags", [["--append-eod"], []])
def test_the_tool_says_what_follows_where_documents_have_no_ends(
    tmp_path: Path, tokenizer: Path, flags: list[str]
):
    (tmp_path / "in.jsonl").write_bytes(lines_of(records(5)))
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "tools/preprocess_data.py")),
            *("--input", str(tmp_path / "in.jsonl"), "--output-prefix", str(tmp_path / "ours")),
            *("--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(tokenizer)),
            *("--workers", "1", *flags),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    has_manifest = (tmp_path / "ours_text_document.manifest.json").exists()
    assert has_manifest == bool(flags)
    assert ("no manifest: without --append-eod" in done.stdout) != has_manifest


@pytest.mark.parametrize("has_one_thread", [True, False])
def test_any_number_of_workers_writes_the_same(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch, has_one_thread: bool
):
    monkeypatch.setattr(workers, "_has_one_thread", lambda: has_one_thread)  # forked, or anew
    place = str(write_inputs(tmp_path / "in", records(150)))
    contents = []
    for num_workers in ("1", "3"):
        folder = tmp_path / num_workers
        folder.mkdir()
        flags = ("--input", place, "--append-eod", "--workers", num_workers)
        (written,) = run(request(tokenizer, folder, *flags), block_bytes=500)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert not written.was_complete
    assert contents[0] == contents[1]


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path, tokenizer: Path):
    """Each worker that is started anew imports the script and would begin all over again."""
    place = write_inputs(tmp_path / "in", records(150))
    script = tmp_path / "script.py"
    script.write_text(
        f"""\
import threading
from pathlib import Path

from megatron_codemix.data.preparation.megatron_blocks import preprocess
from megatron_codemix.data.preparation.megatron_flags import read_flags

threading.Thread(target=threading.Event().wait, daemon=True).start()
asked = read_flags({_flags(tokenizer, tmp_path, "--input", str(place), "--workers", "2")})
preprocess(
    asked.files, asked.tokenizer, asked.output_prefix, keys=asked.keys,
    appends_eod=asked.appends_eod, num_workers=2, block_bytes=500, advance=print,
)
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'call this below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_a_finished_shard_is_left_until_its_input_changes(tmp_path: Path, tokenizer: Path):
    place = write_inputs(tmp_path / "in", records(150))
    asked = request(tokenizer, tmp_path, "--input", str(place), "--append-eod")
    (first,) = run(asked)
    (again,) = run(asked)
    assert (first.was_complete, again.was_complete) == (False, True)
    (place / "a.jsonl").write_bytes(lines_of(records(7)))
    (changed,) = run(request(tokenizer, tmp_path, "--input", str(place), "--append-eod"))
    assert (changed.was_complete, changed.num_documents) == (False, 117)


def test_documents_without_text_are_left_out_and_counted(tmp_path: Path, tokenizer: Path):
    entries = [{"text": "a"}, {"text": ""}, {"text": None}, {"body": "c"}, {"text": "b"}]
    (tmp_path / "a.jsonl").write_bytes(lines_of(entries))
    flags = ("--input", str(tmp_path / "a.jsonl"), "--append-eod")
    (written,) = run(request(tokenizer, tmp_path, *flags))
    assert (written.num_documents, written.num_empty) == (2, 3)


def test_a_key_that_no_record_has_is_refused(tmp_path: Path, tokenizer: Path):
    (tmp_path / "a.jsonl").write_bytes(lines_of([{"text": None, "body": "a"}, {"id": 1}]))
    with pytest.raises(
        DataError,
        match="no text in field 'text' of 2 records; the records have text, body, id; "
        "name the right field with --json-keys",
    ):
        run(request(tokenizer, tmp_path, "--input", str(tmp_path / "a.jsonl")))
    assert [path.name for path in tmp_path.glob("*ours*")] == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": ["a", "b"]}, "a list in field 'text'"),
        ({"text": 3}, "the record at 2 has a number in field 'text'"),
        ({"text": "\ud800"}, "the record at 2 is not UTF-8"),
    ],
)
def test_a_record_without_text_is_refused(
    tmp_path: Path, tokenizer: Path, record: dict[str, Any], message: str
):
    (tmp_path / "a.jsonl").write_bytes(lines_of([{"text": "a"}, record]))
    with pytest.raises(DataError, match=message):
        run(request(tokenizer, tmp_path, "--input", str(tmp_path / "a.jsonl")))
    assert not list(tmp_path.glob("ours*"))


def test_types_are_megatrons(indexed_dataset: Any):
    for size in (300, 65_499, 65_500, 65_535, 65_536, 200_000):
        assert megatron_dtype(size) == np.dtype(indexed_dataset.DType.optimal_dtype(size))


def test_gpt2s_files_are_a_tokenizer(tmp_path: Path, tokenizer: Path, indexed_dataset: Any):
    model = json.loads(tokenizer.read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    entries = records(60)
    (tmp_path / "a.jsonl").write_bytes(lines_of(entries))
    asked = read_flags(
        [
            *("--input", str(tmp_path / "a.jsonl"), "--output-prefix", str(tmp_path / "ours")),
            *("--tokenizer-type", "GPT2BPETokenizer", "--workers", "1", "--append-eod"),
            *("--vocab-file", str(tmp_path / "vocab.json")),
            *("--merge-file", str(tmp_path / "merges.txt")),
        ]
    )
    (written,) = run(asked)
    backend = tokenizers.ByteLevelBPETokenizer(
        str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
    )
    backend.add_special_tokens([END_OF_DOCUMENT])
    theirs = tmp_path / "theirs"
    megatron(indexed_dataset, entries, "text", backend.to_str(), theirs, eod=True)
    for suffix in (".bin", ".idx"):
        ours = shard_file(written.prefix, suffix).read_bytes()
        assert ours == shard_file(theirs, suffix).read_bytes()


def test_the_end_of_document_is_the_tokenizers_end_of_sequence(tmp_path: Path, tokenizer: Path):
    record = json.loads(tokenizer.read_text())
    record["added_tokens"].append({**record["added_tokens"][0], "id": 300, "content": "<|end|>"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(record))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|end|>"}}')
    (tmp_path / "a.jsonl").write_bytes(lines_of(records(3)))
    asked = request(tmp_path, tmp_path, "--input", str(tmp_path / "a.jsonl"), "--append-eod")
    assert asked.tokenizer.end_of_document_id == 300


@pytest.mark.parametrize("flag", REFUSED)
def test_a_flag_without_meaning_is_refused_by_name(tmp_path: Path, tokenizer: Path, flag: str):
    with pytest.raises(ConfigError) as caught:
        request(tokenizer, tmp_path, "--input", "x", flag, "7")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [flag]


def test_all_problems_are_named_together(tmp_path: Path, tokenizer: Path):
    flags = ("--tokenizer-type", "BertWordPieceCase", "--lang", "english", "--partitions", "3")
    with pytest.raises(ConfigError) as caught:
        request(tokenizer, tmp_path, "--input", "x", *flags)
    text = str(caught.value)
    assert all(name in text for name in ("--lang", "BertWordPieceCase", "--partitions 3"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path, tokenizer: Path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match=r"a\.txt: not JSON lines or Parquet by its name"):
        request(tokenizer, tmp_path, "--input", str(tmp_path / "a.txt"))


def test_a_damaged_block_of_a_worker_is_named_here(tmp_path: Path, tokenizer: Path):
    (tmp_path / "a.jsonl").write_bytes(lines_of(records(40)) + b"{broken\n")
    flags = ("--input", str(tmp_path / "a.jsonl"), "--workers", "2")
    with pytest.raises(DataError, match=r"a\.jsonl: line 41 is not JSON"):
        run(request(tokenizer, tmp_path, *flags))
    assert megatron_blocks.BLOCK_BYTES > 3000  # so that here were several blocks
