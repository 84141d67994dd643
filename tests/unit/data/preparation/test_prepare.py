"""Preparation: the same bytes whatever the corpus order, and whatever kills it on the way."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.split import split_of
from megatron_codemix.data.preparation import sorted_shards
from megatron_codemix.data.preparation.blocks import WHOLE, BlockJob, Part
from megatron_codemix.data.preparation.corpus_blocks import CorpusEncoder
from megatron_codemix.data.preparation.prepare import PreparedCorpus, prepare_corpus
from megatron_codemix.data.preparation.sorted_shards import merge_parts, shard_prefix
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import END_OF_DOCUMENT, Tokenizer
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import DataError, UnavailableError
from megatron_codemix.files import read_jsonl
from megatron_codemix.workers import run_tasks
from tests.helpers.kills import contents, killed_again_and_again

FRACTION = 0.2
BLOCK_BYTES = 2_000  # several blocks a source
WORDS = ("alpha", "beta", "gamma", "value", "return", "print", "import", "some", "of", "the")


def records(source: str, count: int, seed: int = 3) -> list[dict[str, str]]:
    numbers = random.Random(f"{seed} {source}")
    return [
        {
            "id": f"{source}/{number}",
            # Two documents an origin, and origins that both sources have.
            "origin": f"file{number // 2}",
            "text": " ".join(numbers.choices(WORDS, k=numbers.randrange(5, 40))) + f" {number}",
            "path": f"{source}/file{number // 2}",
            "licence": "MIT" if number % 3 else "",
        }
        for number in range(count)
    ]


def write_source(folder: Path, source: str, entries: list[dict[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / f"{source}.jsonl").write_text(lines)


def write_corpus(folder: Path) -> Path:
    write_source(folder, "code", records("code", 60))
    write_source(folder, "text", records("text", 90))
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(write_corpus(folder / "corpus"), 300, folder / "tokenizer.json").path


def prepare(corpus: Path, tokenizer: Path, out: Path, **options: object) -> PreparedCorpus:
    return prepare_corpus(
        corpus,
        tokenizer,
        out,
        **{"validation_fraction": FRACTION, "block_bytes": BLOCK_BYTES, **options},  # type: ignore[arg-type]
    )


def documents_of(prefix: Path) -> list[dict[str, object]]:
    return read_jsonl(shard_file(prefix, ".documents.jsonl"))


def test_every_document_is_in_its_split_once(tmp_path: Path, tokenizer: Path):
    prepare(write_corpus(tmp_path / "corpus"), tokenizer, tmp_path / "out")
    reader = Tokenizer.load(tokenizer)
    for source, count in (("code", 60), ("text", 90)):
        wanted = {entry["id"]: entry for entry in records(source, count)}
        seen = []
        for split in ("train", "validation"):
            prefix = shard_prefix(tmp_path / "out", source, split)
            shard, lines = TokenShard.open(prefix), documents_of(prefix)
            assert shard.num_documents == len(lines) > 0
            assert shard.manifest.num_bytes == sum(line["bytes"] for line in lines)
            assert shard.manifest.licences == Counter(
                line["licence"] or "unknown" for line in lines
            )
            for number, line in enumerate(lines):
                entry = wanted[line["id"]]
                tokens = shard.document(number)
                assert tokens[-1] == reader.end_of_document_id
                assert reader.decode(tokens[:-1]) == entry["text"]
                assert (line["tokens"], line["bytes"]) == (len(tokens), len(entry["text"]))
                assert split_of(entry["origin"], FRACTION) == split
                seen.append(line["id"])
        assert sorted(seen) == sorted(wanted)


def test_no_origin_is_in_both_splits_of_any_source(tmp_path: Path, tokenizer: Path):
    prepare(write_corpus(tmp_path / "corpus"), tokenizer, tmp_path / "out")
    origins = {
        split: {
            line["origin"]
            for source in ("code", "text")
            for line in documents_of(shard_prefix(tmp_path / "out", source, split))
        }
        for split in ("train", "validation")
    }
    assert origins["train"] & origins["validation"] == set()


def test_the_order_of_the_corpus_does_not_matter(tmp_path: Path, tokenizer: Path):
    prepare(write_corpus(tmp_path / "corpus"), tokenizer, tmp_path / "one")
    entries = records("text", 90)
    random.Random(1).shuffle(entries)
    write_source(tmp_path / "shuffled", "text", entries)
    prepare(tmp_path / "shuffled", tokenizer, tmp_path / "two")
    for split in ("train", "validation"):
        for suffix in (".bin", ".idx", ".documents.jsonl"):
            first = shard_file(shard_prefix(tmp_path / "one", "text", split), suffix)
            second = shard_file(shard_prefix(tmp_path / "two", "text", split), suffix)
            assert first.read_bytes() == second.read_bytes()


def test_added_documents_move_none_to_the_other_split_or_past_another(
    tmp_path: Path, tokenizer: Path
):
    write_source(tmp_path / "few", "text", records("text", 90)[:50])
    write_source(tmp_path / "many", "text", records("text", 90))
    prepare(tmp_path / "few", tokenizer, tmp_path / "one")
    prepare(tmp_path / "many", tokenizer, tmp_path / "two")
    for split in ("train", "validation"):
        few, many = (
            [line["id"] for line in documents_of(shard_prefix(tmp_path / out, "text", split))]
            for out in ("one", "two")
        )
        assert [name for name in many if name in set(few)] == few


def test_documents_are_shuffled(tmp_path: Path, tokenizer: Path):
    prepare(write_corpus(tmp_path / "corpus"), tokenizer, tmp_path / "out")
    lines = documents_of(shard_prefix(tmp_path / "out", "text", "train"))
    numbers = [int(str(line["id"]).split("/")[1]) for line in lines]
    assert abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.4


PREPARE = """
from pathlib import Path
from megatron_codemix.data.preparation.prepare import prepare_corpus

