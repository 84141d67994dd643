"""Programs that are counted and mutated, here without a sandbox: all of it is our own text."""

import ast
from typing import Any

import pytest

from megatron_codemix.corpus.synthesis.verification.inside.harness import judge
from megatron_codemix.corpus.synthesis.verification.inside.instrument import (
    Endless,
    Ticks,
    instrument,
)
from megatron_codemix.corpus.synthesis.verification.inside.mutants import plus, sites

PROGRAM = '''
def total(values: list[int], limit: int = 10) -> int:
    """A docstring with 5 words, left alone."""
    result = 0
    for value in values:
        if value > 3 and value % 2 == 0:
            result += value * 2
    while result > limit:
        result -= limit
    return result
'''


def namespace(source: str, ticks: int = 10_000) -> tuple[dict[str, Any], Ticks]:
    counter = Ticks()
    counter.left = ticks
    names: dict[str, Any] = {**counter.names(), "_plus_": plus}
    exec(compile(instrument(ast.parse(source)), "<test>", "exec"), names)
    return names, counter


def test_an_instrumented_program_gives_the_same() -> None:
    plain: dict[str, Any] = {}
    exec(PROGRAM, plain)
    names, _ = namespace(PROGRAM)
    for values in ([], [4], [1, 2, 3], [4, 6, 8, 10, 12]):
        assert names["total"](values) == plain["total"](values)


def test_ticks_count_loops_comprehensions_and_calls() -> None:
    source = "def f(n):\n    for i in range(n):\n        pass\n    return [j for j in range(n)]\n"
    names, counter = namespace(source)
    before = counter.left
    names["f"](7)
    assert before - counter.left == 1 + 7 + 7


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    while True:\n        pass\n",
        "def f():\n    return f()\n",
        "def f():\n    x = 3\n    while True:\n        x *= x\n",
        "def f():\n    x = 3\n    for i in range(9):\n        x = x * x\n",
        "def f():\n    return 10 ** 10 ** 10\n",
        "def f():\n    return sum(range(10 ** 12))\n",
        "def f():\n    return 'ab' * 10 ** 9\n",
        "def f():\n    return [0] * 10 ** 9\n",
        "def f():\n    xs = [1]\n    for x in xs:\n        xs.append(x)\n",
        "def f():\n    return all(True for _ in iter(int, 1))\n",
    ],
)
def test_what_would_not_end_or_fill_the_memory_ends_at_once(source: str) -> None:
    names, _ = namespace(source, ticks=500)
    with pytest.raises((Endless, RecursionError)):
        names["f"]()


def mutated(source: str) -> list[tuple[str, str]]:
    """(what, source) of every mutant, by the tree itself."""
    tree = instrument(ast.parse(source))
    found = []
    for site in sites(tree):
        undo = site.apply()
        compile(tree, "<mutant>", "exec")
        found.append((site.what, ast.unparse(tree)))
        undo()
    assert ast.unparse(tree) == ast.unparse(instrument(ast.parse(source)))
    return found


def test_mutants_are_different_programs_that_compile_and_are_taken_back() -> None:
    original = ast.unparse(instrument(ast.parse(PROGRAM)))
    found = mutated(PROGRAM)
    assert all(text != original for _, text in found)
    said = {what for what, _ in found}
    assert {"Gt to GtE", "Gt to Lt", "And to Or", "Mod to FloorDiv", "_times_ to _plus_"} <= said
    assert {"condition always true", "condition never true", "statement left out"} <= said
    assert {"Eq to NotEq", "3 to 4", "3 to 2", "0 to 1"} <= said


def test_docstrings_annotations_and_ticks_are_no_sites() -> None:
    for _, text in mutated(PROGRAM):
        assert "A docstring with 5 words" in text
        assert "limit: int=10" in text
        assert text.count("_tick_()") == 3


def case(arguments: str, expected: str) -> str:
    return f"lambda: (({arguments},), {expected})"


