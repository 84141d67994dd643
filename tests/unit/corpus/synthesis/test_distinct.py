"""When statements and programs count as nearly the same, and how hard a program is said to be."""

import pytest

from megatron_codemix.corpus.synthesis.difficulty import difficulty, measured
from megatron_codemix.corpus.synthesis.distinct import normalised_statement, skeleton

BASE = "Write a function `f` that returns the sum of all numbers above 10."


@pytest.mark.parametrize(
    "other",
    [
        "Write a function `total_of` that returns the sum of all numbers above 2500.",
        "write a function, `f`; that RETURNS the sum of all numbers above -3!",
        'Write a function "g" that returns the sum of all three numbers above `x + 1`.',
    ],
)
def test_names_numbers_case_and_punctuation_make_no_difference(other: str) -> None:
    assert normalised_statement(other) == normalised_statement(BASE)


def test_another_word_makes_a_difference() -> None:
    assert normalised_statement(BASE.replace("above", "below")) != normalised_statement(BASE)


PROGRAM = "def f(xs: list[int]) -> int:\n    return sum(x * 2 for x in xs if x > 3)\n"


@pytest.mark.parametrize(
    "other",
    [
        "def g(values: list[int]) -> int:\n    return sum(v * 7 for v in values if v > 0)\n",
        'def f(xs):\n    """Doc."""\n    return sum(x * 2 for x in xs if x > 3)\n',
    ],
)
def test_programs_with_other_names_and_constants_are_nearly_the_same(other: str) -> None:
    assert skeleton(other) == skeleton(PROGRAM)


@pytest.mark.parametrize(
    ("old", "new"), [("sum", "max"), ("*", "+"), (" > ", " >= "), ("2", "'a'")]
)
def test_another_function_operator_or_kind_of_constant_is_another_program(
    old: str, new: str
) -> None:
    assert skeleton(PROGRAM.replace(old, new, 1)) != skeleton(PROGRAM)


def test_difficulty_grows_with_what_a_program_does() -> None:
    plain = "def f(xs: list[int]) -> int:\n    return len(xs)\n"
    nested = (
        "def f(xs: list[int]) -> int:\n    best = 0\n    for x in xs:\n        for y in xs:\n"
        "            if x + y > best:\n                best = x + y\n    return best\n"
    )
    values = [difficulty(source) for source in (plain, PROGRAM, nested)]
    assert values == sorted(values)
    assert 0 < values[0] < values[1] < values[2] < 1
    assert measured(nested).depth == 4
    assert measured(nested).branches == 3
