"""The user's files: every format gives the same documents, and what is wrong is named."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import (
    RecordForm,
    Skipped,
    expand_patterns,
    read_documents,
)
from megatron_codemix.corpus.writer import write_documents
from megatron_codemix.errors import DataError

RECORDS = [
    {"id": "a", "text": "first\nof two", "licence": "MIT", "origin": "book one"},
    {"id": "b", "text": "second, \u00e9 \U0001f600", "licence": None, "origin": "book two"},
]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()


def read(path: Path | str, skipped: Skipped | None = None, **fields: Any) -> list[Document]:
    files = expand_patterns([str(path)])
    return list(read_documents(files, "text", skipped or Skipped(), RecordForm(**fields)))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def parquet_file(path: Path, column: str = "text") -> Path:
    columns = {name: [record[name] for record in RECORDS] for name in RECORDS[0]}
    columns[column] = columns.pop("text")
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def file_of(kind: str, folder: Path) -> Path:
    if kind == "parquet":
        return parquet_file(folder / "d.parquet")
    data = {
        "jsonl": LINES,
        "jsonl.gz": gzip.compress(LINES),
        "jsonl.zst": zstandard.compress(LINES),
        # Two frames, as `cat a.zst b.zst` makes them.
        "ndjson.zst": zstandard.compress(LINES[:40]) + zstandard.compress(LINES[40:]),
    }[kind]
    return write(folder / f"d.{kind}", data)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "ndjson.zst", "parquet"])
def test_formats_give_the_same_documents(tmp_path: Path, kind: str):
    documents = read(file_of(kind, tmp_path))
    assert [one.text for one in documents] == [record["text"] for record in RECORDS]
    assert [one.id for one in documents] == ["a", "b"]
    assert [one.origin for one in documents] == ["book one", "book two"]
    assert [one.licence for one in documents] == ["MIT", None]


def test_plain_files_are_one_document_each(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "a.txt", b"one\r\ntwo")
    write(tmp_path / "b.txt.gz", gzip.compress(b"zipped"))
    documents = read(tmp_path)
    assert [(one.origin, one.text) for one in documents] == [
        ("b.txt.gz", "zipped"),
        ("sub/a.txt", "one\ntwo"),
    ]


def test_moving_the_folder_changes_no_origin(tmp_path: Path):
    for place in ("here", "there/deeper"):
        folder = tmp_path / place / "sub"
        folder.mkdir(parents=True)
        write(folder / "a.py", b"x = 1")
    here = read(f"{tmp_path}/here/**/*.py")
    there = read(f"{tmp_path}/there/deeper/**/*.py")
    assert [one.origin for one in here] == [one.origin for one in there] == ["sub/a.py"]


def test_record_without_an_origin_has_its_id_else_its_text(tmp_path: Path):
    lines = b'{"id": 7, "text": "a"}\n{"text": "b  c"}\n{"text": "b c"}\n'
    first, second, third = read(write(tmp_path / "d.jsonl", lines))
    assert (first.id, first.origin) == ("7", "7")
    assert second.id == "d.jsonl:2"
    assert second.origin == third.origin != first.origin


def test_numbers_name_origins_and_paths(tmp_path: Path):
    records = [{"id": name, "text": name, "q": 7, "n": n} for n, name in enumerate(("a", "b"))]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write(tmp_path / "d.jsonl", lines.encode())
    # One gap makes a column of integers one of floats.
    table = pyarrow.table({"id": ["a", "b", "c"], "text": ["a", "b", "c"], "q": [7.0, 7.0, None]})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    of_lines = read(tmp_path / "d.jsonl", origin_field="q", path_field="n")
    assert [(one.origin, one.path) for one in of_lines] == [("7", "0"), ("7", "1")]
    assert [one.origin for one in read(tmp_path / "d.parquet", origin_field="q")] == ["7", "7", "c"]


def test_large_numbers_are_kept(tmp_path: Path):
    large = [2**63, 2**64, 2**64 + 1, -(2**64) - 1, 10**30 + 1]
    lines = [json.dumps({"id": one, "text": "t", "metadata": {"n": [one, 0.5]}}) for one in large]
    path = write(tmp_path / "d.jsonl", "\n".join(lines).encode())
    found = read(path)
    assert [one.id for one in found] == list(map(str, large))
    assert [one.metadata["n"] for one in found] == [[one, 0.5] for one in large]
    write_documents(tmp_path, "out.jsonl.zst", found)
    assert [one.metadata for one in read(tmp_path / "out.jsonl.zst")] == [
        one.metadata for one in found
    ]


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.jsonl.zst", "d.py.gz", "d.parquet.zst"])
def test_a_compressed_file_without_bytes_is_refused(tmp_path: Path, name: str):
    with pytest.raises(DataError, match=rf"{name}: has no bytes"):
        read(write(tmp_path / name, b""))


def test_a_large_window_is_no_damage(tmp_path: Path):
    for log in (27, 28):
        options = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
        packer = zstandard.ZstdCompressor(compression_params=options).compressobj()
        write(tmp_path / f"{log}.jsonl.zst", packer.compress(LINES) + packer.flush())
    assert len(read(tmp_path / "27.jsonl.zst")) == 2
    with pytest.raises(DataError, match=r"28\.jsonl\.zst: .* window of more than 128 MiB"):
        read(tmp_path / "28.jsonl.zst")


def test_names_of_files_need_not_be_utf8(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    write(folder / os.fsdecode(b"caf\xe9.py"), b"pass\n")
    parquet_file(tmp_path / "d.parquet").rename(folder / os.fsdecode(b"\xe9.parquet"))
    found = read(tmp_path)
    assert {one.id for one in found} == {r"d\xff/caf\xe9.py", "a", "b"}
    written, _ = write_documents(tmp_path / "out", "text.jsonl.zst", found)
    assert written.num_documents == 3
    assert read(tmp_path / "out" / written.file) == [replace(one, source="text") for one in found]


@pytest.mark.parametrize(("value", "kind"), [([7], "a list"), ({"a": 1}, "an object")])
def test_an_origin_that_names_nothing_is_refused(tmp_path: Path, value: Any, kind: str):
    records = [{"text": "one", "q": "x"}, {"text": "two", "q": value}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    path = write(tmp_path / "d.jsonl", lines.encode())
    with pytest.raises(DataError, match=rf"d\.jsonl: the record at 2 has {kind} in field 'q'"):
        read(path, origin_field="q")


def test_other_fields_may_hold_text_and_origin(tmp_path: Path):
    path = write(tmp_path / "d.jsonl", b'{"content": "a", "repo": "r"}\n')
    (document,) = read(path, text_field="content", origin_field="repo")
    assert (document.text, document.origin) == ("a", "r")
    assert len(read(parquet_file(tmp_path / "d.parquet", "content"), text_field="content")) == 2


def test_text_that_is_not_utf8_is_named_and_skipped(tmp_path: Path):
    write(tmp_path / "plain.txt", b"caf\xe9")
    write(tmp_path / "lines.jsonl", b'{"text": "ok"}\n{"text": "caf\xe9"}\n{"text": "\\ud800"}\n')
    column = pyarrow.array([b"ok", b"caf\xe9"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "table.parquet")
    skipped = Skipped()
    assert [one.text for one in read(tmp_path, skipped)] == ["ok", "ok"]
    assert skipped.counts == {"not UTF-8": 4}
    assert set(skipped.names["not UTF-8"]) == {
        "plain.txt",
        "lines.jsonl:2",
        "lines.jsonl:3",
        "table.parquet:2",
    }


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT"], "MIT"),
        (["MIT License"], "MIT License"),
        (["MIT", "Apache-2.0"], "MIT AND Apache-2.0"),
        (["MIT OR Apache-2.0", "GPL-3.0-only"], "(MIT OR Apache-2.0) AND GPL-3.0-only"),
        ([], None),
    ],
)
def test_all_of_several_licences_hold(tmp_path: Path, licences: list[str], expected: str | None):
    line = json.dumps({"text": "a", "license": licences}) + "\n"
    (document,) = read(write(tmp_path / "d.jsonl", line.encode()))
    assert document.licence == expected


def test_empty_texts_are_counted(tmp_path: Path):
    skipped = Skipped()
    assert read(write(tmp_path / "d.jsonl", b'{"text": " \\n"}\n\n'), skipped) == []
    assert skipped.counts == {"empty": 1}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("d.jsonl", b'{"text": "a"}\n{"body": "b"}\n{"text": 3}\n', "record at 3 has a number"),
        ("d.jsonl", b'{"text": "a"}\n{"text": "b"\n', "line 2 is not JSON"),
        ("d.jsonl", b'["text"]\n', "line 1 is a list"),
        ("d.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], "truncated or damaged gzip"),
        ("d.jsonl.gz", LINES, "truncated or damaged gzip"),
        ("d.jsonl.zst", zstandard.compress(LINES)[:-3], "truncated zstd"),
        ("d.jsonl.zst", LINES, "damaged zstd"),
        ("d.parquet", b"PAR1" + LINES, "truncated or damaged Parquet"),
        ("d.parquet", b"", "truncated or damaged Parquet"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, name: str, data: bytes, message: str):
    path = write(tmp_path / name, data)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_truncated_parquet_is_refused(tmp_path: Path):
    path = parquet_file(tmp_path / "d.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"d\.parquet: truncated"):
        read(path)


def test_parquet_without_the_field_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"no column 'text'; it has .*content"):
        read(parquet_file(tmp_path / "d.parquet", "content"))


def test_patterns_without_files_are_all_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"(?s)a\*.*b\*"):
        expand_patterns([f"{tmp_path}/a*", f"{tmp_path}/b*"])


def test_a_file_that_two_patterns_match_is_read_once(tmp_path: Path):
    write(tmp_path / "a.txt", b"x")
    assert len(expand_patterns([f"{tmp_path}/*.txt", f"{tmp_path}/a*"])) == 1


def test_public_domain_prose_is_read():
    path = Path(__file__).parents[5] / "shared/data/text/public_domain.jsonl.gz"
    if not path.is_file():
        pytest.skip("public_domain.jsonl.gz is not beside this checkout")
    documents = read(path)
    assert len(documents) > 500
    assert sum(len(one.text) for one in documents) > 6_000_000


@pytest.mark.parametrize(("num_bad", "num_lines"), [(3, 3), (9, 4)])
def test_bad_records_are_named_a_few_times_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, num_bad: int, num_lines: int
):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9"}\n' * num_bad + b'{"text": "x"}\n')
    files = expand_patterns([f"{tmp_path}/a.jsonl"])
    skipped = Skipped()
    assert len(list(read_documents(files, "text", skipped))) == 1
    assert skipped.counts == {"not UTF-8": num_bad}
    assert len(caplog.messages) == num_lines
    assert "line 1 is not UTF-8" in caplog.messages[0]
    if num_bad > 3:
        assert caplog.messages[-1].endswith("9 lines in all")
    caplog.clear()
    again = Skipped(is_announced=False)
    list(read_documents(files, "text", again))
    assert caplog.messages == []
    again.merge(skipped)
    assert again.counts == {"not UTF-8": 2 * num_bad}
    assert len(again.names["not UTF-8"]) == 2 * num_bad
