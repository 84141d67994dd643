"""tools/setup.sh on a machine that lacks something: one readable block, and nothing touched."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "setup.sh"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder like a checkout, with a PATH that has no compiler and no Python."""
    (tmp_path / "tools").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "cat", "dirname", "grep"):
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def _without_venv_and_headers(place: Path) -> Path:
    """A Python as Debian ships it without python3-venv and python3-dev."""
    modules = place / "modules"
    modules.mkdir()
    (modules / "ensurepip.py").write_text("raise ImportError\n")
    wrapper = place / "bin" / "python3"
    (modules / "sitecustomize.py").write_text(
        "import sys, sysconfig\n"
        f"sys.executable = {str(wrapper)!r}\n"
        "sysconfig.get_path = lambda name: '/nowhere'\n"
    )
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={modules} exec {sys.executable} -s "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def _run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(place / "tools" / "setup.sh"), *arguments],
        env={"PATH": str(place / "bin")},
        capture_output=True,
        text=True,
    )


def test_all_that_is_missing_is_named_together(place: Path) -> None:
    _without_venv_and_headers(place)

    result = _run(place)

    assert result.returncode == 2
    assert "a C++ compiler" in result.stderr
    assert "the venv module" in result.stderr
    assert "Python.h" in result.stderr
    assert not (place / ".venv").exists()


def test_a_machine_without_python_is_told_so(place: Path) -> None:
    result = _run(place)

    assert result.returncode == 2
    assert "Python 3.11 or newer" in result.stderr
    assert "sudo apt install g++ python3" in result.stderr


def test_missing_packages_can_be_handed_to_apt(place: Path) -> None:
    _without_venv_and_headers(place)
    (place / "bin" / "g++").symlink_to("/bin/true")

    result = _run(place, "--missing-packages")

    assert result.returncode == 0
    lines = result.stdout.split()
    assert [line.rsplit("-", 1)[1] for line in lines] == ["venv", "dev"]
    assert all(line.startswith("python3.") for line in lines)
