"""What was found, and the one file that holds it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from megatron_codemix.errors import RunError
from megatron_codemix.files import field_problem, read_json, write_json

Outcome = Literal["passed", "failed", "skipped"]
FULL_BENCHMARK = "codemix bench train --gpu --json"


@dataclass(frozen=True)
class Check:
    """One line of the result."""

    name: str
    status: Outcome
    detail: str = ""
    """What was found, or why it was skipped or has failed."""
    value: float | None = None
    """In the unit that `bound` has."""
    bound: float | None = None
    """The largest `value` that passes."""
    rows: tuple[dict[str, Any], ...] = ()  # Any: JSON values, of a benchmark
    """As `codemix bench train --gpu --json` gives them."""


class Machine(NamedTuple):
    """What results are of; where it is another, they are not gone on with."""

    host: str
    card: str
    """Name of the first GPU; empty where there is none that PyTorch can use."""
    driver: str
    torch: str
    engine: str
    """Version of Transformer Engine; empty where it is not installed."""
    sources: str
    """Hash of what runs, the tests and this check too."""


class Results:
    """The sections that are there, written anew after each."""

    def __init__(self, path: Path, machine: Machine, commit: str, date: str) -> None:
        """Begins with the sections of `path`, if they are of this machine and these sources; else
        the file, also one that cannot be read, is kept beside under a number, as `word` tells.
        Writes the file, so that what is killed in its first section goes on too.

        commit: for information, as `date`; both are those of the beginning.
        """
        self.path, self.machine, self.commit, self.date = path, machine, commit, date
        self.sections: dict[str, dict[str, Any]] = {}
        self.is_continued = False
        self.word: str | None = None
        """What to tell of a file that was there and is not gone on with."""
        if path.exists():
            self._go_on(path)
        self._write()

    def _go_on(self, path: Path) -> None:
        word = f"{path} is of another machine or other sources"
        try:
            earlier = read_results(path)
        except RunError as error:
            earlier, word = {"machine": None}, str(error)
        if earlier["machine"] == self.machine._asdict():
            self.is_continued = True
            self.commit, self.date = earlier["commit"], earlier["date"]
            self.sections = earlier["sections"]
        else:
            kept_as = _free_name(path)
            path.rename(kept_as)
            self.word = f"{word}: kept as {kept_as}"

    def is_done(self, section: str) -> bool:
        """Whether it is there, and has not failed: that is made again."""
        return section in self.sections and self.sections[section]["status"] != "failed"

    def add(self, section: str, title: str, checks: list[Check], seconds: float) -> Outcome:
        """Writes the file with this section; its outcome."""
        outcome = outcome_of([check.status for check in checks])
        self.sections[section] = {
            "title": title,
            "status": outcome,
            "seconds": round(seconds, 1),
            "checks": [_record(check) for check in checks],
        }
        self._write()
        return outcome

    def _write(self) -> None:
        write_json(
            self.path,
            {
                "machine": self.machine._asdict(),
                "commit": self.commit,
                "date": self.date,
                "full_benchmark": FULL_BENCHMARK,
                "sections": self.sections,
            },
        )

    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """Of each section that is there."""
        for name, section in self.sections.items():
            yield name, section["status"]


def read_results(path: Path) -> dict[str, Any]:  # Any: JSON values
    """What a check has written. Raises RunError where something else stands in the file, OSError
    where it cannot be read."""
    try:
        found = read_json(path)
        problem = _problem_of(found)
    except ValueError as error:  # not JSON, or not UTF-8
        problem = str(error)
    if problem is not None:
        raise RunError(f"{path}: not what tools/gpu_check.sh writes ({problem})")
    assert isinstance(found, dict)
    return found


def _problem_of(found: Any) -> str | None:  # Any: JSON values
    fields = {"machine": dict, "commit": str, "date": str, "sections": dict}
    if problem := field_problem(found, fields):
        return problem
    machine, sections = found["machine"], found["sections"]
    if problem := field_problem(machine, dict.fromkeys(Machine._fields, str)):
        return f"machine: {problem}"
    for name, section in sections.items():
        problem = field_problem(section, {"status": str, "checks": list})
        for check in () if problem else section["checks"]:
            problem = problem or field_problem(check, {"name": str, "status": str})
        if problem:
            return f"{name}: {problem}"
    return None


def outcome_of(outcomes: list[Outcome]) -> Outcome:
    """Of them all: one failure fails all, and they are skipped only together."""
    if "failed" in outcomes:
        return "failed"
    return "passed" if "passed" in outcomes else "skipped"


def _free_name(path: Path) -> Path:
    """Beside `path`: its name with a number."""
    numbered = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    return next(each for each in numbered if not each.exists())


def _record(check: Check) -> dict[str, Any]:
    kept = asdict(check)
    return {key: value for key, value in kept.items() if value not in (None, "", ())}
