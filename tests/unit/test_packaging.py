"""The wheel carries all that an installed package needs, and works away from the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BUILD_INPUTS = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
BUILD_FOLDERS = ("megatron_codemix", "csrc", "examples")
EXTENSION = f"_C{EXTENSION_SUFFIXES[0]}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that neither leftovers of an earlier build nor this checkout matter.
    The extension alone is taken over where it is no older than what it is made of: the set-up has
    compiled it, and the build skips what is up to date."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILD_INPUTS:
        shutil.copy(ROOT / name, source)
    for name in BUILD_FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    name = f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    compiled = source / "build" / name / "megatron_codemix"
    compiled.mkdir(parents=True)
    shutil.copy2(ROOT / "megatron_codemix" / EXTENSION, compiled)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    built = source / "built"
    result = subprocess.run(
        [*command, "--wheel-dir", str(built), "."], cwd=source, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.timeout(300)  # may build the extension
def test_the_wheel_holds_every_file_of_the_package(unpacked: Path) -> None:
    ignored = {".pyc", ".so"}
    expected = {
        path.relative_to(ROOT)
        for path in (ROOT / "megatron_codemix").rglob("*")
        if path.is_file() and path.suffix not in ignored
    }
    examples = (
        path
        for path in (ROOT / "examples").rglob("*")
        if path.is_file() and path.suffix not in ignored
    )
    expected |= {
        Path("megatron_codemix/examples") / path.relative_to(ROOT / "examples") for path in examples
    }
    found = {path.relative_to(unpacked) for path in (unpacked / "megatron_codemix").rglob("*")}

    assert sorted(expected - found) == []
    assert Path("megatron_codemix") / EXTENSION in found


@pytest.mark.timeout(300)  # may build the extension
def test_the_wheel_works_outside_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(unpacked)!r})
import megatron_codemix._C
from megatron_codemix.resources import find_example
from megatron_codemix.cli.main import main
for path in (megatron_codemix._C.__file__, find_example("models/tiny.yaml")):
    assert str(path).startswith({str(unpacked)!r}), path
sys.exit(main(["--version"]))
"""
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("codemix ")


def test_constraints_pin_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    asked = [
        Requirement(text)
        for text in (
            *project["dependencies"],
            *project["optional-dependencies"]["dev"],
            *(
                one
                for name in ("dali", "curate", "eval", "laws", "trackers")
                for one in project["optional-dependencies"][name]
            ),
        )
    ]

    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert [
        str(requirement)
        for requirement in asked
        if not requirement.specifier.contains(versions[canonicalize_name(requirement.name)])
    ] == []


def test_the_default_install_has_no_cuda_only_package() -> None:
    default, extra = (ROOT / "constraints.txt").read_text().split("# What the dali extra adds")
    assert "nvidia-dali" in extra
    pins = [line for line in default.splitlines() if not line.startswith("#")]

    cuda_only = ("nvidia", "cuda", "triton", "cupy", "transformer-engine", "flash-attn", "apex")
    assert [pin for pin in pins if any(name in pin for name in cuda_only)] == []
