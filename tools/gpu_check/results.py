"""What was found, and the one file that holds it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from megatron_codemix.files import read_json_object, write_json

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
        the file is kept beside, as `kept_as`. Writes the file, so that what is killed in its first
        section goes on too.

        commit: for information, as `date`; both are those of the beginning.
        """
        self.path, self.machine, self.commit, self.date = path, machine, commit, date
        self.sections: dict[str, dict[str, Any]] = {}
        self.is_continued = False
        self.kept_as: Path | None = None
        if path.exists():
            earlier = read_json_object(path)
            self.is_continued = earlier.get("machine") == machine._asdict()
            if self.is_continued:
                self.commit, self.date = str(earlier["commit"]), str(earlier["date"])
                self.sections = dict(earlier["sections"])
            else:
                self.kept_as = _free_name(path)
                path.rename(self.kept_as)
        self._write()

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