def job(source: str, cases: list[str], mutants: Any = 100, name: str = "f") -> dict[str, Any]:
    return {
        "name": name,
        "solutions": [source],
        "cases": f"[{', '.join(cases)}]",
        "num_cases": len(cases),
        "seed": "any",
        "mutants": mutants,
    }


LARGEST = "def f(xs: list[int]) -> int:\n    return max(xs, default=0) + 1\n"


def test_tests_are_those_that_kill_mutants() -> None:
    """One case tells all mutants of it apart, the first ones none or few."""
    cases = [case("[]", "1"), case("[5, 5]", "6"), case("[3, 9, 4]", "10")]
    verdict = judge(job(LARGEST, cases))
    assert verdict["error"] is None
    killed = dict(zip(verdict["mutants"], verdict["killed"], strict=True))
    assert killed == {
        "line 2: Add to Sub": True,
        "line 2: max to min": True,
        "line 2: 0 to 1": True,
        "line 2: 0 to -1": True,
        "line 2: 1 to 2": True,
        "line 2: 1 to 0": True,
    }
    assert set(verdict["tests"]) == {0, 2}


def test_a_mutant_that_no_case_tells_apart_is_not_killed() -> None:
    verdict = judge(job(LARGEST, [case("[5]", "6")]))
    killed = dict(zip(verdict["mutants"], verdict["killed"], strict=True))
    assert not killed["line 2: max to min"]
    assert not killed["line 2: 0 to 1"]
    assert killed["line 2: Add to Sub"]


def test_mutants_are_drawn_by_the_seed_and_found_again_by_their_places() -> None:
    cases = [case("[4, 6, 3, 20]", "10")]
    drawn = judge(job(PROGRAM, cases, 4, "total"))
    assert drawn["num_drawn"] == 4
    assert drawn == judge(job(PROGRAM, cases, 4, "total"))
    again = judge(job(PROGRAM, cases, drawn["places"][:2], "total"))
    assert again["mutants"] == drawn["mutants"][:2]
    other = judge({**job(PROGRAM, cases, 4, "total"), "seed": "another"})
    assert other["places"] != drawn["places"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def f(xs: list[int]) -> int:\n    return xs[0]\n", "raises IndexError"),
        ("def f(xs: list[int]) -> int:\n    return 7\n", "gives 7, not 1"),
        ("def f(xs: list[int]) -> int:\n    return True\n", "gives True, not 1"),
        ("def f(xs: list[int]) -> int:\n    xs.append(1)\n    return 1\n", "changes its arguments"),
        ("def f(xs: list[int]) -> int:\n    while True:\n        pass\n", "raises Endless"),
        ("def g(xs: list[int]) -> int:\n    return 1\n", "does not load: KeyError"),
        ("def f(xs: list[int]) -> int\n    return 1\n", "does not load: SyntaxError"),
    ],
)
def test_a_wrong_solution_is_named(source: str, error: str) -> None:
    verdict = judge(job(source, [case("[]", "1")]))
    assert error in verdict["error"]


MEMO = """
def f(n: int) -> int:
    known = {}

    def at(i: int) -> int:
        if i not in known:
            known[i] = i if i < 2 else at(i - 1) + at(i - 2)
        return known[i]

    return at(n)
"""
FIRST = """
def f(words: list[str]) -> dict[int, str]:
    table = {}
    for word in words:
        if len(word) not in table:
            table[len(word)] = word
    return table
"""


def test_to_forget_what_is_known_is_no_mutant_but_to_replace_the_first_is() -> None:
    always = [text for what, text in mutated(MEMO) if what == "condition always true"]
    assert len(always) == 1  # of the conditional expression alone
    assert "if i not in known" in always[0]
    assert [what for what, _ in mutated(FIRST)].count("condition always true") == 1
    assert judge(job(MEMO, [case("5", "5"), case("9", "34")]))["error"] is None
