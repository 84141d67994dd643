"""Whether programs that nobody vouches for are believed: only where they are right, whatever else
they do."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from megatron_codemix.corpus.synthesis.model_written.exercise import Exercise
from megatron_codemix.corpus.synthesis.model_written.trial import LIMITS, Tried, try_exercise
from megatron_codemix.corpus.synthesis.verification.batch import Rejected
from megatron_codemix.sandbox.limits import MIB
from megatron_codemix.sandbox.sandbox import Sandbox
from tests.helpers.exercise_server import EXERCISES

SLACK_SECONDS = 120
"""Three processes that each run into their limits, on a busy machine."""


@pytest.fixture(scope="module")
def sandbox(isolation: None) -> Iterator[Sandbox]:
    limits = replace(LIMITS, wall_seconds=30.0, cpu_seconds=3, memory_bytes=256 * MIB)
    with Sandbox(limits) as one:
        yield one


NAME, STATEMENT, SOLUTION, SECOND, INPUTS = EXERCISES[0]


def exercise(solution: str = SOLUTION, inputs: list[str] = INPUTS) -> Exercise:
    return Exercise(NAME, STATEMENT, solution, tuple(inputs))


@pytest.mark.parametrize("number", range(len(EXERCISES)))
def test_right_exercises_stand(sandbox: Sandbox, number: int) -> None:
    name, statement, solution, second, inputs = EXERCISES[number]
    given = Exercise(name, statement, solution, tuple(inputs))
    tried = try_exercise(given, second, sandbox, "seed")
    assert isinstance(tried, Tried), tried
    names: dict[str, object] = {}
    exec(solution, names)
    for test in tried.tests:
        assert eval(f"{name}({test.arguments}) == {test.expected}", names)
    assert len(tried.tests) >= 5
    assert tried.mutation.killed > tried.mutation.mutants / 2


def outcome(sandbox: Sandbox, solution: str, second: str = SECOND) -> Tried | Rejected:
    return try_exercise(exercise(solution), second, sandbox, "seed")


WRONG = {
    "another border": "def count_above(v, b):\n    return sum(x >= b for x in v)\n",
    "a truth for a number": "def count_above(v, b):\n    return any(x > b for x in v)\n",
    "another type": "def count_above(v, b):\n    return float(sum(x > b for x in v))\n",
    "nothing": "def count_above(v, b):\n    pass\n",
    "an error": "def count_above(v, b):\n    return v[0]\n",
    "a function": "def count_above(v, b):\n    return lambda: 1\n",
    "what is equal to all": (
        "class Equal:\n    def __eq__(self, other): return True\n    __hash__ = None\n\n"
        "def count_above(v, b):\n    return Equal()\n"
    ),
    "an int of its own": (
        "class Sly(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n\n"
        "def count_above(v, b):\n    return Sly(7)\n"
    ),
    "changed arguments": (
        "def count_above(v, b):\n    n = sum(x > b for x in v)\n    v.append(1)\n    return n\n"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_second_solution_that_differs_is_not_believed(sandbox: Sandbox, name: str) -> None:
    rejected = outcome(sandbox, SOLUTION, WRONG[name])
    assert isinstance(rejected, Rejected), rejected
    assert rejected.reason == "the solutions disagree"


ATTACKS = {
    "loops": "def count_above(v, b):\n    while True:\n        pass\n",
    "loops when it is loaded": "while True:\n    pass\n",
    "loops where no tick is counted": "def count_above(v, b):\n    return sum(iter(int, 1))\n",
    "matches without end": (
        "import re\n\ndef count_above(v, b):\n    return re.match('(a+)+$', 'a' * 60 + 'b')\n"
    ),
    "takes memory": "def count_above(v, b):\n    return len(bytearray(1 << 40))\n",
    "takes memory in a list": "x = []\nwhile True:\n    x.append(bytearray(1 << 20))\n",
    "writes without end": (
        "import sys\n\ndef count_above(v, b):\n    while True:\n"
        "        sys.__stdout__.write('x' * 999)\n"
    ),
    "ends the process": "import os\n\ndef count_above(v, b):\n    os._exit(0)\n",
    "exits": "def count_above(v, b):\n    raise SystemExit(0)\n",
    "recurses": "def count_above(v, b):\n    return count_above(v, b)\n",
    "recurses in a value": (
        "def count_above(v, b):\n    x = []\n    for _ in range(40000):\n        x = [x]\n"
        "    return x\n"
    ),
    "gives itself": "def count_above(v, b):\n    x = []\n    x.append(x)\n    return x\n",
    "gives a flood": "def count_above(v, b):\n    return 'x' * 99999\n",
    "gives a large number": "def count_above(v, b):\n    return 1 << 99\n",
    "sends an answer of its own": (
        'import os\nos.write(1, b\'[[true, "0"], [true, "0"]]\')\nos._exit(0)\n'
    ),
    "sends what is no answer": "import os\nos.write(1, b'{\"x\": [')\nos._exit(0)\n",
    "sends a deep answer": "import os\nos.write(1, b'[' * 99999)\nos._exit(0)\n",
    "changes how answers are written": (
        "import json\njson.dumps = lambda *a, **k: '[[1, 2]]'\n"
        "def count_above(v, b):\n    return 0\n"
    ),
    "forks": "import os\nwhile True:\n    os.fork()\n",
    "cannot be loaded": "raise ValueError\n",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_as_either_solution_end_as_a_rejection(sandbox: Sandbox, name: str) -> None:
    started = time.monotonic()
    first, second = outcome(sandbox, ATTACKS[name]), outcome(sandbox, SOLUTION, ATTACKS[name])
    assert isinstance(first, Rejected), first
    assert isinstance(second, Rejected), second
    assert time.monotonic() - started < SLACK_SECONDS
    assert isinstance(outcome(sandbox, SOLUTION), Tried)


def test_a_solution_that_fails_on_many_of_its_inputs_is_not_taken(sandbox: Sandbox) -> None:
    picky = "def count_above(v, b):\n    return v[0] + b\n"
    rejected = try_exercise(exercise(picky, [*INPUTS, "[], 1", "[], 2"]), picky, sandbox, "seed")
    assert rejected == Rejected("the solution fails", "IndexError")


def test_a_few_inputs_that_the_statement_does_not_allow_are_left_out(sandbox: Sandbox) -> None:
    picky = "def count_above(v, b):\n    return v[0] * b + len(v)\n"
    inputs = ["[], 1", "[1], 2", "[2], 2", "[3, 1], 2", "[4], 9", "[1, 1], 5", "[0], 0"]
    tried = try_exercise(exercise(picky, inputs), picky, sandbox, "seed")
    assert isinstance(tried, Tried), tried
    assert "[], 1" not in [test.arguments for test in tried.tests]


def test_a_function_that_always_gives_the_same_is_no_exercise(sandbox: Sandbox) -> None:
    same = "def count_above(v, b):\n    return b - b\n"
    assert outcome(sandbox, same, same) == Rejected("constant", "0")


def test_inputs_that_notice_no_errors_are_not_enough(sandbox: Sandbox) -> None:
    """Most of the function is for long lists, and there is none."""
    solution = (
        "def count_above(v, b):\n    if len(v) > 50:\n"
        "        return (b * 3 + 7) // 2 - len(v) * 5 + min(b, 4) + (1 if b > 3 else b % 9)\n"
        "    return len(v)\n"
    )
    inputs = [f"{[90] * number}, 1" for number in range(8)]
    short = "def count_above(v, b):\n    return len(v)\n"
    rejected = try_exercise(exercise(solution, inputs), short, sandbox, "seed")
    assert isinstance(rejected, Rejected), rejected
    assert rejected.reason == "mutation score"


def test_the_same_seed_gives_the_same(sandbox: Sandbox) -> None:
    assert outcome(sandbox, SOLUTION) == outcome(sandbox, SOLUTION)
