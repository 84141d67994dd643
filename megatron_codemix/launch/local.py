"""Child processes on this machine: output in a file, stopped when their parent is stopped or
killed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

from megatron_codemix.processes import die_with

POLL_SECONDS = 0.25
"""How often a waiting parent looks at its child and shows progress."""


class StopRequest:
    """Whether someone asked this process to stop: how often SIGINT (Ctrl-C) or SIGTERM came since
    `listen`."""

    def __init__(self) -> None:
        self.count = 0

    def ask(self) -> None:
        """As if a signal had come."""
        self.count += 1

    @contextlib.contextmanager
    def listen(self) -> Iterator["StopRequest"]:
        """Counts the signals instead of dying of them; only in the main thread."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._count) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.ask()


@dataclass(frozen=True, kw_only=True)
class ChildExit:
    """How a child ended."""

    code: int
    """Exit code; the negative number of the signal that killed it."""
    seconds: float
    log: Path
    log_start: int
    """Where in `log` this child's output begins, in bytes."""

    def last_block(self, max_lines: int = 60) -> str:
        """The end of the output: from the first line among the last ones that opens an error, else
        all of the last ones."""
        with open(self.log, "rb") as handle:
            handle.seek(self.log_start)
            lines = handle.read().decode("utf-8", errors="replace").rstrip().splitlines()
        lines = lines[-max_lines:]
        start = next((i for i, line in enumerate(lines) if _opens_error_block(line)), 0)
        return "\n".join(lines[start:])


def _opens_error_block(line: str) -> bool:
    return line.lower().startswith(("error", "traceback (most recent call last)"))


class Process(Protocol):
    """What is asked of a started process; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Which is also its process group's."""
        ...

    def send_signal(self, number: signal.Signals, /) -> None:
        """Nothing where it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or the negative number of the signal that killed it. Raises
        subprocess.TimeoutExpired."""
        ...


class Starter(Protocol):
    """Starts a process in a session of its own, to which the kernel sends SIGTERM when this one
    dies."""

    def __call__(
        self,
        words: Sequence[str],
        output: IO[bytes],
        pass_fds: Sequence[int],
        environment: Mapping[str, str],
    ) -> Process:
        """words: which process. output: for stdout and stderr. pass_fds: stay open in it.
        environment: on top of this one."""
        ...


def start_program(
    words: Sequence[str],
    output: IO[bytes],
    pass_fds: Sequence[int],
    environment: Mapping[str, str],
) -> Process:
    """A `Starter`; `words` are a program and its arguments."""
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        pass_fds=pass_fds,
        start_new_session=True,
        preexec_fn=partial(die_with, os.getpid(), by=signal.SIGTERM),
    )


class Child:
    """A process in its own process group, its output appended to a log.

    A stop request is passed on to it as one SIGTERM, so that it can save and exit (a launcher of
    ranks tells its ranks); a second one kills the whole group. If this process dies, the kernel
    sends the child SIGTERM.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        *,
        start: Starter = start_program,
        pass_fds: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it. In the thread that waits for it: the kernel takes the end of a thread for that
        of the parent."""
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            self.log_start = output.tell()
            self._started = time.monotonic()
            self._process = start(words, output, pass_fds, environment or {})
        self._forwarded = 0
        self._is_over = False

    def pass_on(self, stop: StopRequest) -> None:
        """Tells the child of stop requests that it was not told of yet."""
        if stop.count >= 1 and self._forwarded == 0:
            self._process.send_signal(signal.SIGTERM)
            self._forwarded = stop.count
        elif stop.count > self._forwarded:
            _kill_group(self._process.pid)

    def ended(self, timeout_seconds: float = 0.0) -> ChildExit | None:
        """How it ended; None where it still runs after `timeout_seconds`. Leaves no process of its
        group behind."""
        try:
            code = self._process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            return None
        self.kill()
        seconds = time.monotonic() - self._started
        return ChildExit(code=code, seconds=seconds, log=self.log, log_start=self.log_start)

    def kill(self) -> None:
        """Ends what is left of its group: ranks of a launcher that died, or the child itself. A
        group that has ended is no error."""
        if not self._is_over:
            _kill_group(self._process.pid)
            self._process.wait()
            self._is_over = True


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
