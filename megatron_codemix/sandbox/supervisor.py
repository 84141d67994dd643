"""The first process of a sandbox: starts the program, watches it, ends all of it, and reports.

Where isolated it is process 1 of its namespace: the program cannot signal or read it, and whatever
the program has started dies with it.
"""

import json
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict

from megatron_codemix.sandbox.limits import Limits, Status
from megatron_codemix.sandbox.program import CHANNEL_DESCRIPTOR, Job, give_up, run_job

_LOOK_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def send_job(control: socket.socket, job: Job, stdin: bytes) -> None:
    control.sendall(json.dumps(asdict(job)).encode() + b"\n" + stdin)


def receive_job(control: socket.socket) -> tuple[Job, bytes] | None:
    """None if the other side has gone."""
    with control.makefile("rb") as stream:
        line = stream.readline()
        if not line:
            return None
        values = json.loads(line)
        job = Job(**{**values, "limits": Limits(**values["limits"])})
        return job, stream.read(job.num_stdin_bytes)


def supervise(
    control: socket.socket, channel: int | None, job: Job, stdin: bytes, *, isolated: bool
) -> None:
    """Runs the job and sends its report: a JSON line, then standard output, then standard error."""
    started = time.monotonic()
    outputs = [os.pipe(), os.pipe()]
    program = os.fork()
    if program == 0:
        _become(job, stdin, [write for _, write in outputs], channel, isolated=isolated)
    for _, write in outputs:
        os.close(write)
    if channel is not None:
        os.close(channel)  # or the other side would not see the program's end
    watch = _Watch(control, program, [read for read, _ in outputs], job.limits, isolated=isolated)
    status = watch.until_end(started + job.limits.wall_seconds)
    exit_code = _end_all(program, isolated=isolated)
    if watch.drain() and status is None:
        status = "output"
    cpu_seconds = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    if status is None:
        status = _status_of(exit_code, cpu_seconds, watch.texts[1], job.limits)
    is_limit = status in ("timeout", "memory", "output")
    head = {
        "status": status,
        "exit_code": None if is_limit else exit_code,
        "cpu_seconds": cpu_seconds,
        "num_stdout_bytes": len(watch.texts[0]),
    }
    control.sendall(json.dumps(head).encode() + b"\n" + watch.texts[0] + watch.texts[1])


def _become(
    job: Job, stdin: bytes, outputs: list[int], channel: int | None, *, isolated: bool
) -> None:
    """The program's process; does not return."""
    code = 1
    try:
        os.setsid()
        given = os.memfd_create("stdin")
        os.write(given, stdin)
        os.lseek(given, 0, os.SEEK_SET)
        wanted = [given, *outputs] + ([] if channel is None else [channel])
        high = [os.dup2(one, 100 + index) for index, one in enumerate(wanted)]
        for index, one in enumerate(high):
            os.dup2(one, index)
        assert len(outputs) + 1 == CHANNEL_DESCRIPTOR
        os.closerange(len(wanted), 1 << 20)
        give_up(job.limits, isolated=isolated)
        code = run_job(job)
    finally:
        os._exit(code)


class _Watch:
    """Reads what the program writes, and sees which limit it goes over first."""

    def __init__(
        self,
        control: socket.socket,
        program: int,
        outputs: list[int],
        limits: Limits,
        *,
        isolated: bool,
    ) -> None:
        self.texts = [b"", b""]
        """Standard output and standard error, cut to the limit."""
        self._open = {descriptor: index for index, descriptor in enumerate(outputs)}
        self._control = control.fileno()
        self._program = os.pidfd_open(program)
        self._limits = limits
        self._isolated = isolated
        self._poll = select.poll()
        for descriptor in (*outputs, self._program):
            self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._control, 0)  # its end only

    def until_end(self, deadline: float) -> Status | None:
        """The limit that was passed; None once the program has ended by itself."""
        next_look = time.monotonic() + _LOOK_SECONDS
        while True:
            now = time.monotonic()
            if now >= deadline:
                return "timeout"
            if now >= next_look and self._isolated:
                if (passed := self._limit_passed()) is not None:
                    return passed
                next_look = now + _LOOK_SECONDS
            until = min(deadline, next_look) if self._isolated else deadline
            ready = [one for one, _ in self._poll.poll(max(1, (until - now) * 1000))]
            excesses = [self._read(one) for one in ready if one in self._open]
            if any(excesses):
                return "output"
            if self._control in ready:
                os._exit(1)  # nobody waits for the report
            if self._program in ready:
                return None

    def drain(self) -> bool:
        """Reads what is still in the pipes; whether that was too much."""
        is_over = False
        while ready := select.select(list(self._open), [], [], 0)[0]:
            excesses = [self._read(one) for one in ready]
            is_over = is_over or any(excesses)
        return is_over

    def _read(self, descriptor: int) -> bool:
        """Whether there is now more output than allowed."""
        index = self._open[descriptor]
        data = os.read(descriptor, 1 << 16)
        if not data:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
        room = self._limits.output_bytes - sum(map(len, self.texts))
        self.texts[index] += data[:room]
        return len(data) > room

    def _limit_passed(self) -> Status | None:
        memory_bytes, cpu_seconds = _use_of_all()
        if memory_bytes > self._limits.memory_bytes:
            return "memory"
        return "timeout" if cpu_seconds > self._limits.cpu_seconds else None


def _use_of_all() -> tuple[int, float]:
    """Bytes that the processes of this namespace and /tmp hold, and CPU seconds, from /proc."""
    files = os.statvfs("/tmp")
    memory_bytes = (files.f_blocks - files.f_bfree) * files.f_frsize
    cpu_seconds = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    for name in os.listdir("/proc"):
        if not name.isdecimal() or name == "1":
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as handle:
                fields = handle.read().rpartition(b")")[2].split()  # from field 3, the state
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        user, system, resident = int(fields[11]), int(fields[12]), int(fields[21])
        memory_bytes += resident * _PAGE_BYTES
        cpu_seconds += (user + system) / _TICKS
    return memory_bytes, cpu_seconds


def _end_all(program: int, *, isolated: bool) -> int:
    """Ends the program and what it has started; the program's exit code."""
    if isolated:
        assert os.getpid() == 1, f"process {os.getpid()} is not the first of its namespace"
        kill_all = -1  # all but this process
    else:
        kill_all = -program  # its group
    with suppress(ProcessLookupError):
        os.kill(kill_all, signal.SIGKILL)
    exit_code = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return exit_code
        if pid == program:
            exit_code = os.waitstatus_to_exitcode(status)


def _status_of(exit_code: int, cpu_seconds: float, stderr: bytes, limits: Limits) -> Status:
    """Of a program that ended by itself."""
    if exit_code == -signal.SIGXCPU or cpu_seconds > limits.cpu_seconds:
        return "timeout"
    if exit_code < 0:
        return "killed"
    last_line = stderr.rstrip().rpartition(b"\n")[2]
    if exit_code and last_line.startswith(b"MemoryError"):
        return "memory"
    return "failed" if exit_code else "passed"
