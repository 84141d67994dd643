"""Sends problems to the sandbox, many at a time, and says which of them are right and well
tested."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.problem import Arguments, Problem
from megatron_codemix.corpus.synthesis.values import Value, copied, literal
from megatron_codemix.corpus.synthesis.verification.bundle import program
from megatron_codemix.corpus.synthesis.verification.inside.mutants import DECISIVE
from megatron_codemix.errors import UnavailableError
from megatron_codemix.sandbox.limits import MIB, Limits
from megatron_codemix.sandbox.sandbox import Sandbox

NUM_INPUTS = 24
MORE_INPUTS = 200
"""What a mutant that passed all inputs is tried on before it counts as equivalent."""
NUM_MUTANTS = 10
NUM_EDGE_CASES = 2
"""So many of the first inputs are tests in any case."""
LEAST_SCORE = 0.5
BATCH_PROBLEMS = 100
_MOST_INTEGER = 2**53
_LIMITS = Limits(
    wall_seconds=900.0, cpu_seconds=600, memory_bytes=2048 * MIB, output_bytes=64 * MIB
)


@dataclass(frozen=True)
class Test:
    """Source text of the arguments, as they stand between the parentheses of a call, and of the
    result."""

    arguments: str
    expected: str


@dataclass(frozen=True)
class Mutation:
    """Of the mutants of the reference: those that the tests tell from it, first of them by the
    inputs that every problem is tried on; those that no input told from it."""

    mutants: int
    killed: int
    killed_at_first: int
    equivalent: int

    @property
    def score(self) -> float:
        """Killed of all; equivalent ones count against it."""
        return self.killed / self.mutants if self.mutants else 0.0


@dataclass(frozen=True)
class Verified:
    problem: Problem
    tests: tuple[Test, ...]
    mutation: Mutation
    ticks: int
    """Of the reference on the input that takes most."""


@dataclass(frozen=True)
class Rejected:
    reason: str
    detail: str = ""


@dataclass
class _Trial:
    """A problem on its way."""

    problem: Problem
    seed: str
    inputs: Iterator[Arguments]
    cases: list[Test] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    verdict: dict[str, Any] = field(default_factory=dict)
    outcome: Verified | Rejected | None = None

    def more_cases(self, wanted: int) -> list[Test]:
        """The next inputs with what the oracle says; none that came before. Raises _Refused."""
        found: list[Test] = []
        for arguments in islice(self.inputs, 2 * wanted):
            text = ", ".join(map(literal, arguments))
            if text in self.seen:
                continue
            self.seen.add(text)
            expected = self.problem.oracle(*copied(arguments))
            _check_value(expected)
            for one in self.problem.properties:
                if not one.check(arguments, expected):
                    raise _Refused("property", f"{one.text} {text} -> {literal(expected)}")
            found.append(Test(text, literal(expected)))
            if len(found) == wanted:
                break
        return found

    def job(self, cases: Sequence[Test], mutants: int | list[int]) -> dict[str, Any]:
        return {
            "name": self.problem.name,
            "solutions": [one.source for one in self.problem.solutions],
            "cases": cases_source(cases),
            "num_cases": len(cases),
            "seed": self.seed,
            "mutants": mutants,
        }


class _Refused(Exception):  # noqa: N818  # a reason, not an error
    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


def cases_source(tests: Sequence[Test]) -> str:
    """Source of a list of functions, each of which makes arguments and expected result anew."""
    pairs = [f"lambda: (({one.arguments},), {one.expected})" for one in tests]
    return f"[{', '.join(pairs)}]"


def _check_value(value: Value) -> None:
    """Refuses integers that doubles do not hold exactly."""
    if isinstance(value, int):
        if not -_MOST_INTEGER < value < _MOST_INTEGER:
            raise _Refused("large integer")
    elif isinstance(value, list | tuple):
        for one in value:
            _check_value(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_value(key)
            _check_value(one)


class Verifier:
    """A sandbox that problems are verified in. Close it, or use it in a `with` statement."""

    def __init__(self) -> None:
        self._sandbox = new_sandbox()

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sandbox.close()

    def verify(self, problems: Sequence[tuple[Problem, str]]) -> list[Verified | Rejected]:
        """In the order of the problems, each with a seed that decides its inputs and mutants.

        Raises UnavailableError where the sandbox cannot run them.
        """
        trials = [_Trial(problem, seed, problem.inputs(Random(seed))) for problem, seed in problems]
        for trial in trials:
            try:
                trial.cases = trial.more_cases(NUM_INPUTS)
                _check_variety(trial)
            except _Refused as refused:
                trial.outcome = Rejected(refused.reason, refused.detail)
        self._first_round([one for one in trials if one.outcome is None])
        self._second_round([one for one in trials if one.outcome is None])
        for trial in trials:
            if trial.outcome is None:
                trial.outcome = _verified(trial)
        return [one.outcome for one in trials if one.outcome is not None]

    def problems_with(self, texts: Sequence[str]) -> list[str | None]:
        """Runs documents as they stand: what is wrong with each, None where nothing is."""
        jobs = [{"solutions": [], "text": text} for text in texts]
        verdicts = [
            verdict
            for start in range(0, len(jobs), BATCH_PROBLEMS)
            for verdict in run_batch(
                self._sandbox, "documents", jobs[start : start + BATCH_PROBLEMS]
            )
        ]
        return [verdict["error"] for verdict in verdicts]

    def _first_round(self, trials: list[_Trial]) -> None:
        jobs = [trial.job(trial.cases, NUM_MUTANTS) for trial in trials]
        for trial, verdict in zip(trials, self.judged(jobs), strict=True):
            trial.verdict = verdict
            if verdict["error"] is not None:
                trial.outcome = _rejected(verdict["error"])
            else:
                verdict["first"] = sum(verdict["killed"][: verdict["num_drawn"]])

    def _second_round(self, trials: list[_Trial]) -> None:
        """More inputs for mutants that passed; those that tell one apart become tests."""
        waiting = []
        for trial in trials:
            survivors = [i for i, is_killed in enumerate(trial.verdict["killed"]) if not is_killed]
            if not survivors:
                continue
            try:
                more = trial.more_cases(MORE_INPUTS)
            except _Refused as refused:
                trial.outcome = Rejected(refused.reason, refused.detail)
                continue
            if more:
                waiting.append((trial, survivors, more))
        jobs = [
            trial.job(more, [trial.verdict["places"][one] for one in survivors])
            for trial, survivors, more in waiting
        ]
        for (trial, survivors, more), verdict in zip(waiting, self.judged(jobs), strict=True):
            if verdict["error"] is not None:
                trial.outcome = _rejected(verdict["error"])
                continue
            for place, is_killed in zip(survivors, verdict["killed"], strict=True):
                trial.verdict["killed"][place] = is_killed
            border = len(trial.cases)
            trial.verdict["tests"] += [border + place for place in verdict["tests"]]
            trial.cases += more

    def judged(self, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Verdicts of the harness, in batches of one process each."""
        verdicts: list[dict[str, Any]] = []
        for start in range(0, len(jobs), BATCH_PROBLEMS):
            verdicts += run_batch(self._sandbox, "harness", jobs[start : start + BATCH_PROBLEMS])
        return verdicts


