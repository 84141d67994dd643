"""What programs that attack can reach: the host is watched from outside while they run."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

from megatron_codemix.errors import ConfigError, UnavailableError
from megatron_codemix.sandbox.limits import MIB, Limits
from megatron_codemix.sandbox.sandbox import Sandbox
from tests.unit.sandbox.hostile_programs import ESCAPES, FORGERIES, OVERLOADS, PRELUDE

ROOT = Path(__file__).parents[3]
TEST = "assert answer(21) == 142"
SECRET = "the-secret-of-the-host"
MARKER = f"hostile{os.getpid()}"[:15]
LIMITS = Limits(
    wall_seconds=20,
    cpu_seconds=10,
    memory_bytes=256 * MIB,
    processes=8,
    output_bytes=MIB,
    file_bytes=8 * MIB,
    disk_bytes=32 * MIB,
)
SHORT = Limits(**{**vars(LIMITS), "wall_seconds": 4, "cpu_seconds": 1})
SLACK_SECONDS = 30
"""A supervisor that is late is ended 3 s after its limit; the rest is for a busy machine."""


class Host:
    """What must not change. Its folder is open to all users, which pytest's own is not."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o777)
        self.folder = folder
        self.canary = folder / "canary"
        self.canary.write_text("sings")
        self.canary.chmod(0o666)
        self.secret = folder / "secret"
        self.secret.write_text(SECRET)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.signals: list[int] = []

    def note(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)

    def fill_in(self, program: str) -> str:
        facts = {
            "CANARY": str(self.canary),
            "SECRET": str(self.secret),
            "FOLDER": str(self.folder),
            "PORT": str(self.listener.getsockname()[1]),
            "PARENT": str(os.getpid()),
            "MARKER": MARKER,
        }
        for name, fact in facts.items():
            program = program.replace(f"CODEMIX_TEST_{name}", "\0").replace(name, fact)
            program = program.replace("\0", f"CODEMIX_TEST_{name}")
        return PRELUDE + program

    def assert_unharmed(self) -> None:
        assert self.canary.read_text() == "sings"
        assert self.canary.stat().st_mode & 0o777 == 0o666
        assert sorted(path.name for path in self.folder.iterdir()) == ["canary", "secret"]
        with pytest.raises(BlockingIOError):
            self.listener.accept()
        assert self.signals == []
        assert not Path("/harmed").exists()
        assert MARKER not in process_names()


