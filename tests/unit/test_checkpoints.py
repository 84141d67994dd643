"""The marker of a checkpoint, against files that a test writes and hashlib hashes."""

import hashlib
import json
from pathlib import Path

import pytest

from megatron_codemix.checkpoints import (
    DamagedCheckpointError,
    FileRecord,
    changed_files,
    files_of,
    read_marker,
    refusing_damage,
    remove_checkpoint,
    total_bytes,
    write_marker,
)
from megatron_codemix.errors import RunError
from megatron_codemix.runs import RunDirectory

CONTENTS = {"__0_0.distcp": b"weights" * 1000, "__1_0.distcp": b"", ".metadata": b"\x80\x04."}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete checkpoint of CONTENTS after step 7."""
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    write_marker(tmp_path, {"step": 7}, {n: FileRecord.of(tmp_path / n) for n in CONTENTS})
    return tmp_path


def test_the_marker_has_sizes_and_hashes(folder: Path) -> None:
    record = read_marker(folder)
    assert record["step"] == 7
    for name, content in CONTENTS.items():
        expected = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert record["files"][name] == expected
    assert total_bytes(record) == sum(map(len, CONTENTS.values()))
    assert changed_files(folder, files_of(record)) == []


def test_a_flipped_bit_is_found_by_its_file_alone(folder: Path) -> None:
    content = bytearray(CONTENTS["__0_0.distcp"])
    content[4321] ^= 4
    (folder / "__0_0.distcp").write_bytes(content)
    done: list[int] = []
    problems = changed_files(folder, files_of(read_marker(folder)), advance=done.append)
    assert problems == [f"{folder / '__0_0.distcp'}: its content is not what was written"]
    assert sum(done) == sum(map(len, CONTENTS.values()))


def test_missing_and_cut_files_are_named(folder: Path) -> None:
    (folder / "__0_0.distcp").write_bytes(b"short")
    (folder / ".metadata").unlink()
    with pytest.raises(DamagedCheckpointError) as caught:
        read_marker(folder)
    assert str(caught.value).splitlines() == [
        f"{folder / '.metadata'}: is missing",
        f"{folder / '__0_0.distcp'}: 5 bytes, not the 7,000 written",
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {"a": 3}}', '{"files": 1}'])
def test_a_marker_that_is_none_is_damage(folder: Path, text: str) -> None:
    (folder / "complete.json").write_text(text)
    with pytest.raises(DamagedCheckpointError, match=r"complete\.json: not the record"):
        read_marker(folder)


def test_a_folder_without_marker_is_incomplete(folder: Path) -> None:
    (folder / "complete.json").unlink()
    with pytest.raises(RunError, match="not a complete checkpoint") as caught:
        read_marker(folder)
    assert not isinstance(caught.value, DamagedCheckpointError)


def test_no_marker_is_written_over_files_of_another_size(folder: Path) -> None:
    files = files_of(json.loads((folder / "complete.json").read_text()))
    (folder / "complete.json").unlink()
    (folder / ".metadata").write_bytes(b"cut")
    (folder / "__1_0.distcp").write_bytes(b"x")
    with pytest.raises(RunError, match="1 bytes, not the 0 written"):
        write_marker(folder, {}, files)
    assert not (folder / "complete.json").exists()


def test_a_checkpoint_is_removed(folder: Path) -> None:
    remove_checkpoint(folder)
    assert not folder.exists()


@pytest.mark.parametrize("status", [None, "{", '{"attempts": 1}'])
def test_damage_is_told_whatever_else_of_the_run_is_lost(
    tmp_path: Path, status: str | None
) -> None:
    run = RunDirectory(tmp_path)
    run.checkpoint(5).mkdir(parents=True)
    write_marker(run.checkpoint(5), {}, {})
    if status is not None:
        run.status.write_text(status)
    with (
        pytest.raises(RunError, match=r"weights: is missing\n.*`codemix train \S+ --run-dir \S+`"),
        refusing_damage(run.checkpoint(10)),
    ):
        raise DamagedCheckpointError("weights: is missing")
