"""The disk fills up in the middle of a run: a readable end, nothing half-written taken for whole,
and the same command goes on once there is space."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, count_lines, start_codemix
from tests.helpers.disks import small_disk
from tests.helpers.tiny import SEQUENCE, write_run

SAVE_EVERY = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"
DISK_BYTES = 3_000_000
SMALL_FILES_BYTES = 100_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK_BYTES) as folder:
        yield folder


def fill(path: Path, *, but: int = 0) -> None:
    """Writes until the file system is full, and gives `but` bytes of it back."""
    with open(path, "wb", buffering=0) as handle:
        try:
            while True:
                handle.write(bytes(4096))
        except OSError:
            handle.truncate(handle.tell() - but)


@pytest.mark.parametrize("free", [0, SMALL_FILES_BYTES], ids=["full", "only-small-files-fit"])
def test_full_disk_loses_nothing(free: int, disk: Path, tmp_path: Path) -> None:
    config = write_run(tmp_path / "data")
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(disk / "run")
    assert codemix("train", config, SAVE_EVERY, "--run-dir", whole.path).returncode == 0
    arguments = ["train", config, SAVE_EVERY, "--run-dir", run.path]
    process = start_codemix(arguments)
    while not run.complete_steps():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    fill(disk / "filler", but=free)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2, output
    assert ("a checkpoint needs about" if free else "the disk is full") in output
    assert "Traceback" not in output
    if free:  # the run came to its end, and only the save that it needs has ended it
        assert output.count("a save has failed, and is made up for by the next") >= 1
        assert count_lines(run.metrics) == 20
    complete = run.complete_steps()
    assert complete, "the checkpoint before is still there"
    (disk / "filler").unlink()
    done = codemix(*arguments)
    assert done.returncode == 0, done.stderr
    last = [directory.checkpoint(20) for directory in (whole, run)]
    assert differing_tensors(*last) == []
    assert run.ledger.read_bytes() == whole.ledger.read_bytes()