def run(corpus, tokenizer, out, fraction, block):
    prepare_corpus(Path(corpus), Path(tokenizer), Path(out), validation_fraction=float(fraction),
                   block_bytes=int(block))
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_random_points_change_no_byte(tmp_path: Path, tokenizer: Path, seed: int):
    corpus = write_corpus(tmp_path / "corpus")
    prepare(corpus, tokenizer, tmp_path / "undisturbed")
    points = random.Random(seed).choices(range(1, 60), k=6)
    arguments = (corpus, tokenizer, tmp_path / "out", FRACTION, BLOCK_BYTES)
    assert killed_again_and_again(PREPARE, arguments, tmp_path / "out", points) >= 1
    prepare(corpus, tokenizer, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_workers_and_parts_give_the_bytes_of_one_process(
    tmp_path: Path, tokenizer: Path, suffix: str
):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_as(corpus / f"text.{suffix}", records("text", 90))
    prepare(corpus, tokenizer, tmp_path / "one")
    prepare(corpus, tokenizer, tmp_path / "two", num_workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    for number in (2, 0, 1):
        done = prepare(corpus, tokenizer, tmp_path / "parts", part=Part(number, 3))
        assert (done.shards, done.waiting) == ({}, ["text"])
        if number != 1:
            with pytest.raises(DataError, match=r"of 3 parts, .* missing"):
                merge_parts(tmp_path / "parts")
    merge_parts(tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "one")


def write_as(path: Path, entries: list[dict[str, str]]) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
    if path.suffix == ".parquet":
        table = pyarrow.Table.from_pylist(entries)
        pyarrow.parquet.write_table(table, path, row_group_size=11)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines))
    elif path.suffix == ".zst":
        path.write_bytes(zstandard.ZstdCompressor().compress(lines))
    else:
        path.write_bytes(lines)


