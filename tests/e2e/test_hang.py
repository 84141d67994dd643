"""A rank that stands still ends the run as one to be tried again, and the others say where."""

import os
import signal
import socket
import time
from pathlib import Path

from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, count_lines, start_codemix
from tests.helpers.tiny import SEQUENCE, write_run

LIMITS = ["survival.hang_factor=2", "survival.hang_floor_seconds=3"]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rank_processes(pid: int) -> list[int]:
    """The two ranks, oldest first: children of the launcher that read the same program."""
    program = Path(f"/proc/{pid}/cmdline").read_bytes()
    found = [child for child in children(pid) if _program(child) == program]
    assert len(found) == 2, found
    return found


def _program(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_a_stopped_rank_is_a_hang(tmp_path: Path) -> None:
    config, run = write_run(tmp_path / "data"), RunDirectory(tmp_path / "run")
    save = f"checkpoint.save_every_tokens={4 * 8 * SEQUENCE}"
    arguments = ["train", config, *LIMITS, save, "train.train_tokens=16K"]
    arguments += ["--run-dir", run.path, "--nproc", "2"]
    process = start_codemix(arguments)
    try:
        deadline = time.monotonic() + 120
        while count_lines(run.metrics) < 6:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(rank_processes(process.pid)[1], signal.SIGSTOP)
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 75, output
    assert "hangs: step" in output
    assert f"1 of 2 ranks do not answer: 1 on {socket.gethostname()}; is the process" in output
    assert "all_reduce" in output or "trainer.py" in output  # rank 0's stacks
    status = run.read_status()
    assert (status.state, status.failures) == ("failed", 1)
    assert "1 of 2 ranks do not answer" in status.last_error
    done = codemix(*arguments)
    assert done.returncode == 0, done.stderr
    steps = [line["step"] for line in read_jsonl(run.metrics)]
    assert steps == list(range(1, len(steps) + 1))
