"""Bandit over many programs in one process of its own: it parses what a model has written."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from megatron_codemix.errors import UnavailableError


@dataclass(frozen=True)
class Issue:
    """What Bandit has found in a line."""

    test: str
    """Bandit's number of the test, such as B602."""
    cwe: int
    """Bandit's own."""
    line: int
    """From 1."""
    severity: str
    confidence: str
    text: str


def bandit_version() -> str:
    """Raises UnavailableError where Bandit is not installed."""
    try:
        return version("bandit")
    except PackageNotFoundError as error:
        raise UnavailableError(
            "safety_weaknesses needs Bandit, which is not installed; install the extra `eval` "
            "(pip install 'megatron_codemix[eval]')"
        ) from error


def scan(programs: Sequence[str], tests: Sequence[str]) -> list[list[Issue] | None]:
    """Issues of these tests in each program; None where Bandit cannot read it.

    Comments that tell Bandit to look away (`# nosec`) do not count. Raises UnavailableError where
    Bandit is absent or fails as a whole.
    """
    bandit_version()
    if not programs:
        return []
    with tempfile.TemporaryDirectory(prefix="codemix-bandit-") as name:
        folder = Path(name)
        paths = [folder / f"{number:06d}.py" for number in range(len(programs))]
        for path, program in zip(paths, programs, strict=True):
            path.write_text(program, encoding="utf-8", errors="backslashreplace", newline="")
        report = _run(folder, tests)
    issues: dict[str, list[Issue] | None] = {str(path): [] for path in paths}
    for result in report["results"]:
        found = issues[result["filename"]]
        assert found is not None, result
        found.append(_issue(result))
    for error in report["errors"]:
        issues[error["filename"]] = None
    return [issues[str(path)] for path in paths]


def _run(folder: Path, tests: Sequence[str]) -> dict:  # type: ignore[type-arg]  # JSON values
    command = [sys.executable, "-P", "-m", "bandit", "--recursive", str(folder)]
    options = ["--quiet", "--format=json", "--exit-zero", "--ignore-nosec"]
    result = subprocess.run(
        [*command, *options, f"--tests={','.join(sorted(tests))}"],
        capture_output=True,
        cwd=folder,  # no configuration file of the user's is found there
        check=False,
    )
    try:
        report: dict = json.loads(result.stdout)  # type: ignore[type-arg]  # JSON values
    except ValueError as error:
        text = result.stderr.decode(errors="replace").strip()[-500:]
        raise UnavailableError(
            f"Bandit ended with code {result.returncode} and without a report: {text}"
        ) from error
    return report


def _issue(result: dict) -> Issue:  # type: ignore[type-arg]  # JSON values
    return Issue(
        test=result["test_id"],
        cwe=result["issue_cwe"]["id"],
        line=result["line_number"],
        severity=result["issue_severity"].lower(),
        confidence=result["issue_confidence"].lower(),
        text=result["issue_text"],
    )