def test_many_blocks_are_merged_in_levels(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = write_corpus(tmp_path / "corpus")
    prepare(corpus, tokenizer, tmp_path / "one")
    monkeypatch.setattr(sorted_shards, "_MAX_RUNS", 3)
    prepare(corpus, tokenizer, tmp_path / "levels", block_bytes=500)
    assert contents(tmp_path / "levels") == contents(tmp_path / "one")


def test_equal_texts_stand_in_one_order(tmp_path: Path, tokenizer: Path):
    entries = [{**entry, "text": "the same"} for entry in records("text", 40)]
    write_source(tmp_path / "corpus", "text", entries)
    write_source(tmp_path / "turned", "text", entries[::-1])
    for name in ("corpus", "turned"):
        prepare(tmp_path / name, tokenizer, tmp_path / f"{name}-out", block_bytes=300)
    one, two = (
        documents_of(shard_prefix(tmp_path / f"{name}-out", "text", "train"))
        for name in ("corpus", "turned")
    )
    assert one == two


def test_what_is_left_out_is_counted_once(
    tmp_path: Path, tokenizer: Path, caplog: pytest.LogCaptureFixture
):
    write_source(tmp_path / "corpus", "text", records("text", 90))
    with open(tmp_path / "corpus" / "text.jsonl", "ab") as lines:
        lines.write(b'{"text": "\xff"}\n{"text": " \\n"}\n{"text": "\\ud800"}\n')
    for workers in (1, 2):
        done = prepare(tmp_path / "corpus", tokenizer, tmp_path / str(workers), num_workers=workers)
        assert done.skipped == {"not UTF-8": 2, "empty": 1}
    assert sum("2 records skipped, not UTF-8 (text.jsonl@" in text for text in caplog.messages) == 2


def test_a_worker_that_dies_ends_the_command(tmp_path: Path, tokenizer: Path):
    write_source(tmp_path / "corpus", "text", records("text", 90))
    file = InputFile(tmp_path / "corpus" / "text.jsonl", "text.jsonl")
    encoder = KillsItsProcess(Tokenizer.load(tokenizer), "text", FRACTION, "text", "origin")
    job = BlockJob((file,), encoder, tmp_path / "work", 1000)
    with pytest.raises(UnavailableError, match=r"a worker ended .*exit code -9"):
        run_tasks(job, job.tasks(WHOLE, 2), 2, lambda num_bytes: None)


class KillsItsProcess(CorpusEncoder):
    def write_block(self, *block: object) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def test_finished_sources_are_skipped_until_an_input_changes(tmp_path: Path, tokenizer: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    first = prepare(corpus, tokenizer, out)
    assert first.finished_before == []
    before = contents(out)
    again = prepare(corpus, tokenizer, out)
    assert again.finished_before == ["code", "text"]
    assert again.shards == first.shards
    assert contents(out) == before
    write_source(corpus, "code", records("code", 61))
    assert prepare(corpus, tokenizer, out).finished_before == ["text"]
    assert prepare(corpus, tokenizer, out, validation_fraction=0.3).finished_before == []


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".documents.jsonl", ".manifest.json"])
def test_a_damaged_or_missing_file_is_made_again(tmp_path: Path, tokenizer: Path, suffix: str):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    prepare(corpus, tokenizer, out)
    before = contents(out)
    path = shard_file(shard_prefix(out, "code", "train"), suffix)
    path.write_bytes(path.read_bytes()[:-5])
    assert prepare(corpus, tokenizer, out).finished_before == ["text"]
    assert contents(out) == before
    path.unlink()
    prepare(corpus, tokenizer, out)
    assert contents(out) == before


