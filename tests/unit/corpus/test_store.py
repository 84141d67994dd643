"""A corpus folder: what counts as a source of it, and when it is complete."""

import json
from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.run import dedup_corpus
from megatron_codemix.corpus.duplicates.search import SearchOptions
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.record import CorpusRecord, CorpusSource, StageRecord, load_corpus
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage
from megatron_codemix.corpus.statistics.count import count_corpus
from megatron_codemix.corpus.statistics.source_counts import CountOptions
from megatron_codemix.corpus.store import hash_files, source_files, source_sizes
from megatron_codemix.corpus.writer import write_documents
from megatron_codemix.errors import DataError
from tests.helpers.kills import contents


def documents(source: str, count: int) -> list[Document]:
    return [
        Document(
            id=f"{source}/{number}",
            source=source,
            path=f"src/{number}.py",
            origin=f"repository {number // 2}",
            licence="MIT" if number % 2 else None,
            text=f"caf\u00e9 {number}\n",
            metadata={"stars": number, "languages": ["Python"]} if number % 3 else {},
        )
        for number in range(count)
    ]


def write_corpus(folder: Path) -> Path:
    folder.mkdir()
    sources = {}
    for source, names in {
        "code": ["code/part-00000.jsonl.zst", "code/part-00001.jsonl.zst"],
        "text": ["text.jsonl.zst"],
    }.items():
        files, licences = [], {}
        for number, name in enumerate(names):
            (folder / name).parent.mkdir(exist_ok=True)
            file, licences = write_documents(folder, name, documents(source, 3 + number))
            files.append(file)
        sources[source] = CorpusSource(tuple(files), licences)
    skipped = Skipped()
    skipped.add("empty", "one")
    stage = StageRecord("trial", {"rules": ["a"]}, {"code": 8}, {"code": skipped}, {"code": {}})
    CorpusRecord(sources, (stage,), {"python": "3"}).save(folder)
    return folder


def test_what_is_written_is_read_again(tmp_path: Path):
    folder = write_corpus(tmp_path / "corpus")
    files = source_files(folder)
    assert {name: [file.name for file in parts] for name, parts in files.items()} == {
        "code": ["code/part-00000.jsonl.zst", "code/part-00001.jsonl.zst"],
        "text": ["text.jsonl.zst"],
    }
    read = list(read_documents(files["code"], "code", Skipped()))
    assert read == documents("code", 3) + documents("code", 4)
    record = load_corpus(folder)
    assert record is not None
    assert record.is_whole(folder)
    assert record.sources["code"].num_documents == 7
    assert source_sizes(folder, files)["code"] == sum(len(one.text.encode()) for one in read)
    assert record.sources["text"].licences == {"MIT": 1, "unknown": 2}
    assert record.stages[0].dropped["code"].names == {"empty": ["one"]}
    before = (folder / "corpus.json").read_bytes()
    record.save(folder)
    assert (folder / "corpus.json").read_bytes() == before


def test_a_record_without_metadata_is_as_it_always_was(tmp_path: Path):
    plain = Document("a", "text", "a", "a", None, "words")
    assert plain.to_record().keys() == {"id", "source", "path", "origin", "licence", "text"}
    assert plain == Document("a", "text", "a", "a", None, "words", {})
    assert plain.with_metadata(language="en").metadata == {"language": "en"}
    assert plain.metadata == {}


def test_numbers_of_any_size_can_be_metadata(tmp_path: Path):
    """Of more than 64 bits too."""
    one = Document("a", "text", "a", "a", None, "words", {"n": 10**30, "m": 2**63 - 1})
    write_documents(tmp_path, "text.jsonl.zst", [one])
    (read,) = read_documents(source_files(tmp_path)["text"], "text", Skipped())
    assert read == one
    assert type(read.metadata["n"]) is int


