"""What passes between a test and its candidate, as if both were in one process."""

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from megatron_codemix.sandbox.sandbox import Sandbox
from megatron_codemix.sandbox.values import decode, encode

Point = namedtuple("Point", "x y")

VALUES: list[Any] = [
    None, True, False, 0, -1, 10**5000, -(2**63), 0.1, -0.0, math.inf, -math.inf, 5e-324, 1 + 2j,
    "", "caf\u00e9 \x00 \ud800", b"\x00\xff", bytearray(b"x"), [], [[1], (2, [3])], (), (1,),
    {1, 2}, frozenset({"a"}), {(1, 2): {"a": [None]}}, {}, range(1, 10, 3), deque([1, 2]),
    Counter("hello"), OrderedDict([("b", 1), ("a", 2)]), Decimal("1.10"), Fraction(1, 3),
    date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 4), time(1, 2), timedelta(days=-1, seconds=3),
]  # fmt: skip


def refuse(*what: object) -> Any:
    raise TypeError(f"not a value: {what}")


def through(value: object) -> Any:
    return decode(json.loads(json.dumps(encode(value, refuse))), refuse)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_with_their_types(value: Any) -> None:
    back = through(value)
    assert back == value
    assert type(back) is type(value)
    if not isinstance(value, int):  # one has more digits than Python writes
        assert repr(back) == repr(value)


def test_nan_comes_back() -> None:
    assert math.isnan(through(math.nan))


def test_subclasses_come_back_as_what_they_hold() -> None:
    class Sly(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert (type(through(Sly(3))), through(Sly(3)) == 4) == (int, False)
    assert through(Point(1, 2)) == (1, 2)
    assert through(defaultdict(list, {1: [2]})) == {1: [2]}


@pytest.mark.parametrize("form", [["os", "x"], ["int"], [1], {"a": 1}, 3.5, ["list", 3]])
def test_what_no_encoder_writes_is_refused(form: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode(form, refuse)


@pytest.fixture(scope="module")
def sandbox(isolation: None) -> Iterator[Sandbox]:
    with Sandbox() as one:
        yield one


PASSING = {
    "errors have their types": (
        "def f(x): raise KeyError('no')",
        "try:\n    f(1)\nexcept KeyError as error:\n    assert error.args == ('no',)\n"
        "else:\n    raise AssertionError",
    ),
    "arguments are changed in place": (
        "def f(x, y): x.append(3); y.clear()",
        "x, y = [1], {1: 2}\nassert f(x, y) is None\nassert (x, y) == ([1, 3], {})",
    ),
    "objects of the candidate's own": (
        "class Node:\n    def __init__(self, value): self.value, self.next = value, None\n"
        "def f(node): return node.value + node.next.value",
        "node = Node(1)\nnode.next = Node(2)\nassert node.next.value == 2\nassert f(node) == 3",
    ),
    "generators": ("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2]"),
    "keywords": ("def f(*, x): return x", "assert f(x=[1]) == [1]"),
    "modules that the test does not import": ("def f(): return 3.0", "assert math.isclose(f(), 3)"),
    "a name of Python's": ("def sum(a, b): return a - b", "assert sum(5, 3) == 2"),
    "a state that it keeps": (
        "count = 0\ndef f():\n    global count\n    count += 1\n    return count",
        "assert [f(), f()] == [1, 2]",
    ),
    "what it prints is kept apart": (
        "print('{}')\ndef f(): print('[]'); return 1",
        "assert f() == 1",
    ),
}
"""Candidate and test; `f` is the name under test, or `sum`."""


@pytest.mark.parametrize("name", PASSING)
def test_calls_work_as_in_one_process(sandbox: Sandbox, name: str) -> None:
    candidate, test = PASSING[name]
    entry_point = "sum" if "def sum" in candidate else "f"
    outcome = sandbox.check(candidate, test, entry_point)
    assert outcome.status == "passed", outcome


def test_built_in_names_are_the_tests_own_unless_they_are_under_test(sandbox: Sandbox) -> None:
    candidate = "def f(): return -1\ndef abs(x): return 1"
    assert sandbox.check(candidate, "assert abs(f()) == 1", "f").status == "passed"
    assert sandbox.check(candidate, "assert abs(f() - 1) == 1", "f").status == "failed"


def test_helpers_of_the_prompt_are_not_the_candidates(sandbox: Sandbox) -> None:
    prompt = "def double(x):\n    return 2 * x\n\ndef half(x):\n    'Half of x.'\n"
    test = "assert double(half(4)) == 4"
    honest = prompt + "    return x // 2\n"
    assert sandbox.check(honest, test, "half", prompt=prompt).status == "passed"
    sly = "def double(x): return 4\ndef half(x): return 0"
    assert sandbox.check(sly, test, "half", prompt=prompt).status == "failed"


def test_a_failure_says_where_it_failed(sandbox: Sandbox) -> None:
    outcome = sandbox.check("def f(): return 1", "\nassert f() == 2, 'two is wanted'", "f")
    assert b"two is wanted" in outcome.stderr
    assert outcome.exit_code == 1


def test_a_test_that_ends_itself_has_not_passed(sandbox: Sandbox) -> None:
    outcome = sandbox.check("def f(): return 1", "raise SystemExit(0)", "f")
    assert outcome.status == "failed"
    assert b"the test ended itself" in outcome.stderr
