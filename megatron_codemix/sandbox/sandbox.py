"""Runs programs in isolation, and tests of programs whose verdict the program cannot forge."""

import array
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from megatron_codemix.errors import UnavailableError
from megatron_codemix.sandbox.isolation import missing_here
from megatron_codemix.sandbox.limits import Limits, Outcome
from megatron_codemix.sandbox.program import Job
from megatron_codemix.sandbox.supervisor import send_job

_ADVICE = (
    "allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a "
    "container: its seccomp profile), or run without isolation (--unsafe, unsafe=True): then "
    "programs have this user's files and network, and only resource limits hold them"
)
_MORE_SECONDS = 1.0
"""A test waits so much longer than its candidate may run: the candidate's limit is seen first."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A candidate and the test that it has to pass."""

    candidate: str
    test: str
    """Statements that raise where the candidate is wrong. Names that it does not define itself are
    the candidate's."""
    entry_point: str | None = None
    """The name under test: always the candidate's, also where Python or `prompt` has it too."""
    prompt: str = ""
    """Definitions that the test may use in place of the candidate's: HumanEval's have helpers."""


class Sandbox:
    """A source of fresh sandboxes. May be used from several threads.

    Raises UnavailableError where this machine cannot isolate. `unsafe=True` goes on without
    namespaces: limits on resources alone, and the programs are this user's. `extensions`: compiled
    modules of one file, installed here, that programs may import; nothing else of the packages
    comes into their sight.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        unsafe: bool = False,
        extensions: Sequence[str] = (),
    ) -> None:
        self.limits = limits or Limits()
        if (missing := missing_here(isolated=not unsafe)) is not None:
            raise UnavailableError(f"programs cannot be run here: needs {missing}")
        files = {name: _extension_file(name) for name in extensions}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._zygote = _start_zygote(theirs, isolated=not unsafe, extensions=files)
        self._requests = ours
        try:
            self._refuse(json.loads(ours.recv(4096) or b'{"missing": "the helper did not start"}'))
            outcome = self.run("import json, ctypes")
            if outcome.status != "passed":
                text = outcome.stderr.decode(errors="replace").strip()
                raise UnavailableError(f"programs cannot be run here: {text or outcome.status}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the helper and with it every program that still runs."""
        self._requests.close()
        self._zygote.kill()
        self._zygote.wait()

    def run(self, program: str, *, stdin: bytes = b"") -> Outcome:
        """Runs a program by itself, as `__main__`."""
        job = Job(kind="program", source=program, limits=self.limits, num_stdin_bytes=len(stdin))
        with self._start(job, stdin) as control:
            return self._report(control)

    def run_many(self, programs: Sequence[str], workers: int) -> list[Outcome]:
        """Outcomes in the order of the programs; so many at a time, each in its own sandbox."""
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self.run, programs))

    def check(
        self, candidate: str, test: str, entry_point: str | None = None, *, prompt: str = ""
    ) -> Outcome:
        """Whether a candidate passes a test: see `Check`. Each runs in a sandbox of its own and has
        the other's values, never its memory (`remote.py`)."""
        patient = replace(self.limits, wall_seconds=self.limits.wall_seconds + _MORE_SECONDS)
        candidate_job = Job(kind="candidate", source=candidate, limits=self.limits)
        test_job = Job(
            kind="test", source=test, limits=patient, prompt=prompt, entry_point=entry_point
        )
        one, other = socket.socketpair()
        with one, other:
            candidate_control = self._start(candidate_job, b"", one)
            test_control = self._start(test_job, b"", other)
        with candidate_control, test_control:
            verdict = self._report(test_control)
            candidate_control.settimeout(_MORE_SECONDS)
            try:
                candidate_outcome = self._report(candidate_control)
            except TimeoutError:  # it does not end, though nobody asks it any more
                return verdict
            return _combined(verdict, candidate_outcome)

    def check_many(self, checks: Sequence[Check], workers: int) -> list[Outcome]:
        """Outcomes in the order of the checks; so many at a time."""

        def outcome(one: Check) -> Outcome:
            return self.check(one.candidate, one.test, one.entry_point, prompt=one.prompt)

        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(outcome, checks))

    def _start(self, job: Job, stdin: bytes, channel: socket.socket | None = None) -> socket.socket:
        """Has a sandbox made; the socket that its report will come from."""
        ours, theirs = socket.socketpair()
        with theirs:
            handed = [theirs.fileno()] + ([] if channel is None else [channel.fileno()])
            request = json.dumps({"wall_seconds": job.limits.wall_seconds}).encode()
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handed))
            self._requests.sendmsg([request], [rights])
        with suppress(BrokenPipeError):  # its report says why
            send_job(ours, job, stdin)
        return ours

    def _report(self, control: socket.socket) -> Outcome:
        data = _read_all(control)
        head_line, _, texts = data.partition(b"\n")
        if not head_line:
            return Outcome(status="killed", exit_code=None, stdout=b"", stderr=b"", cpu_seconds=0.0)
        head = json.loads(head_line)
        self._refuse(head)
        border = head.pop("num_stdout_bytes")
        return Outcome(stdout=texts[:border], stderr=texts[border:], **head)

    def _refuse(self, message: dict[str, str | None]) -> None:
        if message.get("missing"):
            raise UnavailableError(
                f"programs cannot be isolated on this machine: {message['missing']}; {_ADVICE}"
            )


def _extension_file(name: str) -> str:
    spec = find_spec(name)
    if spec is None or not isinstance(spec.loader, ExtensionFileLoader) or spec.origin is None:
        raise UnavailableError(
            f"programs that use the compiled module {name!r} cannot be run here: it is not "
            "installed; `pip install 'megatron_codemix[curate]'` brings it"
        )
    return spec.origin


def _start_zygote(
    requests: socket.socket, *, isolated: bool, extensions: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """An interpreter without this one's environment, packages or session. One seed for hashes: a
    program that prints a set gives the same in every run."""
    root = str(Path(__file__).parents[2])
    number = requests.fileno()
    code = (
        f"import sys; sys.path.append({root!r}); "
        "from megatron_codemix.sandbox.zygote import serve; sys.path.pop(); "
        f"serve({number}, isolated={isolated}, extensions={extensions!r})"
    )
    return subprocess.Popen(
        [sys.executable, "-s", "-S", "-P", "-B", "-c", code],
        env={"PYTHONHASHSEED": "0"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[number],
        start_new_session=True,  # Ctrl-C is for this process, which then closes it
    )


def _read_all(control: socket.socket) -> bytes:
    """Until its end; nothing from a helper that was lost."""
    parts = []
    try:
        while part := control.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        return b""
    return b"".join(parts)


def _combined(verdict: Outcome, candidate: Outcome) -> Outcome:
    """The verdict is the test's; why it failed is the candidate's where that went over a limit."""
    if verdict.status == "passed":
        return replace(candidate, status="passed", exit_code=0)
    if candidate.status in ("passed", "failed"):
        stderr = candidate.stderr + verdict.stderr
        return replace(verdict, stdout=candidate.stdout, stderr=stderr)
    return candidate
