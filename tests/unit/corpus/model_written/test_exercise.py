"""What is taken from a model's exercise before anything of it runs."""

import json
from typing import Any

import pytest

from megatron_codemix.corpus.synthesis.model_written.exercise import (
    read_exercise,
    read_solution,
)
from megatron_codemix.corpus.synthesis.model_written.json_in_text import UnreadableError

SOLUTION = "def add(xs: list[int], k: int = 2) -> list[int]:\n    return [x + k for x in xs]\n"
GOOD: dict[str, Any] = {
    "name": "add",
    "statement": "Write `add(xs: list[int], k: int)` that adds k to every element.",
    "solution": SOLUTION,
    "inputs": ["[], 1", "[1], 2", "[1, 2], 3", "[5], -5", "[0, 0], 9"],
}


def reply(**changed: Any) -> str:
    return json.dumps({**GOOD, **changed})


def test_an_exercise_is_read() -> None:
    exercise = read_exercise(reply())
    assert (exercise.name, exercise.solution) == ("add", SOLUTION)
    assert exercise.inputs == ("[], 1", "[1], 2", "[1, 2], 3", "[5], -5", "[0, 0], 9")


INPUTS = {
    "whole calls": ["add([1], 2)", "`add([1, 2], 2)`"],
    "keywords": ["xs=[1], k=2", "k=2, xs=[1, 2]"],
    "lists of arguments": [[[1], 2], [[1, 2], 2]],
    "tuples as text": ["([1], 2)", "([1, 2], 2)"],
    "objects by parameter": [{"xs": [1], "k": 2}, {"k": 2, "xs": [1, 2]}],
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_are_taken_in_many_forms(name: str) -> None:
    rest = ["[], 1", "[5], -5", "[0, 0], 9"]
    exercise = read_exercise(reply(inputs=[*INPUTS[name], *rest]))
    assert exercise.inputs == ("[1], 2", "[1, 2], 2", *rest)


ONE = "def f(x: list[int]) -> int:\n    return len(x)\n"


def test_inputs_of_a_single_parameter() -> None:
    given = [[1, 2], "[3]", [[4]], ["[5]"], [], "([],)"]
    exercise = read_exercise(reply(name="f", solution=ONE, inputs=given))
    assert exercise.inputs == ("[1, 2]", "[3]", "[[4]]", '["[5]"]', "[]", "([],)")


def test_a_list_for_a_single_parameter_is_its_value_however_long() -> None:
    given = [[], [1], [1, 2], [[3]], {"x": 1}]
    exercise = read_exercise(reply(name="f", solution=ONE, inputs=given))
    assert exercise.inputs == ("[]", "[1]", "[1, 2]", "[[3]]", '{"x": 1}')


def test_text_as_an_argument_needs_no_quotes_where_it_can_be_nothing_else() -> None:
    solution = "def f(text: str) -> int:\n    return len(text)\n"
    given = ["'a'", "hello world", "b c!", "", "'x'"]
    exercise = read_exercise(reply(name="f", solution=solution, inputs=given))
    assert exercise.inputs == ('"a"', '"hello world"', '"b c!"', '""', '"x"')


def test_inputs_that_come_twice_or_do_not_fit_are_left_out() -> None:
    given = [*GOOD["inputs"], "[1], 2", "[1]", "[1], 2, 3", "open('x'), 1", "x, 1", "[1", None]
    assert read_exercise(reply(inputs=given)).inputs == tuple(GOOD["inputs"])


def test_sets_are_written_in_order() -> None:
    solution = "def f(x: set[str]) -> int:\n    return len(x)\n"
    given = ["{'b', 'a'}", "set()", "{'c'}", "{'d', 'c', 'b', 'a'}", "{'e'}"]
    exercise = read_exercise(reply(name="f", solution=solution, inputs=given))
    assert exercise.inputs[:4] == ('{"a", "b"}', "set()", '{"c"}', '{"a", "b", "c", "d"}')


REFUSED = {
    "no name": ({"name": "1f"}, "no name"),
    "another name": ({"name": "sub"}, "does not define the function"),
    "no statement": ({"statement": "Add."}, "no statement"),
    "a statement that is no text": ({"statement": ["Add."]}, "no statement"),
    "no Python": ({"solution": "def add(xs, k)\n    return xs"}, "no Python"),
    "a null byte": ({"solution": SOLUTION + "\0"}, "no Python"),
    "a solution that is no text": ({"solution": None}, "no solution"),
    "a long solution": ({"solution": SOLUTION + "#" * 9000}, "very long"),
    "few inputs": ({"inputs": ["[], 1"]}, "few inputs"),
    "no list of inputs": ({"inputs": "[], 1"}, "no list of inputs"),
    "any arguments": ({"solution": "def add(*xs):\n    return xs\n"}, "odd parameters"),
    "files": ({"solution": "def add(xs, k):\n    return open(xs)\n"}, "uses open"),
    "a clock": ({"solution": f"import time\n{SOLUTION}"}, "uses time"),
    "chance": ({"solution": f"from random import choice\n{SOLUTION}"}, "uses random"),
    "a shell": ({"solution": f"import os.path\n{SOLUTION}"}, "uses os.path"),
    "printing": ({"solution": "def add(xs, k):\n    print(xs)\n"}, "uses print"),
    "a global": ({"solution": "def add(xs, k):\n    global y\n    y = 1\n"}, "uses `global`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_exercise_is_refused_in_few_words(name: str) -> None:
    changed, said = REFUSED[name]
    with pytest.raises(UnreadableError, match=said):
        read_exercise(reply(**changed))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"solution": SOLUTION}),
        json.dumps({"solution": f"```python\n{SOLUTION}```"}),
        f"```python\n{SOLUTION}```",
        json.dumps({"solution": "\n" + "".join(f"    {line}\n" for line in SOLUTION.split("\n"))}),
    ],
)
def test_solutions_are_read_with_and_without_wrapping(text: str) -> None:
    assert read_solution(text, "add").strip() == SOLUTION.strip()


