"""Shards made elsewhere, verification, and the `codemix data` commands on them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from megatron_codemix.cli.data import app
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.preparation.sorted_shards import shard_prefix
from megatron_codemix.data.shards.describe import bytes_to_read, describe_shard
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.verify import find_shards, verify_shards
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_jsonl
from tests.helpers.shards import finish_unchecked

PIECE_TOKENS = 1 << 19
"""Of the .bin, read at once."""
LINES = "".join(
    json.dumps({"id": str(number), "text": f"words and {'more ' * (number % 7)}words {number}"})
    + "\n"
    for number in range(4000)
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with corpus/, tokenizer.json and shards/ of one source."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "text.jsonl").write_text(LINES)
    train_tokenizer(folder / "corpus", 300, folder / "tokenizer.json")
    prepare_corpus(folder / "corpus", folder / "tokenizer.json", folder / "shards")
    return folder


@pytest.fixture
def foreign(prepared: Path, tmp_path: Path) -> Path:
    """Prefix of a shard with .bin and .idx only."""
    for suffix in (".bin", ".idx"):
        shutil.copy(shard_file(prepared / "shards" / "text.train", suffix), tmp_path)
    return tmp_path / "text.train"


def ignore(amount: int) -> None:
    return None


def test_a_described_shard_equals_the_prepared_one(prepared: Path, foreign: Path):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    described = describe_shard(foreign, tokenizer, "text", "train", ignore)
    original = TokenShard.open(shard_prefix(prepared / "shards", "text", "train")).manifest
    assert described.content_hash == original.content_hash
    without = {"origin", "licences"}
    assert described.model_dump(exclude=without) == original.model_dump(exclude=without)
    assert TokenShard.open(foreign).manifest == described
    ours, theirs = (
        read_jsonl(shard_file(prefix, ".documents.jsonl"))
        for prefix in (foreign, prepared / "shards" / "text.train")
    )
    for key in ("bytes", "tokens"):
        assert [line[key] for line in ours] == [line[key] for line in theirs]


def test_documents_that_cross_blocks_are_counted_right(tmp_path: Path, prepared: Path):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    (tokens,) = tokenizer.encode_batch(["many words and more of them "])
    lengths = [PIECE_TOKENS // len(tokens) * copies // 3 for copies in (1, 4, 2, 3)]
    with TokenShardWriter(tmp_path / "a", "uint16") as writer:
        for copies in lengths:
            writer.add_document([*tokens.tolist() * copies, tokenizer.end_of_document_id])
        writer.finish(
            source="text",
            split="train",
            tokenizer_hash=tokenizer.hash,
            vocabulary_size=300,
            end_of_document_id=tokenizer.end_of_document_id,
            num_bytes=0,
            licences={},
            origin={},
        )
    manifest = describe_shard(tmp_path / "a", tokenizer, "text", "train", ignore)
    assert manifest.num_bytes == 28 * sum(lengths)
    lines = read_jsonl(tmp_path / "a.documents.jsonl")
    assert [line["bytes"] for line in lines] == [28 * copies for copies in lengths]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([[5, 6, 0], [7, 8]], "1 of 2 documents do not end"),
        ([[5, 0], []], "1 of 2 documents do not end"),
        ([[5, 300, 0]], "token 1 is 300"),
    ],
)
def test_a_shard_of_another_tokenizer_is_refused(
    tmp_path: Path, prepared: Path, documents: list[list[int]], message: str
):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    with TokenShardWriter(tmp_path / "a", "uint16") as writer:
        for document in documents:
            writer.add_document(document)
        finish_unchecked(
            writer,
            source="text",
            split="train",
            tokenizer_hash="?",
            vocabulary_size=300,
            end_of_document_id=0,
            num_bytes=0,
            licences={},
            origin={},
        )
    with pytest.raises(DataError, match=message):
        describe_shard(tmp_path / "a", tokenizer, "text", "train", ignore, is_replacing=True)


def test_verify_names_every_changed_file(prepared: Path, tmp_path: Path):
    shutil.copytree(prepared / "shards", tmp_path / "shards")
    prefixes = find_shards(tmp_path / "shards")
    assert [result.problems for result in verify_shards(prefixes, ignore)] == [[], []]
    path = tmp_path / "shards" / "text.train.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    lines = tmp_path / "shards" / "text.train.documents.jsonl"
    lines.write_bytes(lines.read_bytes()[:-3])
    problems = verify_shards(prefixes, ignore)[0].problems
    assert len(problems) == 2
    assert "text.train.bin: block 0" in problems[0]
    assert "documents.jsonl: has changed" in problems[1]


def test_verify_names_all_that_is_wrong(prepared: Path, tmp_path: Path):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    end = tokenizer.end_of_document_id
    with TokenShardWriter(tmp_path / "a", "uint16") as writer:
        for number in range(9):
            writer.add_document([5] * 99_999 + [end if number % 4 else 6])
        fields = {"vocabulary_size": 300, "end_of_document_id": end, "num_bytes": 0}
        finish_unchecked(
            writer,
            source="text",
            split="train",
            tokenizer_hash="?",
            licences={},
            origin={},
            **fields,
        )
    (result,) = verify_shards([tmp_path / "a"], ignore)
    assert len(result.problems) == 1
    assert "3 of 9 documents do not end with the end-of-document token" in result.problems[0]
    path = tmp_path / "a.bin"
    data = bytearray(path.read_bytes())
    wrong = [0, 5, 6, 20, 27]
    for block in wrong:
        data[65_536 * block + 9] ^= 1
    path.write_bytes(data)
    counted: list[int] = []
    (result,) = verify_shards([tmp_path / "a"], counted.append, num_threads=3)
    assert len(result.problems) == len(wrong)
    for block, problem in zip(wrong, result.problems, strict=True):
        assert f"a.bin: block {block} (" in problem
    assert sum(counted) == result.num_blocks == 29


def test_commands(prepared: Path, foreign: Path):
    runner = CliRunner()
    tokenizer = ["--tokenizer", str(prepared / "tokenizer.json")]
    dry = runner.invoke(app, ["manifest", str(foreign), *tokenizer, "--source", "x", "--dry-run"])
    assert dry.exit_code == 0
    before = set(foreign.parent.iterdir())
    assert not shard_file(foreign, ".manifest.json").exists()
    done = runner.invoke(app, ["manifest", str(foreign), *tokenizer, "--source", "x", "--json"])
    assert json.loads(done.stdout)["source"] == "x"
    written = [str(path) for path in set(foreign.parent.iterdir()) - before]
    assert sorted(dry.stdout.split("would write")[1].split()) == sorted(written)
    verified = runner.invoke(app, ["verify", str(foreign), "--json"])
    assert json.loads(verified.stdout)["ok"] is True
    inspected = runner.invoke(app, ["inspect", str(foreign), *tokenizer, "--json"])
    summary = json.loads(inspected.stdout)
    assert sum(summary["length_histogram"].values()) == summary["manifest"]["num_documents"]
    assert len(summary["samples"]) == 3
    assert all("words" in sample for sample in summary["samples"])
    plan = runner.invoke(
        app,
        [
            *("prepare", str(prepared / "corpus"), *tokenizer),
            *("--out", str(prepared / "shards"), "--dry-run", "--json"),
        ],
    )
    assert json.loads(plan.stdout)["finished"] == ["text"]


def test_progress_ends_at_its_total(prepared: Path, foreign: Path):
    tokenizer, told = Tokenizer.load(prepared / "tokenizer.json"), list[int]()
    describe_shard(foreign, tokenizer, "text", "train", told.append)
    assert sum(told) == bytes_to_read(foreign)


def test_a_folder_without_manifests_is_answered_with_its_prefixes(prepared: Path, foreign: Path):
    for command in ("inspect", "verify"):
        refused = CliRunner().invoke(app, [command, str(foreign.parent)])
        assert isinstance(refused.exception, DataError)
        assert f"there are {foreign}; `codemix data manifest {foreign} " in str(refused.exception)


def test_inspect_shows_windows_and_folders(prepared: Path):
    runner = CliRunner()
    tokenizer = ["--tokenizer", str(prepared / "tokenizer.json")]
    prefix = prepared / "shards" / "text.train"
    shard = TokenShard.open(prefix)
    shown = runner.invoke(
        app, ["inspect", str(prefix), *tokenizer, "--sequence-length", "100", "--json"]
    )
    summary = json.loads(shown.stdout)
    decode = Tokenizer.load(prepared / "tokenizer.json").decode
    last = (shard.num_tokens - 1) // 100 - 1
    wanted = [shard.tokens(100 * at, 100 * at + 101) for at in (0, last // 2, last)]
    assert summary["samples"] == [decode(window) for window in wanted]
    lengths = np.diff(np.append(shard.offsets, shard.num_tokens))
    assert summary["length_percentiles"]["50"] == np.median(lengths)
    assert summary["mean_length"] == lengths.mean()
    assert summary["packing"]["num_cut"] == np.count_nonzero(lengths > 100)
    text = runner.invoke(app, ["inspect", str(prefix), "--sequence-length", "100"]).stdout
    assert f"packed by best fit: {summary['packing']['num_rows']} samples, " in text
    folder = runner.invoke(app, ["inspect", str(prepared / "shards"), "--json"])
    records = json.loads(folder.stdout)["shards"]
    assert [record["manifest"]["split"] for record in records] == ["train", "validation"]
    table = runner.invoke(app, ["inspect", str(prepared / "shards")])
    assert len(table.stdout.splitlines()) == 3
    short = runner.invoke(app, ["inspect", str(prefix), *tokenizer, "--sequence-length", "9" * 9])
    assert isinstance(short.exception, DataError)


def test_a_manifest_that_says_something_else_is_replaced_only_on_demand(
    prepared: Path, foreign: Path
):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    first = describe_shard(foreign, tokenizer, "text", "train", ignore)
    record = json.loads((prepared / "tokenizer.json").read_text())
    record["normalizer"] = {"type": "NFC"}  # another hash, the same vocabulary
    other = foreign.with_name("other.json")
    other.write_text(json.dumps(record))
    runner = CliRunner()
    base = ["manifest", str(foreign), "--tokenizer"]
    for arguments, difference in (
        (["tokenizer.json", "--source", "code"], "source text, not code"),
        (["other.json", "--source", "text"], f"tokenizer_hash {tokenizer.hash[:8]}, not"),
        (["tokenizer.json", "--source", "text", "--split", "validation"], "split train, not"),
    ):
        folder = prepared if arguments[0] == "tokenizer.json" else foreign.parent
        command = [*base, str(folder / arguments[0]), *arguments[1:]]
        for extra in ([], ["--dry-run"]):
            refused = runner.invoke(app, [*command, *extra])
            assert isinstance(refused.exception, DataError)
            assert difference in str(refused.exception)
            assert "--replace" in str(refused.exception)
        assert TokenShard.open(foreign).manifest == first
    path = prepared / "tokenizer.json"
    done = runner.invoke(app, [*base, str(path), "--source", "code", "--replace"])
    assert done.exit_code == 0
    assert TokenShard.open(foreign).manifest.source == "code"


def test_changed_tokens_are_not_described_over_their_manifest(prepared: Path, foreign: Path):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    describe_shard(foreign, tokenizer, "text", "train", ignore)
    path = shard_file(foreign, ".bin")
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="blocks_root"):
        describe_shard(foreign, tokenizer, "text", "train", ignore)
    describe_shard(foreign, tokenizer, "text", "train", ignore, is_replacing=True)
    assert verify_shards([foreign], ignore)[0].problems == []


def test_an_equal_manifest_stays_and_an_unreadable_one_goes(prepared: Path, tmp_path: Path):
    shutil.copytree(prepared / "shards", tmp_path / "shards")
    prefix = tmp_path / "shards" / "text.train"
    before = shard_file(prefix, ".manifest.json").read_bytes()
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    describe_shard(prefix, tokenizer, "text", "train", ignore)
    assert shard_file(prefix, ".manifest.json").read_bytes() == before  # with its licences
    shard_file(prefix, ".manifest.json").write_text("{")
    described = describe_shard(prefix, tokenizer, "text", "train", ignore)
    assert TokenShard.open(prefix).manifest == described


@pytest.mark.parametrize("is_replacing", [False, True])
def test_documents_that_fit_are_kept_with_their_licences(
    prepared: Path, tmp_path: Path, is_replacing: bool
):
    shutil.copytree(prepared / "shards", tmp_path / "shards")
    prefix = tmp_path / "shards" / "text.train"
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    original = TokenShard.open(prefix).manifest
    path = shard_file(prefix, ".documents.jsonl")
    lines = [{**line, "licence": "MIT"} for line in read_jsonl(path)]
    lines[3]["licence"] = None
    path.write_text(text := "".join(json.dumps(line) + "\n" for line in lines))
    shard_file(prefix, ".manifest.json").write_text("[]")
    told = describe_shard(prefix, tokenizer, "text", "train", ignore, is_replacing=is_replacing)
    assert path.read_text() == text
    assert told.licences == {"MIT": len(lines) - 1, "unknown": 1}
    assert told.num_bytes == original.num_bytes
    assert verify_shards([prefix], ignore)[0].problems == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "fewer lines than documents"),
        (lambda lines: [*lines, lines[0]], "more lines than documents"),
        (lambda lines: [lines[0].replace('"tokens":', '"tokens":1'), *lines[1:]], "jsonl:1: 1"),
    ],
)
def test_documents_of_another_shard_are_replaced_only_on_demand(
    change: Callable[[list[str]], list[str]], message: str, prepared: Path, tmp_path: Path
):
    shutil.copytree(prepared / "shards", tmp_path / "shards")
    prefix = tmp_path / "shards" / "text.train"
    path = shard_file(prefix, ".documents.jsonl")
    path.write_text(text := "".join(change(path.read_text().splitlines(keepends=True))))
    command = ["manifest", str(prefix), "--tokenizer", str(prepared / "tokenizer.json")]
    command += ["--source", "text"]
    shard_file(prefix, ".manifest.json").unlink()
    for extra in ([], ["--dry-run"]):
        refused = CliRunner().invoke(app, [*command, *extra])
        assert isinstance(refused.exception, DataError)
        assert message in str(refused.exception)
        assert "--replace" in str(refused.exception)
    assert path.read_text() == text
    read = list[int]()
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    with pytest.raises(DataError, match=message):
        describe_shard(prefix, tokenizer, "text", "train", read.append)
    assert read == []
    assert CliRunner().invoke(app, [*command, "--replace"]).exit_code == 0
    assert verify_shards([prefix], ignore)[0].problems == []


def test_a_source_name_that_no_configuration_takes_is_refused(prepared: Path, foreign: Path):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    with pytest.raises(DataError, match=r"source '\.\./text': a source's name is part of file"):
        describe_shard(foreign, tokenizer, "../text", "train", ignore)
    assert not shard_file(foreign, ".manifest.json").exists()


def test_what_has_nothing_to_do_shows_no_progress(prepared: Path, tmp_path: Path):
    runner = CliRunner()
    absent = runner.invoke(app, ["verify", str(tmp_path / "nope")])
    assert isinstance(absent.exception, DataError)
    assert absent.stderr == ""
    whole = runner.invoke(app, ["verify", str(prepared / "shards" / "text.validation")])
    assert "2 blocks, as in the manifest" in whole.stdout
    assert "2 of 2 blocks," in whole.stderr
    tokenizer = str(prepared / "tokenizer.json")
    corpus, size = str(prepared / "corpus"), ("--vocabulary-size", "300")
    for command in (
        ["tokenizer", corpus, "--out", tokenizer, *size],
        ["prepare", corpus, "--tokenizer", tokenizer, "--out", str(prepared / "shards")],
    ):
        again = runner.invoke(app, command)
        assert again.stderr == ""
        assert again.stdout.splitlines()[-1] == "complete already"


def test_verify_takes_several_places_and_each_shard_once(prepared: Path):
    shards = prepared / "shards"
    places = [str(shards / "text.validation"), str(shards)]
    result = CliRunner().invoke(app, ["verify", *places, "--json"])
    found = [Path(shard["prefix"]).name for shard in json.loads(result.stdout)["shards"]]
    assert found[0] == "text.validation"
    assert sorted(found) == sorted(
        path.name.split(".manifest")[0] for path in shards.glob("*.json")
    )


def test_verify_command_fails_on_damage(foreign: Path, prepared: Path):
    tokenizer = Tokenizer.load(prepared / "tokenizer.json")
    describe_shard(foreign, tokenizer, "text", "train", ignore)
    path = shard_file(foreign, ".bin")
    path.write_bytes(path.read_bytes()[:-2])
    result = CliRunner().invoke(app, ["verify", str(foreign), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["ok"] is False
