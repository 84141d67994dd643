"""The process that children are forked from: what it imports, and what happens when it dies."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from megatron_codemix.launch.loaded import LoadedServer
from megatron_codemix.launch.local import Child, StopRequest
from tests.helpers.children import run, wait_for

WAITS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers find modules of a test's folder."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.getcwd()}")


@contextlib.contextmanager
def server_with(folder: Path, load: str) -> Iterator[LoadedServer]:
    """Whose module has this `load`."""
    source = "from tests.helpers.children import main\nvalue = 3\ndef load():\n" + indent(load, " ")
    (folder / "module_of_a_test.py").write_text(source)
    with contextlib.closing(LoadedServer("module_of_a_test")) as server:
        yield server


@contextlib.contextmanager
def loading(folder: Path) -> Iterator[Child]:
    """A child whose server is still loading."""
    begun = folder / "begun"
    slow = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    with server_with(folder, slow) as server:
        child = Child(["print(1)"], folder / "log", start=server.start)
        until(begun)
        yield child


def until(path: Path) -> None:
    """The file is there."""
    while not path.exists():
        time.sleep(0.01)


def state_and_parent(pid: int) -> tuple[str, int]:
    """As the kernel has them; Z: it has ended and was not waited for."""
    state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return state, int(parent)


def test_a_module_is_loaded_once(tmp_path: Path) -> None:
    count = f"print('loaded', file=open({str(tmp_path / 'loads')!r}, 'a'))"
    with server_with(tmp_path, count) as server:
        for _ in range(3):
            ended = run(
                ["import os, module_of_a_test as m; print(m.value); m.value = os.getpid()"],
                tmp_path / "log",
                server.start,
            )
            assert ended.code == 0
    assert (tmp_path / "loads").read_text() == "loaded\n"
    assert (tmp_path / "log").read_text() == "3\n" * 3  # a child's changes are its own


def test_children_run_side_by_side(tmp_path: Path) -> None:
    with server_with(tmp_path, "pass") as server:
        stays = Child([WAITS, str(tmp_path / "stays")], tmp_path / "a", start=server.start)
        assert run(["raise SystemExit(2)"], tmp_path / "b", server.start).code == 2
        until(tmp_path / "stays")
        assert stays.ended() is None
        stop = StopRequest()
        stop.ask()
        assert wait_for(stays, stop).code == -signal.SIGTERM


def test_a_module_that_is_missing_is_told(tmp_path: Path) -> None:
    with contextlib.closing(LoadedServer("no_such_module")) as server:
        ended = run(["print(1)"], tmp_path / "log", server.start)
    assert ended.code == 1
    assert ended.last_block().endswith("ModuleNotFoundError: No module named 'no_such_module'")


def test_a_stop_ends_the_loading(tmp_path: Path) -> None:
    with loading(tmp_path) as child:
        stop = StopRequest()
        stop.ask()
        assert wait_for(child, stop).code == -signal.SIGTERM


def test_a_kill_ends_the_loading(tmp_path: Path) -> None:
    with loading(tmp_path) as child:
        child.kill()
        ended = child.ended()
        assert ended is not None
        assert ended.code == -signal.SIGKILL


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
def test_a_server_that_was_killed_is_started_anew(is_busy: bool, tmp_path: Path) -> None:
    show_parent = "import os; print(os.getppid())"
    with server_with(tmp_path, "pass") as server:
        run([show_parent], tmp_path / "log", server.start)
        pid = int((tmp_path / "log").read_text())
        if is_busy:
            child = Child([WAITS, str(tmp_path / "waits")], tmp_path / "w", start=server.start)
            until(tmp_path / "waits")
            os.kill(pid, signal.SIGKILL)
            assert wait_for(child, StopRequest()).code == -signal.SIGKILL
        else:
            os.kill(pid, signal.SIGKILL)
            while state_and_parent(pid)[0] != "Z":
                time.sleep(0.01)
        run([show_parent], tmp_path / "log", server.start)
        again = int((tmp_path / "log").read_text().splitlines()[1])
        assert again != pid
        assert state_and_parent(again)[1] == os.getpid()