def test_a_document_cannot_end_itself(tmp_path: Path, tokenizer: Path):
    text = f"before {END_OF_DOCUMENT} after"
    write_source(tmp_path / "corpus", "text", [{"id": "a", "text": text}])
    prepare(tmp_path / "corpus", tokenizer, tmp_path / "out", validation_fraction=0)
    shard = TokenShard.open(shard_prefix(tmp_path / "out", "text", "train"))
    ends = shard.document(0) == Tokenizer.load(tokenizer).end_of_document_id
    assert ends.tolist() == [False] * (len(ends) - 1) + [True]
    assert not shard_file(shard_prefix(tmp_path / "out", "text", "validation"), ".bin").exists()


def test_a_vocabulary_above_65535_gives_int32(tmp_path: Path, tokenizer: Path):
    record = json.loads(tokenizer.read_text())
    vocabulary = record["model"]["vocab"]
    vocabulary |= {f"entry{number}": number for number in range(len(vocabulary), 65_536)}
    (tmp_path / "large.json").write_text(json.dumps(record))
    corpus = write_corpus(tmp_path / "corpus")
    prepare(corpus, tokenizer, tmp_path / "small")
    prepare(corpus, tmp_path / "large.json", tmp_path / "large")
    small, large = (
        TokenShard.open(shard_prefix(tmp_path / out, "code", "train")) for out in ("small", "large")
    )
    assert (small.dtype, large.dtype) == (np.uint16, np.int32)
    assert np.array_equal(small.tokens(0, small.num_tokens), large.tokens(0, large.num_tokens))


def test_a_source_without_held_out_documents_is_refused(tmp_path: Path, tokenizer: Path):
    write_source(tmp_path / "corpus", "text", [{"id": "a", "origin": "a", "text": "words"}])
    with pytest.raises(DataError, match="'text' has no validation document"):
        prepare(tmp_path / "corpus", tokenizer, tmp_path / "out", validation_fraction=0.01)


def test_an_empty_source_is_refused(tmp_path: Path, tokenizer: Path):
    write_source(tmp_path / "corpus", "text", [])
    with pytest.raises(DataError, match="'text' has no train document"):
        prepare(tmp_path / "corpus", tokenizer, tmp_path / "out")


