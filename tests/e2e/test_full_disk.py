"""The disk fills up in the middle of a run: a readable end, nothing half-written taken for whole,
and the same command goes on once there is space."""

import contextlib
import fcntl
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.parameters import checkpoint_bytes
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import ENVIRONMENT, Command, codemix, count_lines, python, start_codemix
from tests.helpers.disks import kept_full, leave_free
from tests.helpers.tiny import SEQUENCE, write_run

SAVE_EVERY = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"
DISK_BYTES = 5_000_000
SMALL_FILES_BYTES = 130_000


def leave_free_for_one_checkpoint(filler: Path, config: Path) -> None:
    """And for small files. No second one is begun then, so that none gives space back later: what a
    run that keeps one checkpoint asks for at its start is two of them, without what files add."""
    leave_free(filler, 2 * checkpoint_bytes(load_run_config(config)) + SMALL_FILES_BYTES)


def leave_free_for_part_of_a_second(filler: Path, config: Path, first: Path) -> None:
    """As much as is asked for before a second one is begun, which is less than it comes to take."""
    written = sum(path.stat().st_size for path in first.iterdir())
    leave_free(filler, written + checkpoint_bytes(load_run_config(config)) + SMALL_FILES_BYTES)


def run_on_a_disk_full_from_the_first_checkpoint_on(
    arguments: Sequence[str | Path], filler: Path
) -> tuple[int, str]:
    """The command's exit code and what it has said. Its output is a pipe that holds one write, so
    that it gets no further than two lines before the disk is full."""
    reader, writer = os.pipe2(os.O_DIRECT)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
    with open(reader, "rb", buffering=0) as pipe, contextlib.ExitStack() as stack:
        with Connection(writer, readable=False) as output:
            process = Command(arguments, output=output)
        stack.callback(process.end)
        said = ""
        while "saved after step" not in said:
            words = pipe.read(mmap.PAGESIZE)
            assert words, said
            said += words.decode()
        with kept_full(filler):
            said += pipe.read().decode()
        return process.wait(timeout=100), said


SEVERAL = ["--nproc", "2", "layout.tensor=2"]


@pytest.mark.parametrize(
    ("rest", "options", "named"),
    [
        ("nothing", SEVERAL, "the disk is full"),  # metrics.jsonl at a new page, or status
        ("nothing", ["logging.every_steps=100"], "status.json: the disk is full"),
        ("small files", ["checkpoint.asynchronous=false"], "a checkpoint needs about"),
        ("a part", ["checkpoint.asynchronous=false"], "iter_0000020: the disk is full"),
    ],
    ids=["metrics-or-status", "status", "checkpoint", "within-a-checkpoint"],
)
def test_full_disk_loses_nothing(
    rest: str, options: list[str], named: str, disk: Path, tmp_path: Path
) -> None:
    """rest: what there is room for after the first checkpoint."""
    config = write_run(tmp_path / "data")
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(disk / "run")
    arguments = ["train", config, SAVE_EVERY, "checkpoint.keep_last=1", *options, "--run-dir"]
    assert codemix(*arguments, whole.path).returncode == 0
    arguments.append(run.path)
    if rest == "a part":
        leave_free_for_part_of_a_second(disk / "others", config, whole.checkpoint(20))
    else:
        leave_free_for_one_checkpoint(disk / "others", config)
    if rest == "nothing":
        code, output = run_on_a_disk_full_from_the_first_checkpoint_on(arguments, disk / "filler")
        (disk / "filler").unlink()
    else:
        process = start_codemix(arguments)
        output, _ = process.communicate(timeout=100)
        code = process.returncode
    assert code == 2, output
    assert "Traceback" not in output
    error = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(error) == 1, output
    assert named in error[0]
    if rest != "nothing":  # the run came to its end, and only the save that it needs has ended it
        assert output.count("a save has failed, and is made up for by the next") >= 1
        assert count_lines(run.metrics) == 20
    assert run.complete_steps() == [5], "the checkpoint before is still there"
    (disk / "others").unlink()
    done = codemix(*arguments)
    assert done.returncode == 0, done.stderr
    assert differences(whole, run, 20) == []


def test_output_that_finds_no_room_does_not_hide_the_cause(disk: Path, tmp_path: Path) -> None:
    """As of a study's phase, whose log is in its run directory."""
    config, run, log = write_run(tmp_path / "data"), RunDirectory(disk / "run"), disk / "train.log"
    arguments = ["train", config, SAVE_EVERY, "train.train_tokens=32K", "checkpoint.keep_last=1"]
    arguments += ["--run-dir", run.path]
    leave_free_for_one_checkpoint(disk / "others", config)
    program = [sys.executable, "-m", "megatron_codemix", *map(str, arguments), "--nproc", "2"]
    with open(log, "ab") as output:
        process = subprocess.Popen(program, stdout=output, stderr=output, env=ENVIRONMENT)
    try:
        while not run.complete_steps():
            assert process.poll() is None, log.read_text()
            time.sleep(0.005)
        with kept_full(disk / "filler"):
            with open(log, "ab", buffering=0) as rest, contextlib.suppress(OSError):
                while True:
                    rest.write(b"\n")  # to the end of its last page
            assert process.wait(timeout=100) == 2
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
    assert "\nerror: " not in log.read_text(), "it ended before the disk was full"
    for name in ("filler", "others"):
        (disk / name).unlink()
    again = start_codemix(arguments)
    assert again.communicate(timeout=300)[0].count("done after step") == 1
    assert again.returncode == 0


def test_a_result_that_finds_no_room_is_no_success(disk: Path, tmp_path: Path) -> None:
    config = write_run(tmp_path / "data")
    leave_free(disk / "filler", 0)
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
