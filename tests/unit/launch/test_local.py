"""One child process: exit codes, stop requests, death of the parent, locks."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.launch.local import StopRequest, run_child
from megatron_codemix.locks import exclusive, try_lock

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
from megatron_codemix.launch.local import StopRequest, run_child
from megatron_codemix.locks import try_lock
folder = pathlib.Path(sys.argv[1])
lock = try_lock(folder / "lock")
with StopRequest().listen() as stop:
    def on_poll():
        if (folder / "ready").exists():
            print("ready", flush=True)
    ended = run_child(
        [sys.executable, "-c", sys.argv[2], str(folder)], folder / "log", stop=stop,
        on_poll=on_poll, pass_fds=[lock.fileno()],
    )
sys.exit(ended.code)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def start_parent(folder: Path) -> "subprocess.Popen[str]":
    """A process that runs the waiting child, once that is ready."""
    parent = subprocess.Popen(
        python(PARENT, folder, WAITS_FOR_SIGTERM),
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
def test_exit_codes_are_kept(code: int, tmp_path: Path) -> None:
    command = python(f"print('out'); raise SystemExit({code})")
    ended = run_child(command, tmp_path / "log", stop=StopRequest())
    assert ended.code == code
    assert (tmp_path / "log").read_text() == "out\n"


def test_death_by_a_signal_is_its_negative_number(tmp_path: Path) -> None:
    command = python("import os; os.kill(os.getpid(), 9)")
    assert run_child(command, tmp_path / "log", stop=StopRequest()).code == -signal.SIGKILL


def test_the_last_error_block_is_this_childs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_child(python("print('error: old')"), log, stop=StopRequest())
    ended = run_child(
        python("print('step 1'); print('error: new'); print('  set a.b')"), log, stop=StopRequest()
    )
    assert ended.last_block() == "error: new\n  set a.b"
    silent = run_child(python("print(1); print(2)"), log, stop=StopRequest())
    assert silent.last_block() == "1\n2"
    assert log.read_text().startswith("error: old\n")


def test_an_error_while_waiting_leaves_no_child(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyError("display")

    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    command = python(WAITS_FOR_SIGTERM, tmp_path)
    with pytest.raises(KeyError):
        run_child(
            command, tmp_path / "log", stop=StopRequest(), on_poll=fail, pass_fds=[lock.fileno()]
        )
    lock.close()
    again = try_lock(tmp_path / "lock")
    assert again is not None, "the child is still there"
    again.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_lets_the_child_save(number: signal.Signals, tmp_path: Path) -> None:
    parent = start_parent(tmp_path)
    parent.send_signal(number)
    parent.communicate()
    assert parent.returncode == 75
    assert (tmp_path / "saved").read_text() == str(int(signal.SIGTERM))


def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    parent = start_parent(tmp_path)
    parent.kill()
    parent.communicate()
    wait_for_lock(tmp_path / "lock")
    assert (tmp_path / "saved").read_text() == str(int(signal.SIGTERM))


def test_a_second_stop_request_kills(tmp_path: Path) -> None:
    stubborn = WAITS_FOR_SIGTERM.replace("sys.exit(75)", "(folder / 'refused').touch()")
    stop = StopRequest()

    def ask() -> None:
        if (tmp_path / "refused").exists():
            stop.count = 2
        elif (tmp_path / "ready").exists():
            stop.count = 1

    ended = run_child(python(stubborn, tmp_path), tmp_path / "log", stop=stop, on_poll=ask)
    assert ended.code == -signal.SIGKILL


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