def test_all_small_sources_are_named_before_anything_is_made(
    tmp_path: Path, tokenizer: Path, caplog: pytest.LogCaptureFixture
):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    prepare(corpus, tokenizer, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    write_source(corpus, "code", records("code", 80))  # large enough
    for source in ("text", "wiki"):
        write_source(corpus, source, [{"id": source, "text": "words"}, {"id": source, "text": ""}])
    with pytest.raises(DataError) as refused:
        prepare(corpus, tokenizer, out)
    for line, source in zip(str(refused.value).splitlines(), ("text", "wiki"), strict=True):
        assert line.startswith(f"{corpus / source}.jsonl: source '{source}' has no validation")
        assert "(documents: {'train': 1, 'validation': 0}, empty: 1, validation fraction" in line
        assert line.endswith("change --validation-fraction (0 holds nothing out)")
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert "is replaced" not in caplog.text
    prepare(corpus, tokenizer, out, validation_fraction=0)
    replaced = [text for text in caplog.messages if "is replaced" in text]
    assert [Path(text.partition(":")[0]).name for text in replaced] == ["code.train", "text.train"]


def write_with_nulls(corpus: Path, texts: list[str | None], form: str) -> None:
    corpus.mkdir()
    if form == "parquet":
        table = pyarrow.table({"text": pyarrow.array(texts, pyarrow.string()), "lang": texts})
        pyarrow.parquet.write_table(table, corpus / "text.parquet")
        return
    lines = [json.dumps({"text": text, "lang": text}) + "\n" for text in texts]
    (corpus / "text.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_null_text_is_empty_text_and_nothing_but_null_is_refused(
    tmp_path: Path, tokenizer: Path, form: str, caplog: pytest.LogCaptureFixture
):
    """The same in the tokenizer's training and in the preparation."""
    texts: list[str | None] = [None, "", *(f"word {n}" for n in range(50)), None]
    write_with_nulls(tmp_path / "some", texts, form)
    done = prepare(tmp_path / "some", tokenizer, tmp_path / "out")
    assert done.skipped == {"empty": 3}
    assert sum(entry.num_documents for entry in done.shards["text"].values()) == 50
    train_tokenizer(tmp_path / "some", 257, tmp_path / "tokenizer.json")
    assert "source text: records skipped, empty: 3 (text." in caplog.text
    write_with_nulls(tmp_path / "all", [None, None], form)
    for refused in (
        lambda: prepare(tmp_path / "all", tokenizer, tmp_path / "none"),
        lambda: train_tokenizer(tmp_path / "all", 257, tmp_path / "no.json"),
    ):
        with pytest.raises(DataError, match="no text in field 'text' of 2 records; the records "
                                            "have text, lang"):  # fmt: skip
            refused()


def test_a_wrong_column_is_named_with_those_that_are_there(tmp_path: Path, tokenizer: Path):
    write_with_nulls(tmp_path / "corpus", ["a", "b"], "parquet")
    for refused in (
        lambda: prepare(tmp_path / "corpus", tokenizer, tmp_path / "out", text_field="body"),
        lambda: train_tokenizer(tmp_path / "corpus", 257, tmp_path / "t.json", text_field="body"),
    ):
        with pytest.raises(DataError, match="no column 'body'; it has text, lang"):
            refused()


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "parquet"])
def test_a_record_is_named_by_the_number_of_its_line_or_row(
    tmp_path: Path, tokenizer: Path, form: str
):
    """As all other commands count: from one, empty lines too."""
    turns = [{"role": role, "content": "words"} for role in ("user", "assistant")]
    chats = [{"text": None, "metadata": {"messages": turns}}] * 3
    chats.append({"text": "x", "metadata": {"messages": None}})
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "corpus" / f"text.{form}"
    write_spaced(path, chats)
    number = 4 if form == "parquet" else 7
    with pytest.raises(DataError, match=rf"text\.{form}: the record at {number}: is no conv"):
        prepare(tmp_path / "corpus", tokenizer, tmp_path / "out", validation_fraction=0)
    if form != "parquet":  # a column is all numbers or all text
        write_spaced(path, [*[{"text": "words " * 200}] * 3, {"text": 5}])
        with pytest.raises(DataError, match="the record at 7 has a number in field 'text'"):
            prepare(tmp_path / "corpus", tokenizer, tmp_path / "out", validation_fraction=0)