def process_names() -> list[str]:
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(path.read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return names


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    before = signal.getsignal(signal.SIGUSR1)
    with tempfile.TemporaryDirectory(prefix="codemix-host-") as folder:
        one = Host(Path(folder))
        signal.signal(signal.SIGUSR1, one.note)
        os.environ["CODEMIX_TEST_SECRET"] = SECRET
        yield one
        one.listener.close()
        del os.environ["CODEMIX_TEST_SECRET"]
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture(scope="module")
def sandbox(isolation: None, host: Host) -> Iterator[Sandbox]:
    with Sandbox(LIMITS) as one:
        yield one


@pytest.fixture(scope="module")
def short_sandbox(isolation: None, host: Host) -> Iterator[Sandbox]:
    with Sandbox(SHORT) as one:
        yield one


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes_are_refused_and_change_nothing(sandbox: Sandbox, host: Host, name: str) -> None:
    outcome = sandbox.check(host.fill_in(ESCAPES[name]), TEST, "answer")
    assert outcome.status == "failed", outcome
    assert outcome.stdout.startswith(b"refused:"), outcome
    assert b"ESCAPED" not in outcome.stdout
    assert SECRET.encode() not in outcome.stdout + outcome.stderr
    host.assert_unharmed()


@pytest.mark.parametrize("name", OVERLOADS)
def test_overloads_end_at_their_limits(short_sandbox: Sandbox, host: Host, name: str) -> None:
    source, statuses = OVERLOADS[name]
    started = time.monotonic()
    outcome = short_sandbox.check(host.fill_in(source), TEST, "answer")
    assert outcome.status in statuses, outcome
    assert time.monotonic() - started < SHORT.wall_seconds + SLACK_SECONDS
    assert len(outcome.stdout + outcome.stderr) <= 2 * SHORT.output_bytes
    host.assert_unharmed()
    assert short_sandbox.run("print(1)").stdout == b"1\n"


@pytest.mark.parametrize("name", FORGERIES)
def test_no_candidate_passes_without_the_right_answer(
    sandbox: Sandbox, host: Host, name: str
) -> None:
    outcome = sandbox.check(host.fill_in(FORGERIES[name]), TEST, "answer")
    assert outcome.status in ("failed", "killed"), outcome
    host.assert_unharmed()


def test_the_attacks_are_real(host: Host) -> None:
    """Without isolation those that harm nothing do work."""
    names = [
        "reads a file outside", "reads the password file", "lists the canary's folder",
        "links to a file outside", "starts a shell",
    ]  # fmt: skip
    with Sandbox(LIMITS, unsafe=True) as unsafe:
        for name in names:
            outcome = unsafe.check(host.fill_in(ESCAPES[name]), TEST, "answer")
            assert b"ESCAPED:" in outcome.stdout, (name, outcome)


def test_the_forgeries_are_real(sandbox: Sandbox, host: Host) -> None:
    """Where candidate and test share a process, these pass."""
    names = [
        "exits with success", "exits with success at once", "exits in an answer",
        "raises SystemExit in an answer", "is equal to all", "patches the integers",
        "looks for the expected value in frames", "looks for the test in its memory",
    ]  # fmt: skip
    for name in names:
        program = (
            f"names = {{}}\nexec({host.fill_in(FORGERIES[name])!r}, names)\nexec({TEST!r}, names)"
        )
        assert sandbox.run(program).status == "passed", name


def test_the_environment_does_not_reach_programs_even_without_isolation(host: Host) -> None:
    with Sandbox(LIMITS, unsafe=True) as unsafe:
        assert unsafe.run("import os; print(dict(os.environ))").stdout == b"{}\n"


def test_a_program_sees_its_input_and_is_seen_by_its_output(sandbox: Sandbox) -> None:
    program = "import sys\nprint(input()[::-1])\nprint('no', file=sys.stderr)\nsys.exit(3)"
    outcome = sandbox.run(program, stdin="caf\u00e9\n".encode())
    assert (outcome.status, outcome.exit_code) == ("failed", 3)
    assert outcome.stdout == "\u00e9fac\n".encode()
    assert outcome.stderr == b"no\n"


def test_a_program_runs_as_main_and_to_its_very_end(sandbox: Sandbox) -> None:
    program = (
        "import atexit, threading, time\n"
        "atexit.register(print, 'last')\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\n"
    )
    outcome = sandbox.run(program)
    assert (outcome.status, outcome.stdout) == ("passed", b"thread\nlast\n")


def test_programs_share_nothing(sandbox: Sandbox) -> None:
    look = "import os; print(os.listdir('/tmp')); open('left', 'w').write('x')"
    assert [one.stdout for one in sandbox.run_many([look] * 4, 2)] == [b"[]\n"] * 4


@pytest.mark.usefixtures("isolation")
def test_an_extension_is_there_without_its_folder() -> None:
    pytest.importorskip("_quickjs", reason="the extra [curate] is not installed")
    program = (
        "import os, sys, _quickjs\n"
        "print(_quickjs.Context().eval('6 * 7'))\n"
        "file = _quickjs.__file__\n"
        "print(os.path.exists(file), os.path.exists(os.path.dirname(file)))\n"
        "import numpy\n"
    )
    with Sandbox(LIMITS, extensions=["_quickjs"]) as sandbox:
        outcome = sandbox.run(program)
    assert outcome.stdout == b"42\nFalse False\n"
    assert b"No module named 'numpy'" in outcome.stderr


@pytest.mark.parametrize("name", ["no_such_extension", "json"])
def test_what_is_no_extension_is_named(name: str) -> None:
    with pytest.raises(UnavailableError, match=rf"the compiled module '{name}' .*\[curate\]"):
        Sandbox(LIMITS, extensions=[name])


def test_outcomes_come_in_the_order_of_the_programs(sandbox: Sandbox) -> None:
    outcomes = sandbox.run_many([f"print({index})" for index in range(20)], 4)
    assert [int(one.stdout) for one in outcomes] == list(range(20))


def test_sets_print_in_the_same_order_in_every_sandbox(sandbox: Sandbox) -> None:
    program = "print({str(i) for i in range(50)})"
    with Sandbox(LIMITS) as other:
        assert sandbox.run(program).stdout == other.run(program).stdout


def test_random_numbers_differ_between_programs(sandbox: Sandbox) -> None:
    program = "import random; print(random.random())"
    assert sandbox.run(program).stdout != sandbox.run(program).stdout


def test_the_limit_on_processes_is_exact(sandbox: Sandbox) -> None:
    program = (
        "import os, time\ncount = 1\ntry:\n    while True:\n"
        "        if os.fork() == 0:\n            time.sleep(60)\n        count += 1\n"
        "except OSError:\n    print(count)"
    )
    assert int(sandbox.run(program).stdout) == LIMITS.processes


@pytest.mark.usefixtures("isolation")
def test_nothing_outlives_a_sandbox_that_is_closed(host: Host) -> None:
    program = f"import ctypes, time\nctypes.CDLL(None).prctl(15, b'{MARKER}')\ntime.sleep(60)"
    one = Sandbox(LIMITS)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(one.run, program)
        while MARKER not in process_names():
            assert not running.done(), running.result()
        one.close()
        assert running.result().status == "killed"
    deadline = time.monotonic() + SLACK_SECONDS
    while MARKER in process_names():
        assert time.monotonic() < deadline


AS_ANOTHER_USER = """
import os
from pathlib import Path
from megatron_codemix.sandbox import isolation, kernel
from megatron_codemix.sandbox.sandbox import Sandbox
user, group = os.geteuid(), os.getegid()
kernel.unshare(kernel.CLONE_NEWUSER)
isolation._map_ids(user, group)
"""
"""Becomes a user without privileges, whoever runs the tests."""


def run_as_another_user(program: str) -> str:
    """What it printed."""
    result = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER_USER + program],
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    return result.stdout + result.stderr


