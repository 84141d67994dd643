"""One rank of four goes wrong in its fourth step: all end, and the last words are that rank's."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import ENVIRONMENT
from tests.helpers.tiny import write_run

FAULTS = {
    "error": "raise DataError('block 3 of code.bin is damaged')",
    "bug": "1 // 0",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}
PROGRAM = """
import os, pathlib, signal, sys
from megatron_codemix.cli.main import main
from megatron_codemix.errors import DataError
from megatron_codemix.train import trainer

launch_step, steps = trainer.launch_step, []

def failing(*arguments, **options):
    steps.append(1)
    if os.environ["RANK"] == "2" and len(steps) == 4:
        pathlib.Path(marker).touch()
        {fault}
    return launch_step(*arguments, **options)

trainer.launch_step = failing
marker = sys.argv.pop()
sys.exit(main())
"""
LIMIT_SECONDS = 30


def fail(tmp_path: Path, kind: str) -> tuple[int, list[str], RunDirectory]:
    """Exit code, lines of stderr after the last step's, and the run."""
    config, run, struck = write_run(tmp_path / "data"), tmp_path / "run", tmp_path / "struck"
    arguments = ["train", config, "layout.tensor=2", "--run-dir", run, "--nproc", "4"]
    program = PROGRAM.replace("{fault}", FAULTS[kind])
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments), str(struck)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not struck.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        _, shown = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
    assert [one.pid for one in psutil.process_iter() if str(run) in _command(one)] == []
    lines = shown.splitlines()
    last_step = max(number for number, line in enumerate(lines) if " step 3/20 " in line)
    return process.returncode, lines[last_step + 1 :], RunDirectory(run)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_an_error_is_the_last_word(tmp_path: Path) -> None:
    code, lines, run = fail(tmp_path, "error")
    assert code == 2
    assert lines[-2:] == ["error: block 3 of code.bin is damaged", "(rank 2 of 4)"]
    assert all("rank 0 has lost another rank" in line for line in lines[:-2])
    status = run.read_status()
    assert status is not None
    assert (status.state, status.failures) == ("failed", 1)
    assert status.last_error == "rank 2: block 3 of code.bin is damaged"


def test_a_bug_shows_its_traceback_alone(tmp_path: Path) -> None:
    code, lines, run = fail(tmp_path, "bug")
    assert code == 1
    start = lines.index("rank 2 of 4 failed:")
    assert all("rank 0 has lost another rank" in line for line in lines[:start])
    assert lines[start + 1].startswith("Traceback")
    assert lines[-2:] == [
        "ZeroDivisionError: integer division or modulo by zero",
        f"log: {run.attempt(1) / 'rank2.log'}",
    ]
    assert "ZeroDivisionError" in run.read_status().last_error


def test_a_rank_killed_is_named(tmp_path: Path) -> None:
    code, lines, run = fail(tmp_path, "killed")
    assert code == 75
    (named,) = [number for number, line in enumerate(lines) if line.startswith("rank 2 of 4")]
    assert lines[named].startswith("rank 2 of 4 was killed by SIGKILL")
    assert "Traceback" not in "".join(lines[:named])
    status = run.read_status()
    assert (status.state, status.failures) == ("failed", 1)
    assert "a rank was killed" in status.last_error
