"""Runs `codemix` as a user does: a process of its own, its output captured."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def codemix(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished command."""
    return python("-m", "megatron_codemix", *arguments, cwd=cwd)


def python(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished command of this interpreter."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=cwd,
        timeout=600,
    )


def start_codemix(
    arguments: Sequence[str | Path], cwd: Path | None = None
) -> subprocess.Popen[str]:
    """The command, started; its stdout holds stderr too."""
    return subprocess.Popen(
        [sys.executable, "-m", "megatron_codemix", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def codemix_stopped(
    arguments: Sequence[str | Path], *, metrics: Path, after_lines: int, by: signal.Signals
) -> int:
    """Starts the command and sends it a signal once the metrics file has so many lines; its exit
    code, negative if it died of the signal."""
    process = start_codemix(arguments)
    try:
        deadline = time.monotonic() + 120
        while count_lines(metrics) < after_lines:
            assert process.poll() is None, "the command ended before it could be stopped"
            assert time.monotonic() < deadline, "the command did not get so far in time"
            time.sleep(0.005)
        process.send_signal(by)
        process.communicate(timeout=120)
        return process.returncode
    finally:
        process.kill()


def count_lines(path: Path) -> int:
    """Whole lines; 0 where the file is absent."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
