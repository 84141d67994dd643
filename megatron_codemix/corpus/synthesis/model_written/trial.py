"""Whether what a model wrote is right: two solutions that it gave independently agree, and the
inputs tell small errors from the right program.

Nobody vouches for these programs: each runs in a sandbox of its own, and what it gives is compared
here, where it has no hand in it. So does each mutant: it is made here, and its process is asked for
what that of the solution is asked for, so that none can tell for which of them it answers.
"""

import ast
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.model_written.exercise import LEAST_INPUTS, Exercise
from megatron_codemix.corpus.synthesis.values import same
from megatron_codemix.corpus.synthesis.verification.batch import (
    LEAST_SCORE,
    NUM_EDGE_CASES,
    NUM_MUTANTS,
    Mutation,
    Rejected,
)
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.corpus.synthesis.verification.bundle import program
from megatron_codemix.corpus.synthesis.verification.inside import mutants
from megatron_codemix.corpus.synthesis.verification.inside.instrument import instrument
from megatron_codemix.sandbox.limits import MIB, Limits
from megatron_codemix.sandbox.sandbox import Sandbox

LIMITS = Limits(
    wall_seconds=60.0, cpu_seconds=20, memory_bytes=512 * MIB, output_bytes=4 * MIB, processes=4
)
_INSIDE = "megatron_codemix.corpus.synthesis.model_written.inside"
_LEAST_RESULTS = 3
"""Different ones: a function that nearly always gives the same is no exercise."""
_LEAST_TESTS = 5
"""Kept with an exercise, though fewer may be enough to notice all mutants."""
_MOST_FAILED = 0.25
"""Of the inputs: a model may give some that its own statement does not allow."""


@dataclass(frozen=True)
class Tried:
    """An exercise that stands. `tests`: edge cases first, then those that mutants fail on."""

    exercise: Exercise
    second_solution: str
    tests: tuple[ProblemTest, ...]
    mutation: Mutation


class NoAnswerError(Exception):
    """The process ended without one; says how."""


def try_exercise(
    exercise: Exercise, second_solution: str, sandbox: Sandbox, seed: str
) -> Tried | Rejected:
    """Runs both solutions and each mutant of the first in a process of its own."""
    try:
        results = run_solution(sandbox, exercise.solution, exercise.name, exercise.inputs)
        pairs = list(zip(exercise.inputs, results, strict=True))
        kept = [(given, text) for given, (is_value, text) in pairs if is_value]
        if len(kept) < max(LEAST_INPUTS, (1 - _MOST_FAILED) * len(results)):
            said = next(text for is_value, text in results if not is_value)
            return Rejected("the solution fails", said)
        inputs, expected = [given for given, _ in kept], [text for _, text in kept]
        if len(set(expected)) < _LEAST_RESULTS:
            return Rejected("constant", expected[0])
        second = run_solution(sandbox, second_solution, exercise.name, inputs)
        for given, one, other in zip(inputs, expected, second, strict=True):
            if not agrees(one, other):
                return Rejected("the solutions disagree", f"{given}: {one}, and {other[1]}")
        of_mutants = [
            run_program(sandbox, mutant, exercise.name, inputs)
            for mutant in islice(_mutants(exercise.solution, seed), NUM_MUTANTS)
        ]
    except NoAnswerError as error:
        return Rejected("the sandbox ended it", str(error))
    return _judged(exercise, second_solution, inputs, expected, of_mutants)


def _mutants(source: str, seed: str) -> Iterator[str]:
    """Source texts with one error each, ticks among them, in the order of the seed."""
    try:
        tree = instrument(ast.parse(source))
        sites = mutants.sites(tree)
        Random(seed).shuffle(sites)
        for site in sites:
            undo = site.apply()
            with suppress(ValueError):  # an f-string that this Python cannot write
                yield ast.unparse(tree)
            undo()
    except RecursionError as error:
        raise NoAnswerError("nested deeply") from error


def run_solution(
    sandbox: Sandbox, source: str, name: str, inputs: Sequence[str]
) -> list[tuple[bool, str]]:
    """For each input whether the solution gives a value, and its source text or what was wrong.
    Raises NoAnswerError."""
    return run_program(sandbox, source, name, inputs, ticks=True)


def run_program(
    sandbox: Sandbox, source: str, name: str, inputs: Sequence[str], *, ticks: bool = False
) -> list[tuple[bool, str]]:
    """`run_solution` of a program as it stands, or with ticks put into it."""
    job = {"source": source, "name": name, "calls": list(inputs), "ticks": ticks}
    return list(_results(output_of(sandbox, _INSIDE, job), len(inputs)))


def agrees(expected: str, result: tuple[bool, str]) -> bool:
    """Whether a result is a value equal to what is expected, of equal types throughout."""
    is_value, text = result
    if not is_value:
        return False
    try:
        return same(ast.literal_eval(text), ast.literal_eval(expected))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False


def output_of(sandbox: Sandbox, entry: str, job: dict[str, Any]) -> Any:
    """The JSON that a process writes in which `entry` (see `program`) takes a job; it may be
    anything. Raises NoAnswerError."""
    outcome = sandbox.run(program(entry), stdin=json.dumps(job).encode())
    if outcome.status != "passed":
        last = outcome.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise NoAnswerError(f"{outcome.status}: {last[:200]}" if last else outcome.status)
    try:
        return json.loads(outcome.stdout)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("no answer that can be read") from error


def _results(answer: Any, count: int) -> Iterator[tuple[bool, str]]:
    """What a program has sent, if it looks like results at all."""
    if not isinstance(answer, list) or len(answer) != count:
        raise NoAnswerError("no answer that can be read")
    for one in answer:
        if not isinstance(one, list) or len(one) != 2 or not isinstance(one[1], str):
            raise NoAnswerError("no answer that can be read")
        yield one[0] is True, one[1]


def _judged(
    exercise: Exercise,
    second_solution: str,
    inputs: list[str],
    expected: list[str],
    of_mutants: list[list[tuple[bool, str]]],
) -> Tried | Rejected:
    places, killed = list(range(min(NUM_EDGE_CASES, len(inputs)))), 0
    for results in of_mutants:
        order = [*places, *(place for place in range(len(inputs)) if place not in places)]
        killer = next((one for one in order if not agrees(expected[one], results[one])), None)
        if killer is not None:
            killed += 1
            if killer not in places:
                places.append(killer)
    mutation = Mutation(len(of_mutants), killed, killed, len(of_mutants) - killed)
    if mutation.score < LEAST_SCORE:
        return Rejected("mutation score", f"{killed} of {len(of_mutants)}")
    needed = len(places)
    places += [place for place in range(len(inputs)) if place not in places]
    taken = sorted(places[: max(_LEAST_TESTS, needed)])
    tests = tuple(ProblemTest(inputs[place], expected[place]) for place in taken)
    return Tried(exercise, second_solution, tests, mutation)
