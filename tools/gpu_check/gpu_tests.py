"""The tests that are marked `gpu`: one process on NCCL, and several ranks of one GPU on gloo."""

import importlib.util
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tools.gpu_check.place import NO_GPU, ROOT, CommandError, Place
from tools.gpu_check.results import Check, outcome_of

FOLDER = "tests/gpu"
_TESTS_FAILED = 1
"""pytest's exit code."""


def names_of_files() -> list[str]:
    """Names of the files of tests, without `.py`."""
    return sorted(path.stem for path in (ROOT / FOLDER).glob("test_*.py"))


def section(place: Place) -> Iterator[Check]:
    """A line for each file of tests."""
    names = names_of_files()
    missing = None if importlib.util.find_spec("pytest") else "pytest is not installed: extra [dev]"
    reason = missing if place.has_gpu else NO_GPU
    if reason:
        yield from (Check(name, "skipped", reason) for name in names)
        return
    report = place.folder / "tests.xml"
    report.unlink(missing_ok=True)
    try:
        # Warnings are errors where the tests are written; builds with CUDA have others.
        options = ("-m", "gpu", "-q", "-W", "default", "-p", "no:cacheprovider")
        place.run(
            (sys.executable, "-m", "pytest", *options, f"--junitxml={report}", FOLDER), log="tests"
        )
    except CommandError as error:
        if error.exit_code != _TESTS_FAILED or not report.exists():
            yield Check(f"pytest {FOLDER}", "failed", str(error))
            return
    yield from read_report(report)


def read_report(report: Path) -> Iterator[Check]:
    """Of pytest's JUnit file: a line for each file of tests, with those that failed by name."""
    files: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        ends = {child.tag: child.get("message", "") for child in case}
        failed = ends.get("failure", ends.get("error"))
        status = "failed" if failed is not None else "skipped" if "skipped" in ends else "passed"
        why = failed or ends.get("skipped", "")
        files[case.get("classname", "").split(".")[-1]].append((case.get("name", ""), status, why))
    for name, cases in sorted(files.items()):
        statuses = [status for _, status, _ in cases]
        counts = ", ".join(f"{count} {status}" for status, count in Counter(statuses).items())
        others = [f"{case}: {why}" for case, status, why in cases if status != "passed"]
        yield Check(name, outcome_of(statuses), "; ".join([counts, *others]))
