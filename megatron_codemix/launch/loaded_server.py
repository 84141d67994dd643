"""The server's half of `LoadedServer`: imports, then forks a child for each request.

python -m megatron_codemix.launch.loaded_server SOCKET MODULE
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from megatron_codemix.garbage import no_search_for_garbage
from megatron_codemix.processes import die_with

REPORT = struct.Struct("=?q")
"""False and the child's process id, later True and its exit code; on a pipe of its own."""
_MAX_REQUEST_BYTES = 1 << 20
_MAX_FDS = 16


@dataclass(frozen=True)
class _Request:
    """One child that is asked for."""

    words: list[str]
    environment: dict[str, str]
    output: int
    """File descriptor of its stdout and stderr."""
    report: int
    """Pipe to who asked."""
    held: list[int]
    """File descriptors that it keeps open while it lives, such as of a lock."""


@dataclass(frozen=True)
class _Forked:
    """A child that runs."""

    pid: int
    report: int


def main(descriptor: str, name: str) -> int:
    """Serves until who asks has gone; in a child it is the module's `main`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for who asks
    requests = socket.socket(fileno=int(descriptor))
    module = import_module(name)
    with no_search_for_garbage():
        module.load()
    gc.freeze()  # or the first collection of each child would copy what was imported
    request = _serve(requests)
    if request is None:
        return 0
    exit_code: int = module.main(request.words)
    return exit_code


def _serve(requests: socket.socket) -> _Request | None:
    """Forks for each request and reports each end. Returns in a child its request, in the server
    None once the other end is closed."""
    with requests, selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fileobj)
                    assert isinstance(key.fileobj, int)
                    _report_end(key.fileobj, key.data)
                    continue
                request = _receive(requests)
                if request is None:
                    return None
                others = [one.data for one in selector.get_map().values() if one.data is not None]
                forked = _fork(request, others)
                if forked is None:
                    return request
                selector.register(os.pidfd_open(forked.pid), selectors.EVENT_READ, forked)


def _receive(requests: socket.socket) -> _Request | None:
    message, descriptors, *_ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, _MAX_FDS)
    if not message:
        return None
    output, report, *held = descriptors
    return _Request(**json.loads(message), output=output, report=report, held=held)


def _fork(request: _Request, others: Sequence[_Forked]) -> _Forked | None:
    """The new child; None in that child, which is ready to run."""
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        for other in others:
            os.close(other.report)
        _become_child(request, server)
        return None
    for descriptor in (request.output, *request.held):
        os.close(descriptor)
    return _Forked(pid, request.report)


def _become_child(request: _Request, server: int) -> None:
    """A session, output and environment of its own; ended by the kernel with the server."""
    os.setsid()
    for descriptor in (1, 2):
        os.dup2(request.output, descriptor)
    os.close(request.output)
    die_with(server, by=signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request.environment)
    _report(request.report, False, os.getpid())


def _report_end(pidfd: int, forked: _Forked) -> None:
    _, status = os.waitpid(forked.pid, 0)
    os.close(pidfd)
    _report(forked.report, True, os.waitstatus_to_exitcode(status))


def _report(pipe: int, is_end: bool, number: int) -> None:
    """This process's last words on this pipe."""
    with contextlib.suppress(BrokenPipeError):  # who asked has gone, which ends the server next
        os.write(pipe, REPORT.pack(is_end, number))
    os.close(pipe)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
