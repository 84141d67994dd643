"""Files are whole or absent."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.errors import UnavailableError
from megatron_codemix.files import (
    append_jsonl,
    atomic_folder,
    atomic_path,
    hash_file,
    hash_json,
    read_json,
    read_jsonl,
    require_free_bytes,
    rewrite_jsonl,
    unusable_path,
    write_json,
    write_text,
)


def write_half(path: Path, error: Exception) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def test_write_makes_the_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "folder" / "a.json", {"b": 1})
    assert read_json(tmp_path / "new" / "folder" / "a.json") == {"b": 1}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    with pytest.raises(UnavailableError, match=r"a\.txt: the disk is full"):
        write_half(tmp_path / "a.txt", OSError(number, os.strerror(number)))
    assert os.listdir(tmp_path) == []


def test_a_refused_path_is_named_as_it_was_given(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "file").write_text("")
    wanted = {
        folder: "is a folder, and a file is wanted",
        Path("/proc/new.yaml"): "No such file or directory",
        tmp_path / "file" / "new.yaml": "a folder is wanted",
    }
    for path, words in wanted.items():
        with pytest.raises(OSError) as refused:  # which one differs
            write_text(path, "text")
        told = str(unusable_path(refused.value))
        assert told.startswith((f"{path}: ", f"{path.parent}: ")), told
        assert words in told
        assert ".tmp" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_other_os_errors_are_passed_on(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        write_half(tmp_path / "a.txt", PermissionError(errno.EACCES, "no"))


def test_jsonl_round_trip_and_rewrite(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"step": 1, "x": 0.1 + 0.2}, {"step": 2, "x": "caf\xe9\n"}]
    for record in records:
        append_jsonl(path, record)
    assert read_jsonl(path) == records
    rewrite_jsonl(path, records[:1])
    assert read_jsonl(path) == records[:1]


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, {"step": 1})
    append_jsonl(path, {"step": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_jsonl(path) == [{"step": 1}]


def test_a_jsonl_that_is_absent_has_no_records(tmp_path: Path) -> None:
    assert read_jsonl(tmp_path / "absent.jsonl") == []


_text = st.text(st.characters(codec="utf-8"))
_scalars = st.none() | st.booleans() | st.integers() | _text
_scalars |= st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(_text, inner), max_leaves=10
)


@given(_values)
def test_equal_json_has_equal_hashes(value: object) -> None:
    assert hash_json(value) == hash_json(json.loads(json.dumps(value)))


def test_the_hash_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert hash_json({"a": 1, "b": [1, 2]}) == hash_json({"b": [1, 2], "a": 1})
    different = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"b": 1}, {}]
    assert len({hash_json(value) for value in different}) == len(different)


def test_hash_json_refuses_what_json_has_no_form_for() -> None:
    with pytest.raises(ValueError, match="JSON"):
        hash_json(float("nan"))


def test_hash_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert hash_file(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_too_little_disk_is_refused_before_the_work(tmp_path: Path) -> None:
    require_free_bytes(tmp_path / "not" / "there" / "yet", 1, "a test")
    with pytest.raises(UnavailableError, match=r"a test needs about .* TiB of disk"):
        require_free_bytes(tmp_path / "not" / "there" / "yet", 2**60, "a test")


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for text in ("first", "second"):
        with atomic_folder(place, replace=True) as folder:
            (folder / "file").write_text(text)
            assert not place.exists() or (place / "file").read_text() == "first"
        assert (place / "file").read_text() == text
    with pytest.raises(ValueError), atomic_folder(place, replace=True):
        raise ValueError
    place.rename(tmp_path / ".place.old.tmp")  # as a kill between its two renames leaves it
    with pytest.raises(ValueError), atomic_folder(place, replace=True):
        raise ValueError
    assert (place / "file").read_text() == "second"
    assert list(tmp_path.iterdir()) == [place]