@pytest.mark.usefixtures("isolation")
def test_users_other_than_root_are_isolated_too() -> None:
    program = (
        "look = 'import os; print(os.getuid(), os.getpid(), os.listdir(\"/tmp\"))'\n"
        "print(Sandbox().run(look).stdout.decode())"
    )
    assert run_as_another_user(program).strip() == "1000 2 []"


@pytest.mark.usefixtures("isolation")
def test_a_machine_that_refuses_namespaces_is_named_and_unsafe_goes_on() -> None:
    program = (
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        "print(Sandbox(unsafe=True).run('print(1)').status)\n"
        "Sandbox()"
    )
    printed = run_as_another_user(program)
    assert printed.startswith("passed\n")
    assert (
        "UnavailableError: programs cannot be isolated on this machine: unshare: No space"
        in printed
    )
    assert "--unsafe" in printed


def test_other_systems_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(UnavailableError, match=r"needs Linux \(this is Darwin\)"):
        Sandbox()


def test_old_kernels_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: "4.18.0-553.el8.x86_64")
    with pytest.raises(UnavailableError, match=r"5\.14 or newer to isolate \(this is 4\.18\.0"):
        Sandbox()


def test_limits_have_to_be_positive() -> None:
    with pytest.raises(ConfigError, match=r"(?s)wall_seconds is 0.*processes is -1"):
        Limits(wall_seconds=0, processes=-1)