def new_sandbox() -> Sandbox:
    """One with the limits of a batch. Raises UnavailableError where nothing can be isolated."""
    return Sandbox(_LIMITS)


def run_batch(sandbox: Sandbox, entry: str, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Verdicts of one process in which `entry` of `inside/` takes the jobs. Where it is lost,
    halves of the jobs are tried again, so that only the one that did it gets an error."""
    if not jobs:
        return []
    data = json.dumps({"problems": jobs}).encode()
    outcome = sandbox.run(program(entry), stdin=data)
    if outcome.status == "timeout":  # by a clock: it may decide nothing
        raise UnavailableError(
            f"{len(jobs)} problems took more than {_LIMITS.cpu_seconds} s of processor time in "
            "the sandbox; run the same command again when the machine is less busy"
        )
    verdicts = _verdicts(outcome.stdout) if outcome.status == "passed" else None
    if verdicts is not None and len(verdicts) == len(jobs):
        return verdicts
    if len(jobs) == 1:
        text = outcome.stderr.decode(errors="replace").strip()[-300:]
        return [{"error": f"its process was lost: {outcome.status} {text}"}]
    middle = len(jobs) // 2
    halves = (jobs[:middle], jobs[middle:])
    return [verdict for half in halves for verdict in run_batch(sandbox, entry, half)]


def _verdicts(output: bytes) -> list[dict[str, Any]] | None:
    """None where the process ended before it had said all."""
    try:
        verdicts = json.loads(output)
    except ValueError:
        return None
    return verdicts if isinstance(verdicts, list) else None


def _rejected(error: str) -> Rejected:
    """A program that runs out of ticks takes long; anything else is wrong."""
    return Rejected("ticks" if "raises Endless" in error else "solution", error)


def _check_variety(trial: _Trial) -> None:
    """Refuses what gives nearly always the same."""
    results = [one.expected for one in trial.cases]
    if len(results) < NUM_INPUTS // 3:
        raise _Refused("few inputs")
    most = max(results.count(one) for one in set(results))
    if most > 0.85 * len(results):
        raise _Refused("constant", results[0])


def _verified(trial: _Trial) -> Verified | Rejected:
    verdict = trial.verdict
    for what, is_killed in zip(verdict["mutants"], verdict["killed"], strict=True):
        if what.endswith(DECISIVE) and not is_killed:
            return Rejected("idle condition", what)
    killed = verdict["killed"][: verdict["num_drawn"]]
    mutation = Mutation(len(killed), sum(killed), verdict["first"], len(killed) - sum(killed))
    if mutation.score < LEAST_SCORE:
        return Rejected("mutation score", f"{mutation.killed} of {mutation.mutants}")
    places = sorted({*range(NUM_EDGE_CASES), *verdict["tests"]})
    tests = tuple(trial.cases[place] for place in places)
    return Verified(trial.problem, tests, mutation, verdict["ticks"])
