"""The tests that are marked `gpu`: one process on NCCL, and several ranks of one GPU on gloo. Each
file has a process and a report of its own, so that what ends one leaves the others; where there are
cores, some of them run side by side and share the GPU."""

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from megatron_codemix.launch.allowance import usable_cores
from tools.gpu_check.commands import ROOT, CommandError
from tools.gpu_check.place import Place
from tools.gpu_check.results import Check, Outcome, outcome_of

FOLDER = "tests/gpu"
ORDER = (
    "test_step",
    "test_kernels",
    "test_attention",
    "test_graphs",
    "test_scaled_mm",
    "test_compiled",
    "test_memory",
    "test_engine_layers",
    "test_engine_rounding",
    "test_ranks",
)
"""The files, those first that say most: where the time is not enough, the last are not begun."""
_TESTS_FAILED = 1
"""pytest's exit code."""
NEEDED = ("pytest", "pytest_timeout")
"""pytest refuses pyproject.toml's `timeout` without the second."""
_CORES_OF_ONE = 4
"""Of a file's process: two or four ranks, or compilers, beside it."""
_MOST_AT_ONCE = 4
"""On one GPU."""


def names_of_files() -> list[str]:
    """Names of the files of tests, without `.py`, in the order in which they begin."""
    found = {path.stem for path in (ROOT / FOLDER).glob("test_*.py")}
    return [*(name for name in ORDER if name in found), *sorted(found - {*ORDER})]


def section(place: Place) -> Iterator[Check]:
    """A line for each file of tests; where it has not failed before a kill, as it was then."""
    names = names_of_files()
    lacking = [name for name in NEEDED if not importlib.util.find_spec(name)]
    missing = f"not installed: {', '.join(lacking)} (extra [dev])" if lacking else None
    reason = missing if place.has_gpu else place.why_no_gpu
    if reason:
        yield from (Check(name, "skipped", reason) for name in names)
        return
    programs = {}
    for name in names:
        before = read_report(name, _report(place, name))
        if before is not None and before.status != "failed":
            yield before
        else:
            _report(place, name).unlink(missing_ok=True)
            programs[name] = _program(place, name)
    at_once = files_at_once(usable_cores()) if _is_shared(place) else 1
    for name, said in place.run_side_by_side(programs, at_once=at_once):
        yield _ended(place, name, said)


def files_at_once(cores: int) -> int:
    """How many files' processes run side by side."""
    return max(1, min(_MOST_AT_ONCE, cores // _CORES_OF_ONE))


def _is_shared(place: Place) -> bool:
    """Whether the GPU takes several processes; some clusters set it otherwise. A container may be
    without nvidia-smi."""
    try:
        mode = place.run(["nvidia-smi", "--query-gpu=compute_mode", "--format=csv,noheader"])
    except CommandError:
        return True
    return "Exclusive" not in mode


def _report(place: Place, name: str) -> Path:
    return place.folder / f"{name}.xml"


def _program(place: Place, name: str) -> list[str]:
    # Warnings are errors where the tests are written; builds with CUDA have others. Each test has a
    # line in the log, for a file that is not done in its time, and the place that its file has.
    options = ("-m", "gpu", "-v", "-W", "default", "-p", "no:cacheprovider", "-p", "no:randomly")
    report = f"--junitxml={_report(place, name)}"
    return [sys.executable, "-m", "pytest", *options, report, f"{FOLDER}/{name}.py"]


def _ended(place: Place, name: str, said: str | CommandError) -> Check:
    """The file's line, once its process has ended so."""
    problem = "pytest has left no report"
    if isinstance(said, CommandError):
        problem = str(said)
        if said.exit_code != _TESTS_FAILED:
            return Check(name, "failed", problem)
    return read_report(name, _report(place, name)) or Check(name, "failed", problem)


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
