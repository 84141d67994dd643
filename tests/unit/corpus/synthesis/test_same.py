"""Equality type for type, in this process and in the sandbox's harness: one table for both."""

from collections.abc import Callable
from dataclasses import make_dataclass
from itertools import product
from typing import Any

import pytest

from megatron_codemix.corpus.synthesis.model_written.trial import agrees
from megatron_codemix.corpus.synthesis.values import RecordValue, same
from megatron_codemix.corpus.synthesis.verification.inside.harness import same as same_inside

Box = make_dataclass("Box", ["size"])
KINDS = {
    "list": ["[1, 2]", "[True, 2]", "[1.0, 2]", "(1, 2)", "[2, 1]"],
    "keys": ["{1: 'a'}", "{True: 'a'}", "{1.0: 'a'}", "{1: 'b'}", "{1: 'a', 2: 'a'}"],
    "values": ["{1: 2}", "{1: 2.0}", "{1: (2,)}", "{1: [2]}"],
    "members": ["{1, 2}", "{True, 2}", "{1.0, 2}", "{1, 2, 3}", "{1}"],
    "tuples as keys": ["{(1, 0): 3}", "{(True, 0): 3}", "{(1, False): 3}", "{(1, (0,)): 3}"],
    "tuples as members": ["{(1, (2,))}", "{(1, (2.0,))}", "{(True, (2,))}"],
    "within others": ["[{1: {2}}]", "[{1: {2.0}}]", "[{True: {2}}]"],
    "frozen": ["frozenset({1})", "frozenset({True})", "{frozenset({1})}", "{frozenset({True})}"],
    "plain": ["1", "True", "1.0", "'1'", "None"],
    "order": ["{1: 2, 3: 4}", "{3: 4, True: 2}"],
}
PAIRS = [pair for texts in KINDS.values() for pair in product(texts, texts)]


@pytest.mark.parametrize("compare", [same, same_inside], ids=["here", "in the sandbox"])
def test_each_equals_itself_alone(compare: Callable[[Any, Any], bool]) -> None:
    for one, other in PAIRS:
        assert compare(eval(one), eval(other)) == (one == other), (one, other)
    assert compare(eval("{1: 2, (3, 4): 5}"), eval("{(3, 4): 5, 1: 2}"))
    assert compare({2, 1, 9, 33}, {33, 9, 1, 2})


def test_what_a_model_wrote_is_compared_so() -> None:
    for one, other in PAIRS:
        if "frozenset" not in one + other:
            assert agrees(one, (True, other)) == (one == other), (one, other)


def test_fields_of_records() -> None:
    assert same(RecordValue("Box", (("size", 1),)), RecordValue("Box", (("size", 1),)))
    assert not same(RecordValue("Box", (("size", 1),)), RecordValue("Box", (("size", True),)))
    assert same_inside(Box([1]), Box([1]))
    assert not same_inside(Box([1]), Box([True]))
