"""The commands of corpora with the packages of the extra `curate` and none of any other extra."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENGLISH = (
    "There is a garden behind the house, and in it stand the trees that my father had planted. "
    "We have often sat with all of them in the evening, when the air was still and warm. "
    "Somebody told us of the sea, which none of us had seen, and of the ships that go over it. "
    "It is now many years since that time. The trees have grown to be as high as the roof. "
)
WITHOUT_OTHERS = """
import sys
from importlib.machinery import PathFinder

hidden = set(sys.argv[1].split(","))

class OnlySome:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = OnlySome
from megatron_codemix.cli.main import main

sys.exit(main(sys.argv[2:]))
"""


def needed(requirements: list[str]) -> set[str]:
    """The distributions of these requirements, and of theirs."""
    waiting = [Requirement(text) for text in requirements]
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        try:
            theirs = [Requirement(text) for text in requires(requirement.name) or []]
        except PackageNotFoundError:  # of another platform
            continue
        extras = {"", *requirement.extras}
        waiting += [
            one
            for one in theirs
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return found


@pytest.fixture(scope="module")
def hidden() -> str:
    """Modules of distributions that neither the default installation nor the extra brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    there = needed([*project["dependencies"], *project["optional-dependencies"]["curate"]])
    assert {"torch", "datatrove", "tqdm"} <= there
    assert "transformers" not in there
    modules = packages_distributions()
    others = [
        name
        for name, distributions in modules.items()
        if name != "megatron_codemix"
        and not {canonicalize_name(one) for one in distributions} & there
    ]
    assert "transformers" in others
    return ",".join(others)


def run(hidden: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_OTHERS, hidden, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )


def test_filter_and_dedup_need_nothing_else(hidden: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with open(tmp_path / "raw" / "text.jsonl", "w", encoding="utf-8") as lines:
        for number in range(4):
            text = ENGLISH.replace("garden", f"garden{number}") if number else ENGLISH
            lines.write(json.dumps({"id": str(number), "text": text}) + "\n")
    for arguments in (
        ("corpus", "filter", "raw", "--out", "kept", "--policy", "text=prose"),
        ("corpus", "dedup", "kept", "--out", "once", "--json"),
    ):
        done = run(hidden, tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "once" / "duplicates.json").read_text())
    assert report["pairs"]["near-duplicate"]["text"] == {"text": 3}


def test_what_the_extra_lacks_is_named_with_the_remedy(hidden: str, tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": ENGLISH}) + "\n")
    for missing in ("datatrove", "xxhash"):
        done = run(f"{hidden},{missing}", tmp_path, "corpus", "dedup", ".", "--out", "../once")
        assert done.returncode not in (0, 1), done.stderr
        assert "[curate]" in done.stderr
        assert "--exact-only" in done.stderr
        assert "Traceback" not in done.stderr
