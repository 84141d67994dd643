"""Judges problems inside the sandbox: all solutions on all cases, then mutants of the reference.

Reads one JSON object, {"problems": [...]}, on standard input and writes a list of verdicts. Each is
{"name", "solutions": [source], "cases": source of a list of functions that each give (arguments,
expected), "num_cases", "seed", "mutants": how many to draw, or the places of which}.
"""

import ast
import io
import json
import random
import sys
from collections.abc import Callable, Collection
from typing import Any

from megatron_codemix.corpus.synthesis.verification.inside import mutants
from megatron_codemix.corpus.synthesis.verification.inside.instrument import Ticks, instrument

SOLUTION_TICKS = 50_000
"""More than any solution of ours takes on one case; what takes more is no exercise."""
LEAST_MUTANT_TICKS = 1_000
MUTANT_FACTOR = 8
"""A mutant may take so many times what the reference took at most."""
RECURSION_LIMIT = 1_000

Case = Callable[[], tuple[tuple[Any, ...], Any]]


def same(one: Any, other: Any) -> bool:
    """Equal and of equal types throughout, in keys and members too: True is not 1, a tuple is not a
    list."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is int or kind is str:  # by far the most
        return bool(one == other)
    if kind is list or kind is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    if kind is dict:
        return are_same_keys(one, other) and all(same(one[key], other[key]) for key in one)
    if kind is set or kind is frozenset:
        return are_same_keys(one, other)
    fields = getattr(kind, "__dataclass_fields__", ())
    return bool(one == other) and all(
        same(getattr(one, name), getattr(other, name)) for name in fields
    )


def are_same_keys(one: Collection[Any], other: Collection[Any]) -> bool:
    """Of two dictionaries or sets."""
    return len(one) == len(other) and set(map(typed, one)) == set(map(typed, other))


def typed(key: Any) -> Any:
    """A key that only equals what is of its type throughout."""
    kind = type(key)
    if kind is tuple:
        return tuple, tuple(map(typed, key))
    if kind is frozenset:
        return frozenset, frozenset(map(typed, key))
    return kind, key


class Program:
    """A compiled module with its own namespace and ticks."""

    def __init__(self, code: Any, name: str, cases: Any, ticks: Ticks) -> None:
        self.ticks = ticks
        names: dict[str, Any] = {"__name__": "solution", **ticks.names(), "_plus_": mutants.plus}
        ticks.left = SOLUTION_TICKS
        exec(code, names)
        self.function = names[name]
        self.cases: list[Case] = eval(cases, names)

    def passes(self, place: int, limit: int) -> bool:
        arguments, expected = self.cases[place]()
        self.ticks.left = limit
        try:
            return same(self.function(*arguments), expected)
        except (Exception, RecursionError):
            return False

    def problem_with(self, place: int) -> str | None:
        """Why a solution is wrong on a case; None where it is right."""
        arguments, expected = self.cases[place]()
        self.ticks.left = SOLUTION_TICKS
        try:
            result = self.function(*arguments)
        except BaseException as error:
            return f"raises {type(error).__name__}: {error}"
        if not same(result, expected):
            return f"gives {result!r:.200}, not {expected!r:.200}"
        if not same(arguments, self.cases[place]()[0]):
            return "changes its arguments"
        return None


def judge(problem: dict[str, Any]) -> dict[str, Any]:
    """{"error"}, or what mutants there are, by place and in words, and which of them are killed.
    The first `num_drawn` were drawn; the others are conditions that do not decide. `tests` are
    cases that between them kill all that are killed, in the order in which they were needed."""
    name, num_cases = problem["name"], problem["num_cases"]
    cases = compile(problem["cases"], "<cases>", "eval")
    most_ticks = 0
    trees = []
    for number, source in enumerate(problem["solutions"]):
        ticks = Ticks()
        try:
            tree = instrument(ast.parse(source))
            program = Program(compile(tree, "<solution>", "exec"), name, cases, ticks)
        except BaseException as error:
            return {"error": f"solution {number} does not load: {type(error).__name__}: {error}"}
        trees.append(tree)
        for place in range(num_cases):
            if (wrong := program.problem_with(place)) is not None:
                return {"error": f"solution {number}, case {place}: {wrong}"}
            if number == 0:
                most_ticks = max(most_ticks, SOLUTION_TICKS - ticks.left)
    sites = mutants.sites(trees[0])
    places, num_drawn = _chosen(problem, sites)
    limit = max(LEAST_MUTANT_TICKS, MUTANT_FACTOR * most_ticks)
    chosen = [sites[place] for place in places]
    killed, tests = _kill(trees[0], chosen, name, cases, num_cases, limit)
    return {
        "error": None,
        "ticks": most_ticks,
        "places": places,
        "mutants": [f"line {site.line}: {site.what}" for site in chosen],
        "num_drawn": num_drawn,
        "killed": killed,
        "tests": tests,
    }


def _chosen(problem: dict[str, Any], sites: list[mutants.Site]) -> tuple[list[int], int]:
    """Places of the mutants among the sites: those that were drawn, how many these are, and behind
    them every condition replaced by what it is always or never, which shows whether it decides."""
    wanted = problem["mutants"]
    if not isinstance(wanted, int):
        return wanted, len(wanted)
    order = list(range(len(sites)))
    random.Random(problem["seed"]).shuffle(order)
    drawn, rest = order[:wanted], order[wanted:]
    conditions = [place for place in rest if wanted and sites[place].what in mutants.DECISIVE]
    return [*drawn, *conditions], len(drawn)


def _kill(
    tree: ast.Module,
    drawn: list[mutants.Site],
    name: str,
    cases: Any,
    num_cases: int,
    limit: int,
) -> tuple[list[bool], list[int]]:
    killed: list[bool] = []
    tests: list[int] = []
    rest = list(range(num_cases))
    for site in drawn:
        undo = site.apply()
        killer = None
        try:
            code = compile(tree, "<mutant>", "exec")
            program = Program(code, name, cases, Ticks())
        except BaseException:  # it does not even load: any test notices
            killer = tests[0] if tests else 0
        else:
            order = [*tests, *(place for place in rest if place not in tests)]
            killer = next((one for one in order if not program.passes(one, limit)), None)
        undo()
        killed.append(killer is not None)
        if killer is not None and killer not in tests:
            tests.append(killer)
    return killed, tests


def main() -> None:
    sys.setrecursionlimit(RECURSION_LIMIT)
    job = json.loads(sys.stdin.buffer.read())
    output, sys.stdout = sys.stdout, io.StringIO()
    verdicts = [judge(problem) for problem in job["problems"]]
    output.write(json.dumps(verdicts))
    output.flush()
