"""One child process: exit codes, stop requests, death of the parent, locks."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.launch.local import Child, Starter, StopRequest
from megatron_codemix.locks import exclusive, is_locked, try_lock
from tests.helpers.children import KINDS, run, starter, wait_for

# Ends when told to, after writing that it was; says first that it is ready.
WAITS_FOR_SIGTERM = """
import pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
def save(number, frame):
    (folder / "saved").write_text(str(number))
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, signal.SIG_IGN)
(folder / "ready").touch()
while True:
    signal.pause()
"""

PARENT = """
import pathlib, sys
from megatron_codemix.launch.local import Child, StopRequest
from megatron_codemix.locks import try_lock
from tests.helpers.children import starter, wait_for
folder = pathlib.Path(sys.argv[1])
lock = try_lock(folder / "lock")
with starter(sys.argv[3]) as start, StopRequest().listen() as stop:
    def on_poll():
        if (folder / "ready").exists():
            print("ready", flush=True)
    words = [sys.argv[2], str(folder)]
    child = Child(words, folder / "log", start=start, pass_fds=[lock.fileno()])
    ended = wait_for(child, stop, on_poll)
sys.exit(ended.code)
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """How children are started."""
    return str(request.param)


@pytest.fixture
def start(kind: str) -> Iterator[Starter]:
    """Starts them so."""
    with starter(kind) as found:
        yield found


def start_parent(folder: Path, kind: str) -> "subprocess.Popen[str]":
    """A process that runs the waiting child, once that is ready."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), WAITS_FOR_SIGTERM, kind],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    return parent


def wait_for_lock(path: Path) -> None:
    """Returns once no process holds the lock any more: the child inherits it."""
    with open(path, "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)


@pytest.mark.parametrize("code", [0, 1, 2, 75])
def test_exit_codes_are_kept(code: int, start: Starter, tmp_path: Path) -> None:
    ended = run([f"print('out'); raise SystemExit({code})"], tmp_path / "log", start)
    assert ended.code == code
    assert (tmp_path / "log").read_text() == "out\n"


def test_death_by_a_signal_is_its_negative_number(start: Starter, tmp_path: Path) -> None:
    ended = run(["import os; os.kill(os.getpid(), 9)"], tmp_path / "log", start)
    assert ended.code == -signal.SIGKILL


def test_the_last_error_block_is_this_childs(start: Starter, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(["print('error: old')"], log, start)
    ended = run(["print('step 1'); print('error: new'); print('  set a.b')"], log, start)
    assert ended.last_block() == "error: new\n  set a.b"
    silent = run(["print(1); print(2)"], log, start)
    assert silent.last_block() == "1\n2"
    assert log.read_text().startswith("error: old\n")


def test_an_environment_is_one_childs(start: Starter, tmp_path: Path) -> None:
    show = "import os; print(os.environ.get('OMP_NUM_THREADS_OF_A_TEST'))"
    for environment in ({"OMP_NUM_THREADS_OF_A_TEST": "3"}, {}):
        child = Child([show], tmp_path / "log", start=start, environment=environment)
        assert wait_for(child, StopRequest()).code == 0
    assert (tmp_path / "log").read_text() == "3\nNone\n"


def test_a_child_has_a_session_and_a_ctrl_c_of_its_own(start: Starter, tmp_path: Path) -> None:
    show = (
        "import os, signal, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == '', "
        "signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    run([show], tmp_path / "log", start)
    assert (tmp_path / "log").read_text() == "True True True\n"


def test_an_error_while_waiting_leaves_no_child(start: Starter, tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyError("display")

    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    words = [WAITS_FOR_SIGTERM, str(tmp_path)]
    child = Child(words, tmp_path / "log", start=start, pass_fds=[lock.fileno()])
    with pytest.raises(KeyError):
        wait_for(child, StopRequest(), fail)
    lock.close()
    again = try_lock(tmp_path / "lock")
    assert again is not None, "the child is still there"
    again.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_lets_the_child_save(
    number: signal.Signals, kind: str, tmp_path: Path
) -> None:
    parent = start_parent(tmp_path, kind)
    parent.send_signal(number)
    parent.communicate()
    assert parent.returncode == 75
    assert (tmp_path / "saved").read_text() == str(int(signal.SIGTERM))


def test_a_killed_parent_takes_its_child_along(kind: str, tmp_path: Path) -> None:
    parent = start_parent(tmp_path, kind)
    parent.kill()
    parent.communicate()
    wait_for_lock(tmp_path / "lock")
    assert (tmp_path / "saved").read_text() == str(int(signal.SIGTERM))


def test_a_second_stop_request_kills(start: Starter, tmp_path: Path) -> None:
    stubborn = WAITS_FOR_SIGTERM.replace("sys.exit(75)", "(folder / 'refused').touch()")
    stop = StopRequest()

    def ask() -> None:
        if (tmp_path / "refused").exists():
            stop.count = 2
        elif (tmp_path / "ready").exists():
            stop.count = 1

    child = Child([stubborn, str(tmp_path)], tmp_path / "log", start=start)
    assert wait_for(child, stop, ask).code == -signal.SIGKILL


def test_only_one_process_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path, "a study"):
        assert try_lock(path) is None
        with (
            pytest.raises(RunError, match=f"already running here .process {os.getpid()}"),
            exclusive(path, "a study"),
        ):
            pass
    with exclusive(path, "a study"):
        pass


def test_who_looks_at_a_lock_keeps_nobody_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    path.touch()
    with open(path, encoding="utf-8") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        waits = []

        def go(seconds: float) -> None:
            waits.append(seconds)
            fcntl.flock(looker, fcntl.LOCK_UN)

        monkeypatch.setattr("megatron_codemix.locks.time.sleep", go)
        handle = try_lock(path)
        assert handle is not None
        assert len(waits) == 1
        with handle:
            assert is_locked(path)
            assert try_lock(path) is None, "an owner is not waited for"
        assert len(waits) == 1
    assert not is_locked(path)
