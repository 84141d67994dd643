"""Parts of a source: none is missed unnoticed, and what is refused leaves nothing behind."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from megatron_codemix.cli.data import app
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation.blocks import WHOLE, Part
from megatron_codemix.data.preparation.megatron_blocks import preprocess
from megatron_codemix.data.preparation.parts import part_of_source
from megatron_codemix.data.preparation.prepare import PreparedCorpus, prepare_corpus
from megatron_codemix.data.preparation.sorted_shards import PARTIAL, merge_parts
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import DataError
from tests.helpers.corpora import write_corpus

ROOT = Path(__file__).parents[4]
FRACTION = 0.2
SMALL_BLOCK = 1_000  # bytes: some blocks a source


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(write_corpus(folder / "corpus"), 300, folder / "tokenizer.json").path


def prepare(corpus: Path, tokenizer: Path, out: Path, **options: object) -> PreparedCorpus:
    return prepare_corpus(
        corpus,
        tokenizer,
        out,
        **{"validation_fraction": FRACTION, **options},  # type: ignore[arg-type]
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def append_bad_record(corpus: Path, source: str) -> None:
    with open(corpus / f"{source}.jsonl", "a", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "bad", "text": 3}) + "\n")


@pytest.mark.parametrize("first", [0, 1])
def test_a_part_without_blocks_of_its_own_is_missed_too(
    tmp_path: Path, tokenizer: Path, first: int
):
    """Each source is one block, so one of the parts has nothing to do for it."""
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    prepare(corpus, tokenizer, tmp_path / "whole")
    prepare(corpus, tokenizer, out, part=Part(first, 2))
    other = 2 - first
    with pytest.raises(DataError) as refused:
        merge_parts(out)
    for source in ("code", "text"):
        expected = f"source {source!r}: of 2 parts, {first + 1} finished, {other} missing"
        assert expected in str(refused.value)
    assert f"--shard {other}/2" in str(refused.value)
    prepare(corpus, tokenizer, out, part=Part(1 - first, 2))
    merge_parts(out)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_part_of_another_division_does_not_stand_for_one(tmp_path: Path, tokenizer: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    for part in (Part(0, 3), Part(1, 2), Part(1, 3)):
        prepare(corpus, tokenizer, out, part=part)
    with pytest.raises(DataError, match="of 3 parts, 1, 2 finished, 3 missing"):
        merge_parts(out)
    prepare(corpus, tokenizer, out, part=Part(2, 3))
    assert set(merge_parts(out)) == {"code", "text"}


def test_small_sources_are_spread_over_the_parts():
    names = [f"source-{number}" for number in range(200)]
    owners = [
        [number for number in range(4) if part_of_source(Part(number, 4), name).has(0, 0)]
        for name in names
    ]
    assert all(len(found) == 1 for found in owners)
    shares = [sum(found == [number] for found in owners) for number in range(4)]
    assert min(shares) > 30


def test_nothing_is_joined_where_parts_wait(tmp_path: Path, tokenizer: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    prepare(corpus, tokenizer, out, sources=["text"])
    prepare(corpus, tokenizer, out, sources=["code"])
    (corpus / "code.jsonl").write_text((corpus / "text.jsonl").read_text())
    prepare(corpus, tokenizer, out, sources=["code"], part=Part(0, 2))
    shards = [str(out / name) for name in ("code.train", "text.train")]
    join = ["merge", *shards, "--out", str(tmp_path / "both"), "--source", "both"]
    refused = CliRunner().invoke(app, join)
    assert isinstance(refused.exception, DataError)
    assert "parts of code wait in .partial" in str(refused.exception)
    alone = CliRunner().invoke(app, ["merge", shards[1], "--out", str(tmp_path / "text")])
    assert alone.exit_code == 0, "the source has no parts that wait"
    tool = merge_tool(out, tmp_path / "both")
    assert tool.returncode == 2
    assert "parts of code wait in .partial" in tool.stderr


def merge_tool(folder: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools/merge_shards.py"), "--input", str(folder)]
    return subprocess.run(
        [*command, "--output-prefix", str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_tool_does_not_pass_over_what_is_not_finished(tmp_path: Path):
    (tmp_path / ".three.partial-0123456789abcdef").mkdir()
    refused = merge_tool(tmp_path, tmp_path / "out")
    assert refused.returncode == 2
    assert ".three.partial-0123456789abcdef: of a preparation that has not ended" in refused.stderr


@pytest.mark.parametrize("num_workers", [1, 2])
def test_refused_input_leaves_nothing_behind(tmp_path: Path, tokenizer: Path, num_workers: int):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    prepare(corpus, tokenizer, out, sources=["text"])
    before = contents(out)
    append_bad_record(corpus, "code")
    with pytest.raises(DataError, match="has a number in field 'text', not text"):
        prepare(corpus, tokenizer, out, block_bytes=SMALL_BLOCK, num_workers=num_workers)
    assert contents(out) == before
    assert not (out / PARTIAL).exists()


def test_a_split_without_documents_leaves_nothing_behind(tmp_path: Path, tokenizer: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    (corpus / "text.jsonl").unlink()
    for part in (WHOLE, Part(0, 2), Part(1, 2)):
        with pytest.raises(DataError, match="has no validation document"):
            prepare(corpus, tokenizer, out, part=part, validation_fraction=1e-9)
        assert not out.exists()


def test_a_refused_part_is_kept_for_the_others_and_says_so(
    tmp_path: Path, tokenizer: Path, caplog: pytest.LogCaptureFixture
):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    (corpus / "text.jsonl").unlink()
    right = (corpus / "code.jsonl").read_text()
    append_bad_record(corpus, "code")
    for number in (0, 1):  # one of them has the bad record
        with contextlib.suppress(DataError):
            prepare(corpus, tokenizer, out, part=Part(number, 2), block_bytes=SMALL_BLOCK)
    assert any("kept, other parts may be at work there" in text for text in caplog.messages)
    (corpus / "code.jsonl").write_text(right)
    prepare(corpus, tokenizer, out)
    assert not (out / PARTIAL).exists()


def test_a_refused_file_leaves_nothing_beside_megatrons_shard(tmp_path: Path, tokenizer: Path):
    corpus = write_corpus(tmp_path / "corpus")
    append_bad_record(corpus, "text")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="has a number in field 'text', not text"):
        preprocess(
            [InputFile(corpus / name, name) for name in ("code.jsonl", "text.jsonl")],
            Tokenizer.load(tokenizer),
            tmp_path / "out" / "shard",
            keys=["text"],
            appends_eod=True,
            num_workers=1,
            block_bytes=SMALL_BLOCK,
            advance=lambda num_bytes: None,
        )
    assert list((tmp_path / "out").iterdir()) == []
