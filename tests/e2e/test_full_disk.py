"""The disk fills up in the middle of a run: a readable end, nothing half-written taken for whole,
and the same command goes on once there is space."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import ENVIRONMENT, codemix, count_lines, python, start_codemix
from tests.helpers.tiny import SEQUENCE, write_run

SAVE_EVERY = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"
DISK_BYTES = 5_000_000
SMALL_FILES_BYTES = 100_000


def fill(path: Path, *, but: int = 0) -> None:
    """Writes until the file system is full, and gives `but` bytes of it back."""
    with open(path, "wb", buffering=0) as handle:
        try:
            while True:
                handle.write(bytes(4096))
        except OSError:
            handle.truncate(handle.tell() - but)


SEVERAL = ["--nproc", "2", "layout.tensor=2"]


@pytest.mark.parametrize(
    ("free", "options", "named"),
    [
        (0, SEVERAL, "the disk is full"),  # metrics.jsonl where it needs a new page, or status.json
        (0, ["logging.every_steps=100"], "status.json: the disk is full"),
        # Not in the background: a save in flight would take the space that small files have.
        (SMALL_FILES_BYTES, ["checkpoint.asynchronous=false"], "a checkpoint needs about"),
    ],
    ids=["metrics-or-status", "status", "checkpoint"],
)
def test_full_disk_loses_nothing(
    free: int, options: list[str], named: str, disk: Path, tmp_path: Path
) -> None:
    config = write_run(tmp_path / "data")
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(disk / "run")
    assert codemix("train", config, SAVE_EVERY, *options, "--run-dir", whole.path).returncode == 0
    arguments = ["train", config, SAVE_EVERY, *options, "--run-dir", run.path]
    process = start_codemix(arguments)
    while not run.complete_steps():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    fill(disk / "filler", but=free)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    error = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(error) == 1, output
    assert named in error[0]
    if free:  # the run came to its end, and only the save that it needs has ended it
        assert output.count("a save has failed, and is made up for by the next") >= 1
        assert count_lines(run.metrics) == 20
    complete = run.complete_steps()
    assert complete, "the checkpoint before is still there"
    (disk / "filler").unlink()
    done = codemix(*arguments)
    assert done.returncode == 0, done.stderr
    assert differences(whole, run, 20) == []


def test_output_that_finds_no_room_does_not_hide_the_cause(disk: Path, tmp_path: Path) -> None:
    """As of a study's phase, whose log is in its run directory."""
    config, run, log = write_run(tmp_path / "data"), RunDirectory(disk / "run"), disk / "train.log"
    arguments = ["train", config, SAVE_EVERY, "train.train_tokens=64K", "--run-dir", run.path]
    program = [sys.executable, "-m", "megatron_codemix", *map(str, arguments), "--nproc", "2"]
    with open(log, "ab") as output:
        process = subprocess.Popen(program, stdout=output, stderr=output, env=ENVIRONMENT)
    try:
        while not run.complete_steps():
            assert process.poll() is None, log.read_text()
            time.sleep(0.005)
        fill(disk / "filler")
        with open(log, "ab", buffering=0) as rest, contextlib.suppress(OSError):
            while True:
                rest.write(b"\n")  # to the end of its last page
        assert process.wait(timeout=100) == 2
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
    (disk / "filler").unlink()
    again = start_codemix(arguments)
    assert again.communicate(timeout=300)[0].count("done after step") == 1
    assert again.returncode == 0


def test_a_result_that_finds_no_room_is_no_success(disk: Path, tmp_path: Path) -> None:
    config = write_run(tmp_path / "data")
    fill(disk / "filler")
    words = [sys.executable, "-m", "megatron_codemix", "config", "show", str(config)]
    with open(disk / "shown.yaml", "wb") as output:
        done = subprocess.run(
            words, stdout=output, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


LEDGER_WITHOUT_SPACE = """
import errno, os, sys
from megatron_codemix import files
from megatron_codemix.cli.main import main
from megatron_codemix.train import checkpointing

rewrite = checkpointing.rewrite_jsonl

def rewrite_on_a_full_disk(path, records):
    if records:
        raise files.full_disk(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)
    rewrite(path, records)

checkpointing.rewrite_jsonl = rewrite_on_a_full_disk
sys.exit(main())
"""


def test_a_ledger_without_space_is_made_up_for_from_the_checkpoints(tmp_path: Path) -> None:
    """There was room for each checkpoint and none for its line; the last save must succeed."""
    config = write_run(tmp_path / "data")
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "run")
    arguments = ["train", config, SAVE_EVERY, "--run-dir"]
    assert codemix(*arguments, whole.path).returncode == 0
    full = python("-c", LEDGER_WITHOUT_SPACE, *arguments, run.path)
    assert full.returncode == 2
    assert "ledger.jsonl: the disk is full" in full.stderr
    assert run.complete_steps() == [5, 10, 15, 20]
    assert run.ledger.read_bytes() == b""
    assert codemix(*arguments, run.path).returncode == 0
    assert differences(whole, run, 20) == []
