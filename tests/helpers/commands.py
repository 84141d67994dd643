"""Runs `codemix` as a user does: a process of its own, its output captured.

The process is forked from a server that has made the imports. Where the start itself is tested, or
that processes whose sets are in another order come to the same result, `python` starts one anew.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from megatron_codemix.bench.chaos.lines import count_lines
from tests.helpers import server

ENVIRONMENT = {**os.environ, **server.ENVIRONMENT}
_LIMIT_SECONDS = 600


def codemix(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command. environment: on top of ENVIRONMENT."""
    command = Command(arguments, cwd, are_streams_one=False, environment=environment)
    output, errors = command.communicate(timeout=_LIMIT_SECONDS)
    return subprocess.CompletedProcess(command.arguments, command.returncode, output, errors)


def python(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished command of this interpreter."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=cwd,
        timeout=_LIMIT_SECONDS,
    )


def start_codemix(arguments: Sequence[str | Path], cwd: Path | None = None) -> "Command":
    """The command, started; its stdout holds stderr too."""
    return Command(arguments, cwd)


class Command:
    """A started `codemix`, with what tests use of `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        cwd: Path | None = None,
        *,
        are_streams_one: bool = True,
        leads_group: bool = False,
        environment: Mapping[str, str] | None = None,
        output: Connection | None = None,
    ) -> None:
        """leads_group: whether it gets a process group of its own, with the processes that it
        starts. environment: on top of ENVIRONMENT. output: takes what it writes, in place of a
        file."""
        self.arguments = ["codemix", *map(str, arguments)]
        self._folder = Path(tempfile.mkdtemp(prefix="codemix-test-command-"))
        self._stdout = self._folder / "stdout"
        self._stderr = self._stdout if are_streams_one else self._folder / "stderr"
        streams = (output or self._stdout, output or self._stderr)
        place = (cwd or Path.cwd(), *streams, leads_group)
        self._process = server.context().Process(
            target=_run, args=(self.arguments, {**ENVIRONMENT, **(environment or {})}, *place)
        )
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> Any:
        """An int, negative if it died of a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        code: int | None = self.returncode
        return code

    def said(self) -> str:
        """What it has written to stdout so far."""
        return self._stdout.read_text() if self._stdout.exists() else ""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it has ended; TimeoutExpired where it has not by then."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for its end and at most so many seconds, then kills it. What it wrote to stdout,
        and to stderr where that is not one file with it."""
        self._process.join(timeout)
        is_late = self.returncode is None
        self.kill()
        texts = {path: path.read_text() for path in (self._stdout, self._stderr) if path.exists()}
        shutil.rmtree(self._folder, ignore_errors=True)
        output = texts.pop(self._stdout, "")
        errors = "".join(texts.values())
        if is_late:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0, output, errors)
        return output, errors

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing if it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it, if it still runs, and waits for that."""
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """The same; what it has written goes too."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _run(
    arguments: list[str],
    environment: Mapping[str, str],
    cwd: Path,
    stdout: Path | Connection,
    stderr: Path | Connection,
    leads_group: bool,
) -> None:
    """The command, in its process."""
    if leads_group:
        os.setsid()
    from megatron_codemix.cli.main import main

    for number, place in ((1, stdout), (2, stderr)):
        if isinstance(place, Connection):
            os.dup2(place.fileno(), number)
            continue
        opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    try:
        code = main()
    finally:
        atexit._run_exitfuncs()  # a forked process skips them
    sys.exit(code)


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
        process.end()
