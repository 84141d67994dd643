"""Forked work: its memory, its exit code, and that it never outlives its parent."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from megatron_codemix.processes import ForkedWork


def test_work_sees_the_memory_of_the_moment_of_the_fork(tmp_path: Path) -> None:
    values = [1]
    read, write = os.pipe()

    def work() -> None:
        os.read(read, 1)
        (tmp_path / "seen").write_text(str(values))

    process = ForkedWork(work)
    values.append(2)
    assert process.is_running()
    os.write(write, b"x")
    assert process.wait() == 0
    assert (tmp_path / "seen").read_text() == "[1]"
    assert not process.is_running()


def test_an_exception_is_exit_code_1(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ValueError("as the test wants")

    assert ForkedWork(work).wait() == 1
    assert "ValueError: as the test wants" in capfd.readouterr().err


def test_signals_for_the_parent_do_not_end_it_and_kill_does() -> None:
    read, write = os.pipe()

    def work() -> None:
        os.write(write, b"x")
        time.sleep(60)

    process = ForkedWork(work)
    os.read(read, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        os.kill(process.pid, number)
    assert process.is_running()
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    def middle() -> None:
        inner = ForkedWork(lambda: time.sleep(60))
        (tmp_path / "pid").write_text(str(inner.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    assert ForkedWork(middle).wait() == -signal.SIGKILL
    inner = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while psutil.pid_exists(inner) and psutil.Process(inner).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlives its parent"
        time.sleep(0.005)
