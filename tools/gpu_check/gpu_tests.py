"""The tests that are marked `gpu`: one process on NCCL, and several ranks of one GPU on gloo. Each
file has a process and a report of its own, so that what ends one leaves the others."""

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tools.gpu_check.place import ROOT, CommandError, Place
from tools.gpu_check.results import Check, Outcome, outcome_of

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
    reason = missing if place.has_gpu else place.why_no_gpu
    if reason:
        yield from (Check(name, "skipped", reason) for name in names)
        return
    for name in names:
        yield _tested(place, name)


def _tested(place: Place, name: str) -> Check:
    """Of a file; where it has not failed before a kill, as it was then."""
    report = place.folder / f"{name}.xml"
    before = read_report(name, report)
    if before is not None and before.status != "failed":
        return before
    report.unlink(missing_ok=True)
    # Warnings are errors where the tests are written; builds with CUDA have others.
    options = ("-m", "gpu", "-q", "-W", "default", "-p", "no:cacheprovider")
    file = f"{FOLDER}/{name}.py"
    program = (sys.executable, "-m", "pytest", *options, f"--junitxml={report}", file)
    problem = "pytest has left no report"
    try:
        place.run(program, log=name)
    except CommandError as error:
        problem = str(error)
        if error.exit_code != _TESTS_FAILED:
            return Check(name, "failed", problem)
    return read_report(name, report) or Check(name, "failed", problem)


def read_report(name: str, report: Path) -> Check | None:
    """Of pytest's JUnit file about the tests of the file `name`: how many there are, and those that
    have not passed by name. None where there is no whole one, or no test in it."""
    try:
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return None
    if not cases:
        return None
    found = [(case.get("name", ""), *_end_of(case)) for case in cases]
    counts = Counter(status for _, status, _ in found)
    others = [f"{case}: {why}" for case, status, why in found if status != "passed"]
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    return Check(name, outcome_of(list(counts)), "; ".join([said, *others]))


def _end_of(case: ElementTree.Element) -> tuple[Outcome, str]:
    """How the test ended, and why."""
    ends = {child.tag: child.get("message", "") for child in case}
    failed = ends.get("failure", ends.get("error"))
    if failed is not None:
        return "failed", failed
    return ("skipped", ends["skipped"]) if "skipped" in ends else ("passed", "")