def test_folders_and_files_of_any_names_are_sources(tmp_path: Path):
    for name in (
        "code/train-00001.jsonl",
        "code/train-00000.parquet",
        "code/README.md",
        "code/.hidden.jsonl",
        "dropped/code/part-00000.jsonl.zst",
        "figures/plot.png",
        "text.jsonl.gz",
        ".cache/a.jsonl",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    found = {name: [file.name for file in files] for name, files in source_files(tmp_path).items()}
    assert found == {
        "code": ["code/train-00000.parquet", "code/train-00001.jsonl"],
        "text": ["text.jsonl.gz"],
    }


@pytest.mark.parametrize("form", [".jsonl", ".ndjson", ".parquet"])
@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_every_form_that_is_read_is_a_source(tmp_path: Path, form: str, compression: str):
    (tmp_path / f"code{form}{compression}").write_text("")
    assert list(source_files(tmp_path)) == ["code"]


def test_a_file_and_a_folder_of_one_source_are_refused(tmp_path: Path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.jsonl").write_text("")
    (tmp_path / "code.jsonl").write_text("")
    with pytest.raises(DataError, match=r"code and code\.jsonl are both source 'code'"):
        source_files(tmp_path)


def test_what_is_not_complete_is_refused(tmp_path: Path):
    folder = write_corpus(tmp_path / "corpus")
    (folder / ".parts").mkdir()
    assert source_files(folder)
    (folder / "code" / "part-00001.jsonl.zst").unlink()
    with pytest.raises(DataError, match=r"part-00001\.jsonl\.zst is missing \(1 of 2 parts"):
        source_files(folder)
    (folder / "corpus.json").unlink()
    with pytest.raises(DataError, match="is not complete; give the command"):
        source_files(folder)


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_source_that_is_missing_as_a_whole_is_noticed(tmp_path: Path, has_folder: bool):
    folder = write_corpus(tmp_path / "corpus")
    for path in (folder / "code").iterdir():
        path.unlink()
    if not has_folder:
        (folder / "code").rmdir()
    with pytest.raises(DataError, match=r"is missing \(2 of 2 parts of source 'code'\)"):
        source_files(folder)
    record = json.loads((folder / "corpus.json").read_text())
    del record["sources"]["code"]  # as the error says, where that is meant
    (folder / "corpus.json").write_text(json.dumps(record))
    assert list(source_files(folder)) == ["text"]


def test_every_missing_source_is_named(tmp_path: Path):
    folder = write_corpus(tmp_path / "corpus")
    (folder / "text.jsonl.zst").unlink()
    (folder / "code" / "part-00000.jsonl.zst").unlink()
    with pytest.raises(DataError, match=r"code/part-00000.* is missing.*; text\.jsonl\.zst is"):
        source_files(folder)


def test_a_folder_that_is_not_there_is_not_taken_for_one_of_a_certain_command(tmp_path: Path):
    with pytest.raises(DataError, match="no such corpus folder; check the name") as raised:
        source_files(tmp_path / "filtered")
    assert "corpus local" not in str(raised.value)


def test_a_hash_is_known_of_files_that_are_recorded(tmp_path: Path):
    folder = write_corpus(tmp_path / "corpus")
    (folder / "mine.jsonl").write_text('{"text": "mine"}\n')
    files = source_files(folder)
    assert files["mine"][0].sha256 is None
    record = load_corpus(folder)
    assert record is not None
    assert [file.sha256 for file in files["code"]] == [
        file.sha256 for file in record.sources["code"].files
    ]


def test_folders_that_are_not_on_record_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = write_corpus(tmp_path / "corpus")
    listed = {name: [file.name for file in files] for name, files in source_files(folder).items()}
    assert caplog.messages == []
    for name in ("notes/a.jsonl", "code/part-00002.jsonl.zst"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text('{"text": "not of it"}\n')
    found = {name: [file.name for file in files] for name, files in source_files(folder).items()}
    assert found == listed
    (told,) = caplog.messages
    assert "code/part-00002.jsonl.zst and 1 more are left out" in told


def with_fewer_documents(path: Path, *, same_size: bool) -> None:
    """A whole file that reads well, in the place of another."""
    num_bytes = path.stat().st_size
    write_documents(path.parent, path.name, documents("code", 1))
    if same_size:  # a frame that readers of zstd pass over (RFC 8878, section 3.1.2)
        rest = num_bytes - path.stat().st_size - 8
        assert rest >= 0
        frame = 0x184D2A50.to_bytes(4, "little") + rest.to_bytes(4, "little") + bytes(rest)
        path.write_bytes(path.read_bytes() + frame)
        assert path.stat().st_size == num_bytes


def test_a_file_of_another_size_than_recorded_is_named(tmp_path: Path):
    folder = write_corpus(tmp_path / "corpus")
    with_fewer_documents(folder / "code" / "part-00001.jsonl.zst", same_size=False)
    message = r"code/part-00001\.jsonl\.zst has \d+ bytes, not \d+, .* remove it, and give"
    with pytest.raises(DataError, match=message):
        source_files(folder)


def test_whoever_reads_a_file_compares_its_hash(tmp_path: Path):
    folder = write_corpus(tmp_path / "corpus")
    out, exact = tmp_path / "out", SearchOptions(jaccard=None)
    split = SplitStage("train", 0.0)
    run_stage(split, folder, out)
    with_fewer_documents(folder / "code" / "part-00001.jsonl.zst", same_size=True)
    files = source_files(folder)
    for read in (
        lambda: hash_files(files["code"]),  # data prepare, data tokenizer
        lambda: run_stage(split, folder, tmp_path / "split"),
        lambda: dedup_corpus(folder, tmp_path / "unique", exact),
        lambda: count_corpus(
            folder, CountOptions(num_samples=1, seed=1, validation_fraction=0.0, has_pieces=False)
        ),
    ):
        with pytest.raises(DataError, match=r"part-00001\.jsonl\.zst: is not the file that corpus"):
            read()
    write_documents(folder, "code/part-00001.jsonl.zst", documents("code", 4))
    run_stage(split, folder, tmp_path / "split")
    made = {name: content for name, content in contents(out).items() if name.endswith(".zst")}
    assert made.items() <= contents(tmp_path / "split").items()  # records have times of files
    assert len(made) == 2
    dedup_corpus(folder, tmp_path / "unique", exact)
