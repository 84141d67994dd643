"""The recipes of containers: both on one image, and the check that ends a build."""

import importlib.util
import re
from importlib.metadata import PackageNotFoundError
from types import ModuleType

import pytest

from tests.unit.test_packaging import BUILD_FOLDERS, BUILD_INPUTS, ROOT
from tools.gpu_check import gpu_tests

CONTAINERS = ROOT / "examples" / "containers"
GOOD = {
    "torch": "2.10.0",
    "megatron-core": "0.16.1",
    "transformer-engine": "2.11.0",
    "megatron_codemix": "1",
}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("container_check", CONTAINERS / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("torch.version.cuda", "13.1")
    return module


def installed(versions: dict[str, str]) -> object:
    def version(package: str) -> str:
        if package not in versions:
            raise PackageNotFoundError(package)
        return versions[package]

    return version


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ""),
        ({"transformer-engine": "2.9.0+abc"}, ""),
        ({"transformer-engine": "2.8.0"}, "transformer-engine 2.8.0: Transformer"),
        ({"transformer-engine": "2.12.0"}, "transformer-engine 2.12.0: Transformer"),
        ({"transformer-engine": None}, "transformer-engine is not installed"),
    ],
)
def test_a_container_without_a_fitting_engine_is_not_built(
    changed: dict[str, str | None],
    expected: str,
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {name: text for name, text in (GOOD | changed).items() if text is not None}
    monkeypatch.setattr(check, "version", installed(versions))
    found = check.problems()
    assert len(found) == bool(expected)
    assert all(expected in problem for problem in found)


def test_a_torch_without_cuda_is_named(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr(check, "version", installed(GOOD))
    assert check.problems() == ["torch was replaced by one without CUDA; keep the base image's"]


def test_both_recipes_have_one_base() -> None:
    docker = re.search(r"ARG BASE=(\S+)", (CONTAINERS / "Dockerfile").read_text())
    apptainer = re.search(r"From: (\S+)", (CONTAINERS / "codemix.def").read_text())
    assert docker is not None
    assert apptainer is not None
    assert docker.group(1) == apptainer.group(1)


def test_images_hold_what_builds_and_the_check_need_and_nothing_that_was_made_here() -> None:
    """Neither environments nor runs nor an extension for another Python. `tools/gpu_check.sh` takes
    the package of its checkout, and its tests."""
    needed = {*BUILD_INPUTS, *BUILD_FOLDERS, "tools", "tests"}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    everything, *rules = [line for line in lines if not line.startswith("#")]
    assert everything == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == needed
    assert [rule for rule in rules if not rule.startswith("!")] == ["**/*.so", "**/__pycache__"]
    files = re.search(r"%files\n((?:    .+\n)+)", (CONTAINERS / "codemix.def").read_text())
    assert files is not None
    copies = [line.split() for line in files.group(1).splitlines()]
    assert {source for source, _ in copies} == needed
    assert {place for _, place in copies} == {"/opt/megatron_codemix/"}


def test_the_check_of_a_gpu_finds_all_that_it_needs_in_an_image() -> None:
    """Its modules beside what is installed, so that it is not beside a package without its
    extension; and what runs the tests, at the versions that the base image asks for."""
    needed = {name.replace("_", "-") for name in gpu_tests.NEEDED}
    for recipe in ("Dockerfile", "codemix.def"):
        [words] = re.findall(r"pip install (.+?)(?: \\)?\n", (CONTAINERS / recipe).read_text())
        options = ["--no-cache-dir", "--editable", "/opt/megatron_codemix"]
        assert words.split() == [*options, *sorted(needed)], recipe
