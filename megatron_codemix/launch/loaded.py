"""A process that has imported what children need, and forks them: each starts in milliseconds, not
after seconds of imports.

multiprocessing has such a server too; its children hold it open, so that they outlive a parent that
is killed.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO

from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.launch.loaded_server import REPORT
from megatron_codemix.processes import die_with


@dataclass(frozen=True)
class _Running:
    """A server that was started."""

    process: "subprocess.Popen[bytes]"
    requests: socket.socket
    """A message for each child; the server ends once it is closed."""


class LoadedServer:
    """Starts children that call `main(words)` of a module and exit with what it returns.

    The server imports the module, calls its `load()` and forks; none of that may touch a GPU, which
    the forks could not use then. It is started with the first child, and anew where it has died. It
    ends when this process does, even by kill -9; its children get SIGTERM then.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._running: _Running | None = None

    def start(
        self,
        words: Sequence[str],
        output: IO[bytes],
        pass_fds: Sequence[int],
        environment: Mapping[str, str],
    ) -> "ForkedChild":
        """A `Starter`; `words` are for `main`, whose environment is that which `load` has left
        with `environment` on top."""
        if self._running is None or self._running.process.poll() is not None:
            self.close()
            self._running = self._start_server(output)
        request = json.dumps({"words": list(words), "environment": dict(environment)}).encode()
        reports, report = os.pipe()
        descriptors = [output.fileno(), report, *pass_fds]
        # Where the server has died since, the child's end says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._running.requests, [request], descriptors)
        os.close(report)
        return ForkedChild(self._running.process, reports)

    def close(self) -> None:
        """Ends the server. Children that still run get SIGTERM."""
        if self._running is not None:
            self._running.requests.close()
            self._running.process.wait()
            self._running = None

    def _start_server(self, output: IO[bytes]) -> _Running:
        """What it says, as of a module that is missing, goes where its first child's words go."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = [sys.executable, "-m", "megatron_codemix.launch.loaded_server"]
            process = subprocess.Popen(
                [*program, str(theirs.fileno()), self._module],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=partial(die_with, os.getpid(), by=signal.SIGTERM),
            )
        return _Running(process, ours)


class ForkedChild:
    """A child of the server, as `subprocess.Popen` has its own. Until the server has imported all
    and forked it, a signal to it is one to the server."""

    def __init__(self, server: "subprocess.Popen[bytes]", reports: int) -> None:
        self._server, self._reports = server, reports
        self._pid: int | None = None
        self._code: int | None = None

    @property
    def pid(self) -> int:
        """Of the child; of the server before it is forked."""
        if self._pid is None:
            self._read(0.0)
        return self._server.pid if self._pid is None else self._pid

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing where it has ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, the negative number of a signal that killed it; the server's where that
        was killed. Raises TimeoutExpired where it still runs after `timeout` seconds."""
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while self._code is None:
            left = None if give_up_at is None else give_up_at - time.monotonic()
            if left is not None and left < 0:
                raise subprocess.TimeoutExpired("a forked child", timeout or 0.0)
            self._read(left)
        return self._code

    def _read(self, timeout: float | None) -> None:
        """Takes note of one report, if it comes in time."""
        if self._code is not None or not select.select([self._reports], [], [], timeout)[0]:
            return
        report = os.read(self._reports, REPORT.size)
        is_end, number = REPORT.unpack(report) if report else (True, self._server.wait())
        if not is_end:
            self._pid = number
            return
        # Without a report the server has ended, which none of its children asks for.
        self._code = number if report else number or EXIT_BUG
        os.close(self._reports)
