"""The commands of tools/gpu_check.sh: in time, side by side, and none that outlives the check."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tools.gpu_check.commands import ROOT, CommandError
from tools.gpu_check.place import Place

_SECONDS = 30.0
"""Until something has happened that takes a moment."""


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_ended(pid: int) -> bool:
    """Also where nobody has asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def meets(folder: Path, own: str, other: str) -> list[str]:
    """A program that ends once the other one has begun too."""
    script = f"touch {folder / own}; until [ -e {folder / other} ]; do sleep 0.01; done; echo {own}"
    return ["sh", "-c", script]


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    place = Place(tmp_path, gpu=None, ends_at=time.monotonic() + 0.2)
    with pytest.raises(CommandError, match="not done in its time"):
        place.run(["sleep", "600"])
    with pytest.raises(CommandError, match="not begun"):
        place.run(["sleep", "600"])


def test_the_end_of_a_command_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, gpu=None)
    assert place.run(["echo", "found"]) == "found\n"
    with pytest.raises(CommandError, match="exit code 3: no such thing") as failed:
        place.run(["sh", "-c", "echo no such thing >&2; exit 3"])
    assert failed.value.exit_code == 3
    with pytest.raises(CommandError, match="exit code 137"):
        place.run(["sh", "-c", "kill -9 $$"])


def test_commands_run_side_by_side(tmp_path: Path) -> None:
    """Each of the two ends when the other has begun."""
    place = Place(tmp_path, gpu=None, ends_at=time.monotonic() + _SECONDS)
    programs = {"one": meets(tmp_path, "a", "b"), "two": meets(tmp_path, "b", "a")}
    assert dict(place.run_side_by_side(programs, at_once=2)) == {"one": "a\n", "two": "b\n"}


def test_no_more_commands_run_than_may_and_the_first_begin_first(tmp_path: Path) -> None:
    """Each asks how many are there, itself among them."""
    place = Place(tmp_path, gpu=None, ends_at=time.monotonic() + _SECONDS)
    here = tmp_path / "here"
    here.mkdir()
    script = f"touch {here}/$0; sleep 0.05; ls {here} | wc -l; rm {here}/$0"
    programs = {name: ["sh", "-c", script, name] for name in "abcd"}
    found = list(place.run_side_by_side(programs, at_once=1))
    assert found == [(name, "1\n") for name in "abcd"]


def test_where_the_time_is_over_what_has_ended_counts(tmp_path: Path) -> None:
    place = Place(tmp_path, gpu=None, ends_at=time.monotonic() + 0.5)
    programs = {"short": ["true"], "long": ["sleep", "600"], "next": ["sleep", "600"]}
    programs["never"] = ["true"]
    found = dict(place.run_side_by_side(programs, at_once=2))
    assert found.pop("short") == ""
    said = {name: str(error).split(":")[0] for name, error in found.items()}
    assert said == {
        "long": "not done in its time",
        "next": "not done in its time",
        "never": "not begun",
    }


def test_nothing_is_left_of_a_command_that_has_ended(tmp_path: Path) -> None:
    pid = int(Place(tmp_path, gpu=None).run(["sh", "-c", "sleep 600 >&2 & echo $!"]))
    wait_until(lambda: has_ended(pid))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_command_outlives_a_check_that_is_killed(tmp_path: Path, number: int) -> None:
    """Nor what it has started, which no signal of the kernel's reaches."""
    written = tmp_path / "pids"
    script = f"trap '' TERM; sleep 600 & echo $! $$ > {written}.part; mv {written}.part {written}"
    check = f"""
from pathlib import Path
from tools.gpu_check.place import Place
Place(Path({str(tmp_path)!r}), gpu=None).run(["sh", "-c", {script + "; wait"!r}])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-P", "-c", check], env=environment)
    try:
        wait_until(written.exists)
        process.send_signal(number)
        process.wait()
        for pid in map(int, written.read_text().split()):
            wait_until(lambda pid=pid: has_ended(pid))
    finally:
        process.kill()
        process.wait()