def test_a_second_solution_has_to_be_one() -> None:
    with pytest.raises(UnreadableError, match="not JSON"):
        read_solution("I would use a comprehension.", "add")


ROUTES = [
    "import typing\ns = typing.sys\n",
    "import typing as t\ns = t.sys\n",
    "from typing import sys\n",
    "from typing import sys as s\n",
    "import typing\nt = typing\ns = t.sys\n",
    "import collections.abc\ns = collections.abc.sys\n",
    "import statistics\nr = statistics.random\n",
    "from statistics import random\n",
    "import typing\ns = getattr(typing, 'sys')\n",
    "import typing\ns = getattr(typing, 's' + 'ys')\n",
    "s = (lambda: 0).__globals__\n",
    "s = object.__subclasses__()\n",
    "s = __builtins__\n",
    "from math import *\n",
    "from . import other\n",
    "import antigravity\n",
    "import _io\n",
]


@pytest.mark.parametrize("route", ROUTES)
def test_other_modules_are_not_reached_through_those_that_are_allowed(route: str) -> None:
    with pytest.raises(UnreadableError, match="the solution uses"):
        read_exercise(reply(solution=route + SOLUTION))


HARMLESS = [
    "import math\nfrom collections import Counter, abc, defaultdict\nx = math.pi\n",
    "from __future__ import annotations\nimport collections.abc as c\nx: c.Sequence = ()\n",
    "import re\nfrom functools import lru_cache\nx = re.compile('a').match('a').group()\n",
    "from dataclasses import dataclass\n\n@dataclass\nclass P:\n    x: int = 0\n\nP().x\n",
    "import itertools\nx = getattr(itertools, 'chain').from_iterable\n",
]


@pytest.mark.parametrize("lines", HARMLESS)
def test_usual_modules_are_no_reason_to_refuse(lines: str) -> None:
    assert read_exercise(reply(solution=lines + SOLUTION)).solution.endswith(SOLUTION)
