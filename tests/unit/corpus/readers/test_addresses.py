"""Files at addresses, with fsspec's own store in memory; paths of this machine need no fsspec."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from megatron_codemix.corpus.readers import RemoteFile, Skipped, find_files, read_documents
from megatron_codemix.errors import DataError, RetryableError, UnavailableError
from tests.helpers.kills import ROOT

RECORDS = [{"id": str(number), "text": f"text {number}"} for number in range(3)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


@pytest.fixture
def store() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for name, data in {
        "/data/code/a.jsonl": LINES,
        "/data/code/deep/b.jsonl.gz": gzip.compress(LINES),
        "/data/notes.txt": b"words",
    }.items():
        system.makedirs(name.rpartition("/")[0], exist_ok=True)
        system.pipe(name, data)
    with system.open("/data/code/c.parquet", "wb") as handle:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), handle)
    yield system
    system.rm("/data", recursive=True)


def names(*patterns: str) -> list[str]:
    return [file.name for file in find_files(patterns)]


def test_patterns_and_folders_are_expanded(store: Any):
    assert names("memory://data/code/*.jsonl") == ["a.jsonl"]
    assert names("memory://data/**/*.jsonl*") == ["code/a.jsonl", "code/deep/b.jsonl.gz"]
    assert names("memory://data/code") == ["a.jsonl", "c.parquet", "deep/b.jsonl.gz"]
    assert names("memory://data/notes.txt") == ["notes.txt"]
    assert names("memory://data/notes.txt", "memory://data/*.txt") == ["notes.txt"]


def test_hidden_files_are_passed_over_as_on_a_disk(store: Any, tmp_path: Path):
    for name in (".git/config", "code/.hidden.jsonl", "code/.cache/d.jsonl"):
        store.makedirs(f"/data/{name}".rpartition("/")[0], exist_ok=True)
        store.pipe(f"/data/{name}", LINES)
    store.get("/data/", str(tmp_path / "data"), recursive=True)
    for pattern in ("data", "data/**/*", "data/code/*", "data/code", "data/**/*.jsonl"):
        assert names(f"memory://{pattern}") == names(f"{tmp_path}/{pattern}"), pattern
    assert names("memory://data/.git/*") == ["config"]
    assert names("memory://data/code/.hidden.jsonl") == [".hidden.jsonl"]


def test_every_form_is_read_as_from_a_disk(store: Any):
    for file in find_files(["memory://data/code"]):
        documents = list(read_documents([file], "code", Skipped()))
        assert [one.text for one in documents] == [record["text"] for record in RECORDS]
    (plain,) = read_documents(find_files(["memory://data/notes.txt"]), "text", Skipped())
    assert (plain.text, plain.origin) == ("words", "notes.txt")


def test_local_and_remote_files_may_be_mixed(store: Any, tmp_path: Path):
    (tmp_path / "b.txt").write_text("local")
    files = find_files(["memory://data/*.txt", f"{tmp_path}/*.txt"])
    texts = [one.text for one in read_documents(files, "text", Skipped())]
    assert texts == ["local", "words"]


def test_a_changed_file_has_another_state(store: Any):
    (before,) = find_files(["memory://data/notes.txt"])
    assert before.num_bytes() == 5
    assert find_files(["memory://data/notes.txt"])[0].state() == before.state()
    store.pipe("/data/notes.txt", b"other")
    assert find_files(["memory://data/notes.txt"])[0].state() != before.state()


def test_damage_is_refused_by_its_address(store: Any):
    store.pipe("/data/code/deep/b.jsonl.gz", gzip.compress(LINES)[:-9])
    store.pipe("/data/code/c.parquet", b"PAR1")
    for pattern in ("memory://data/code/deep/*", "memory://data/code/c.parquet"):
        with pytest.raises(DataError, match=r"memory://.*truncated or damaged"):
            list(read_documents(find_files([pattern]), "code", Skipped()))


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("memory://data/*.nothing", DataError, "matches no file"),
        ("memory://data/nothing.txt", DataError, "matches no file"),
        ("nosuchstore://bucket/a", DataError, "Protocol not known: nosuchstore"),
        ("zip://a::memory://data/a.zip", DataError, "an address within another"),
    ],
)
def test_what_cannot_be_found_is_refused(
    store: Any, pattern: str, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        find_files([pattern])


def test_a_missing_package_is_named(store: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # importing it raises
    with pytest.raises(UnavailableError, match=r"s3://bucket/a: a package is missing .*s3fs"):
        find_files(["s3://bucket/a"])


class Breaking:
    """A file whose connection is lost after its first bytes."""

    def __init__(self) -> None:
        self.num_reads = 0

    def read(self, count: int) -> bytes:
        self.num_reads += 1
        if self.num_reads > 1:
            raise ConnectionResetError("lost")
        return b'{"text": "a"}\n'

    def close(self) -> None:
        return None


def test_a_lost_connection_may_be_tried_again(store: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(store), "open", lambda self, path, mode: Breaking())
    file = RemoteFile("memory://data/code/a.jsonl", "a.jsonl", 100, "v")
    with pytest.raises(RetryableError, match=r"memory://.*ConnectionResetError: lost; what is "):
        list(read_documents([file], "code", Skipped()))


def test_local_files_need_no_fsspec(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    code = (
        "import sys\n"
        "sys.modules['fsspec'] = None  # importing it raises\n"
        "from megatron_codemix.corpus.readers import Skipped, find_files, read_documents\n"
        "print(len(list(read_documents(find_files(sys.argv[1:]), 'text', Skipped()))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/**/*.jsonl"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
