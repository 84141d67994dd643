""".ci/run installs what is missing, and runs the tests also where there is no browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.browser import NAMES

SCRIPT = Path(__file__).parents[2] / ".ci" / "run"
USER_ID = {"root": 0, "nobody": 1000}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder like a checkout whose programs say what they are asked for in `said`, with a PATH
    where only a browser is missing."""
    for name in (".ci", "tools", "bin"):
        (tmp_path / name).mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")
    for name in ("bash", "dirname", "env"):
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / "bin" / name).symlink_to(found)
    write_program(tmp_path / "tools" / "setup.sh", "")
    for name in ("make", "apt-get", "sudo"):
        write_program(tmp_path / "bin" / name, f'echo "{name} $*" >> {tmp_path}/said')
    for name in ("git", "slurmctld", "slurmd", "sbatch", "munged", "ip"):
        write_program(tmp_path / "bin" / name, "")
    return tmp_path


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(place: Path, user: str) -> subprocess.CompletedProcess[str]:
    write_program(place / "bin" / "id", f"echo {USER_ID[user]}")
    return subprocess.run(
        ["bash", str(place / ".ci" / "run")],
        env={"PATH": str(place / "bin")},
        capture_output=True,
        text=True,
    )


def said(place: Path) -> list[str]:
    return (place / "said").read_text().splitlines()


TESTS = ["make test-native", "make test"]
INSTALLS = ["apt-get update -q", "apt-get install -q -y --no-install-recommends chromium"]


@pytest.mark.parametrize("browser", NAMES)
def test_any_browser_that_the_tests_take_will_do(place: Path, browser: str) -> None:
    write_program(place / "bin" / browser, "")
    done = run(place, "nobody")
    assert done.returncode == 0, done.stderr
    assert said(place) == TESTS


def test_a_missing_browser_is_installed(place: Path) -> None:
    assert run(place, "root").returncode == 0
    assert said(place) == [*INSTALLS, *TESTS]


@pytest.mark.parametrize(
    ("user", "program", "script"),
    [
        ("root", "apt-get", '[ "$1" = update ]'),  # as where there is no such package
        ("nobody", "sudo", "exit 1"),  # as where it asks for a password
    ],
)
def test_without_a_browser_the_other_tests_run(
    place: Path, user: str, program: str, script: str
) -> None:
    write_program(place / "bin" / program, script)
    done = run(place, user)
    assert done.returncode == 0, done.stderr
    assert "tests of the report's page are skipped" in done.stderr
    assert said(place) == TESTS


def test_what_all_tests_need_is_not_left_out(place: Path) -> None:
    (place / "bin" / "git").unlink()
    write_program(place / "bin" / "sudo", "exit 1")
    assert run(place, "nobody").returncode != 0
    assert not (place / "said").exists()
