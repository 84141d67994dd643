"""Runs JavaScript in QuickJS inside the sandbox: many programs in one process.

QuickJS is loaded into the sandbox's helper before that gives up sight of the installed packages
(`Sandbox(extensions=...)`); programs have neither files nor network nor any function of the host.
Each has limits of its own within those of the process; a program that takes the process with it is
found by running fewer at a time.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from megatron_codemix.corpus.synthesis.translation.forms import JsonValue, TypeForm
from megatron_codemix.sandbox.limits import MIB, Limits, Outcome
from megatron_codemix.sandbox.sandbox import Sandbox

EXTENSION = "_quickjs"
_BATCH_PROGRAMS = 200
_PROCESS = Limits(
    wall_seconds=300.0, cpu_seconds=120, memory_bytes=1024 * MIB, output_bytes=64 * MIB
)
_INSIDE = Path(__file__).with_name("inside.py")


@dataclass(frozen=True)
class Program:
    """A text, and the calls to make.

    exports: names of the text that calls need: the entry, and classes of records. Forms of
    parameters and of what is returned say how values go over.
    """

    text: str
    entry: str
    exports: tuple[str, ...]
    parameters: tuple[TypeForm, ...]
    returns: TypeForm
    calls: Sequence[Sequence[JsonValue]]

    def record(self) -> dict[str, Any]:
        return {**vars(self), "calls": [list(call) for call in self.calls]}


@dataclass(frozen=True)
class Ran:
    """Results of the calls, as JSON by the form of what is returned."""

    results: list[JsonValue]
    sites: dict[int, tuple[int, bool]]
    """Of a checked text: how often each watched place had an integer, and whether none of them was
    less than it has to be."""


@dataclass(frozen=True)
class Failed:
    """A program that gave no results; `reason` names a JavaScript error or a limit."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """Of one program: they become errors of JavaScript. Larger ones of the process stand behind,
    for what does not look at these (a regular expression without end)."""

    cpu_seconds: int = 5
    memory_bytes: int = 128 * MIB
    stack_bytes: int = 4 * MIB
    process: Limits = _PROCESS


class Engine:
    """A sandbox with QuickJS. Close it, or use it in a `with` statement.

    Raises UnavailableError where this machine cannot isolate, or QuickJS is not installed.
    """

    def __init__(self, limits: EngineLimits | None = None) -> None:
        self._limits = limits or EngineLimits()
        self._sandbox = Sandbox(self._limits.process, extensions=[EXTENSION])
        self._source = _INSIDE.read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sandbox.close()

    def run(self, programs: Sequence[Program]) -> list[Ran | Failed]:
        """In the order of the programs."""
        found: list[Ran | Failed] = []
        for start in range(0, len(programs), _BATCH_PROGRAMS):
            found += self._batch(programs[start : start + _BATCH_PROGRAMS])
        return found

    def _batch(self, programs: Sequence[Program]) -> list[Ran | Failed]:
        if not programs:
            return []
        request = {
            "programs": [one.record() for one in programs],
            "limits": {
                "cpu_seconds": self._limits.cpu_seconds,
                "memory_bytes": self._limits.memory_bytes,
                "stack_bytes": self._limits.stack_bytes,
            },
        }
        outcome = self._sandbox.run(self._source, stdin=json.dumps(request).encode())
        done = list(_done(outcome, programs))
        if len(done) == len(programs):
            return done
        if len(programs) == 1:
            return [Failed(_blame(outcome))]
        # What was going on may have suffered from those before it: it is run again by itself.
        place = len(done)
        alone = self._batch(programs[place : place + 1])
        return [*done, *alone, *self._batch(programs[place + 1 :])]


def _done(outcome: Outcome, programs: Sequence[Program]) -> Iterator[Ran | Failed]:
    """Of the programs that were finished, in order. A program may have written what it likes: the
    first line that is not as it has to be ends what is believed."""
    for number, line in enumerate(outcome.stdout.split(b"\n")[:-1]):
        try:
            record = json.loads(line)
            if number >= len(programs) or record["program"] != number:
                return
            if "error" in record:
                yield Failed(str(record["error"]))
                continue
            seen = [(int(site), int(count), bool(fits)) for site, (count, fits) in record["sites"]]
            results = list(record["results"])
        except (ValueError, KeyError, TypeError):
            return
        if len(results) != len(programs[number].calls):
            return
        yield Ran(results, {site: (count, fits) for site, count, fits in seen})


def _blame(outcome: Outcome) -> str:
    last = outcome.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"the sandbox ended it ({outcome.status}{': ' + last[:200] if last else ''})"