def write_spaced(path: Path, entries: list[dict[str, Any]]) -> None:
    """With an empty line between two lines; of Parquet, two rows a group."""
    content = "\n\n".join(map(json.dumps, entries)).encode()
    if path.suffix == ".parquet":
        table = pyarrow.Table.from_pylist(entries)
        pyarrow.parquet.write_table(table, path, row_group_size=2)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_a_file_without_utf8_says_so(tmp_path: Path, tokenizer: Path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.jsonl").write_bytes(b'{"text": "\xe9"}\n' * 3)
    for refused in (
        lambda: prepare(tmp_path / "corpus", tokenizer, tmp_path / "out"),
        lambda: train_tokenizer(tmp_path / "corpus", 257, tmp_path / "t.json"),
    ):
        with pytest.raises(DataError, match="not UTF-8: 3"):
            refused()


def test_bad_arguments_are_refused(tmp_path: Path, tokenizer: Path):
    corpus = write_corpus(tmp_path / "corpus")
    with pytest.raises(DataError, match="'prose'; it has code, text"):
        prepare(corpus, tokenizer, tmp_path / "out", sources=["prose"])
    with pytest.raises(DataError, match="0 <= fraction < 1"):
        prepare(corpus, tokenizer, tmp_path / "out", validation_fraction=1.0)
    with pytest.raises(DataError, match="no such corpus folder"):
        prepare(tmp_path / "nothing", tokenizer, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no source"):
        prepare(tmp_path / "empty", tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_little_disk_is_refused_before_anything_is_written(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = write_corpus(tmp_path / "corpus")
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(UnavailableError, match="token shards needs about"):
        prepare(corpus, tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_may_have_seen_held_out_text_is_warned_of(
    tmp_path: Path, tokenizer: Path, caplog: pytest.LogCaptureFixture
):
    corpus = write_corpus(tmp_path / "corpus")
    prepare(corpus, tokenizer, tmp_path / "less", validation_fraction=0.05)
    prepare(corpus, Path(shutil.copy(tokenizer, tmp_path / "bare.json")), tmp_path / "bare")
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    prepare(corpus, tokenizer, tmp_path / "more", validation_fraction=0.2)
    (warning,) = [text for text in caplog.messages if "held-out" in text]
    assert str(tokenizer) in warning
    assert "fraction 0.05, the shards are made with 0.2" in warning


def test_that_warning_is_on_standard_error(tmp_path: Path, tokenizer: Path):
    corpus = write_corpus(tmp_path / "corpus")
    command = ["data", "prepare", corpus, "--tokenizer", tokenizer, "--out", tmp_path / "out"]
    run = "import sys; from megatron_codemix.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", run, *map(str, command), "--validation-fraction", "0.2"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("may have seen held-out text") == 1


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, tokenizer: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="a folder is wanted for the token shards"):
        prepare(write_corpus(tmp_path / "corpus"), tokenizer, tmp_path / "out")


def write_in_parts(folder: Path, source: str, entries: list[dict[str, str]]) -> None:
    """In parts of all forms, one of them empty."""
    (folder / source).mkdir(parents=True)
    suffixes = ["jsonl.zst", "parquet", "jsonl", "jsonl.gz", "jsonl.zst"]
    for number, suffix in enumerate(suffixes):
        write_as(folder / source / f"part-{number:05d}.{suffix}", entries[number::5])
    write_as(folder / source / "part-00005.jsonl.zst", [])


@pytest.mark.parametrize(("num_workers", "parts"), [(1, 1), (2, 1), (1, 2), (1, 13)])
def test_parts_of_a_source_are_prepared_as_one_file(
    tmp_path: Path, tokenizer: Path, num_workers: int, parts: int
):
    """Dealt to fewer parts of the work than there are files, or to more."""
    prepare(write_corpus(tmp_path / "corpus"), tokenizer, tmp_path / "one")
    for source, count in (("code", 60), ("text", 90)):
        write_in_parts(tmp_path / "parts", source, records(source, count))
    trained = train_tokenizer(tmp_path / "parts", 300, tmp_path / "tokenizer.json")
    assert trained.path.read_bytes() == tokenizer.read_bytes()
    for number in range(parts):
        prepare(
            tmp_path / "parts",
            tokenizer,
            tmp_path / "out",
            num_workers=num_workers,
            part=Part(number, parts),
        )
    if parts > 1:
        merge_parts(tmp_path / "out")
    one, out = contents(tmp_path / "one"), contents(tmp_path / "out")
    assert out.keys() == one.keys()
    for name, content in one.items():
        if name.endswith(".manifest.json"):
            expected, found = json.loads(content), json.loads(out[name])
            assert found["origin"].pop("corpus_file") == name.split(".")[0]
            for fields in (found, expected):  # what the documents came from, and hashes of that
                fields["origin"].pop("corpus_file", None)
                del fields["origin"]["corpus_sha256"], fields["fields_sha256"]
            assert found == expected
        else:
            assert out[name] == content
    again = prepare(tmp_path / "parts", tokenizer, tmp_path / "out")
    assert again.finished_before == ["code", "text"]
    (tmp_path / "parts" / "code" / "part-00005.jsonl.zst").unlink()
    assert prepare(tmp_path / "parts", tokenizer, tmp_path / "out").finished_before == ["text"]
