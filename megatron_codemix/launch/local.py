"""One child process on this machine: its output in a file, stopped when its parent is stopped or
killed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from megatron_codemix.processes import die_with

POLL_SECONDS = 0.25
"""How often a waiting parent looks at its child and shows progress."""


class StopRequest:
    """Whether someone asked this process to stop: how often SIGINT (Ctrl-C) or SIGTERM came since
    `listen`."""

    def __init__(self) -> None:
        self.count = 0

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
        self.count += 1


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


def run_child(
    command: Sequence[str],
    log: Path,
    *,
    stop: StopRequest,
    on_poll: Callable[[], None] = lambda: None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> ChildExit:
    """Runs `command` in its own process group, its output appended to `log`, and waits.

    A stop request is passed on to the child as one SIGTERM, so that it can save and exit (a
    launcher of ranks tells its ranks); a second one kills the whole group. If this process dies,
    the kernel sends the child SIGTERM.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        log_start = output.tell()
        started = time.monotonic()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=partial(die_with, os.getpid(), by=signal.SIGTERM),
        )
        code = _wait(child, stop, on_poll)
    return ChildExit(code=code, seconds=time.monotonic() - started, log=log, log_start=log_start)


def _wait(child: "subprocess.Popen[bytes]", stop: StopRequest, on_poll: Callable[[], None]) -> int:
    """Exit code of `child`; leaves no process of its group behind, even if `on_poll` raises."""
    forwarded = 0
    try:
        while True:
            try:
                return child.wait(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                on_poll()
            if stop.count >= 1 and forwarded == 0:
                child.send_signal(signal.SIGTERM)
                forwarded = stop.count
            elif stop.count > forwarded:
                _kill_group(child.pid)
    finally:
        # Ranks of a launcher that died, or the child itself if on_poll raised. A group that has
        # ended is no error.
        _kill_group(child.pid)
        child.wait()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
