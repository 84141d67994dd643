"""The helper process that each sandbox comes from: a bare interpreter, isolated and warm.

It is started with an empty environment, imports what programs import most, and enters a root of its
own. For each request it clones a supervisor into new namespaces. It never reads a program or a
test: the supervisor does, from the socket that came with the request, so that no later program can
find an earlier one in the memory that it was forked with.
"""

import array
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location

from megatron_codemix.sandbox import kernel
from megatron_codemix.sandbox.isolation import clone_isolated, enter_own_root, finish_isolation
from megatron_codemix.sandbox.supervisor import receive_job, supervise

_GRACE_SECONDS = 3.0
"""A supervisor ends its program by itself; one that was slowed down is itself ended after this."""
_OFTEN_IMPORTED = (
    "typing", "math", "cmath", "re", "string", "collections", "itertools", "functools", "operator",
    "heapq", "bisect", "random", "statistics", "datetime", "copy", "hashlib", "dataclasses",
    "decimal", "fractions", "enum", "abc", "io", "ctypes",
)  # fmt: skip


def serve(descriptor: int, *, isolated: bool, extensions: Mapping[str, str]) -> None:
    """Answers requests on this socket until its other end is closed.

    The first message out says what is missing, or nothing. A request is a JSON object with the
    seconds that it may take, and one or two sockets: for the job and report, and a test's channel.

    extensions: modules that programs may import besides Python's own, and their files. They are
    loaded before the root is entered, which therefore needs to show no folder of packages.
    """
    os.umask(0o022)
    for name in _OFTEN_IMPORTED:
        import_module(name)
    for name, path in extensions.items():
        _load_extension(name, path)
    requests = socket.socket(fileno=descriptor)
    try:
        if isolated:
            enter_own_root()
    except OSError as error:
        requests.send(json.dumps({"missing": error.strerror}).encode())
        return
    requests.send(json.dumps({"missing": None}).encode())
    deadlines: dict[int, float] = {}
    while True:
        if select.select([requests], [], [], 1.0 if deadlines else None)[0]:
            message, ancillary, _, _ = requests.recvmsg(1024, socket.CMSG_SPACE(8))
            if not message:
                break
            wall_seconds = json.loads(message)["wall_seconds"]
            pid = _start(requests, _descriptors(ancillary), isolated=isolated)
            if pid is not None:
                deadlines[pid] = time.monotonic() + wall_seconds + _GRACE_SECONDS
        _end_overdue(deadlines)


def _load_extension(name: str, path: str) -> None:
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))
    assert spec is not None, f"{name}: {path}"
    assert spec.loader is not None, f"{name}: {path}"
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data)
    return received.tolist()


def _start(requests: socket.socket, descriptors: list[int], *, isolated: bool) -> int | None:
    """Makes a supervisor; its process id, None where the kernel refuses."""
    outside = os.geteuid(), os.getegid()
    control = socket.socket(fileno=descriptors[0])
    channel = descriptors[1] if len(descriptors) > 1 else None
    try:
        pid = clone_isolated() if isolated else os.fork()
    except OSError as error:
        _report_missing(control, error)
        pid = None
    if pid == 0:
        requests.close()
        _supervise(control, channel, outside, isolated=isolated)
    control.close()
    if channel is not None:
        os.close(channel)
    return pid


def _supervise(
    control: socket.socket, channel: int | None, outside: tuple[int, int], *, isolated: bool
) -> None:
    """The supervisor's process; does not return."""
    code = 1
    try:
        kernel.set_death_signal(signal.SIGKILL)
        if (received := receive_job(control)) is not None:
            job, stdin = received
            if isolated:
                try:
                    finish_isolation(outside, job.limits)
                except OSError as error:
                    _report_missing(control, error)
                    return
                supervise(control, channel, job, stdin, isolated=True)
            else:
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    os.chdir(folder)
                    supervise(control, channel, job, stdin, isolated=False)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _report_missing(control: socket.socket, error: OSError) -> None:
    control.sendall(json.dumps({"missing": error.strerror}).encode() + b"\n")


def _end_overdue(deadlines: dict[int, float]) -> None:
    """Forgets supervisors that have ended, and ends those that are late."""
    for pid, deadline in list(deadlines.items()):
        if os.waitpid(pid, os.WNOHANG)[0]:
            del deadlines[pid]
        elif time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
