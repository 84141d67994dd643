"""Oracles and summaries against answers by hand and against what Python itself computes."""

import math
from random import Random

import pytest

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import settled
from megatron_codemix.corpus.synthesis.families.intervals.gaps import free_windows
from megatron_codemix.corpus.synthesis.families.intervals.merged import merged_spans
from megatron_codemix.corpus.synthesis.families.number_theory.divisors import Divisors
from megatron_codemix.corpus.synthesis.families.number_theory.factors import PrimeFactors
from megatron_codemix.corpus.synthesis.families.number_theory.functions import FUNCTIONS
from megatron_codemix.corpus.synthesis.families.number_theory.iteration import Iteration
from megatron_codemix.corpus.synthesis.families.parsing.nesting import Nesting
from megatron_codemix.corpus.synthesis.families.parsing.operators import Operators
from megatron_codemix.corpus.synthesis.families.parsing.runs import Runs
from megatron_codemix.corpus.synthesis.families.pieces import Signature, tells_apart
from megatron_codemix.corpus.synthesis.families.summary import Summary
from megatron_codemix.corpus.synthesis.grammar.integer_tests import INTEGER_TESTS
from megatron_codemix.corpus.synthesis.grammar.integers import INTEGERS
from megatron_codemix.corpus.synthesis.grammar.node import Node, Variable, leaf
from megatron_codemix.corpus.synthesis.values import Int

NUMBER = leaf(Variable("x", Int(0, 99), "int", (0, 99)))
RULES = {rule.name: rule for rule in (*INTEGERS, *INTEGER_TESTS)}
EVEN = Node(RULES["even"], (NUMBER,))
ROWS = [{"x": x} for x in (4, 7, 2, 2, 9)]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("count", 3), ("sum", 8), ("list", [4, 2, 2]), ("largest", 4), ("smallest", 2),
        ("first", 4), ("last", 2), ("distinct", 2), ("balance", 8 - 16), ("spread", 2),
        ("alternating", 4 - 2 + 2), ("any", True), ("all", False), ("longest run", 2),
    ],
)  # fmt: skip
def test_summaries_by_hand(kind: str, expected: object) -> None:
    assert Summary(kind, EVEN, NUMBER, default=-1).apply(ROWS) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("count", 0), ("sum", 0), ("list", []), ("largest", -1), ("first", -1), ("last", -1),
     ("spread", 0), ("alternating", 0), ("any", False), ("all", True), ("longest run", 0)],
)  # fmt: skip
def test_summaries_of_nothing(kind: str, expected: object) -> None:
    assert Summary(kind, EVEN, NUMBER, default=-1).apply([]) == expected


def test_a_checksum_is_a_polynomial() -> None:
    summary = Summary("checksum", None, NUMBER, fold=(5, 31, 1009))
    polynomial = 5 * 31**5 + sum(row["x"] * 31 ** (4 - i) for i, row in enumerate(ROWS))
    assert summary.apply(ROWS) == polynomial % 1009


def test_a_part_that_changes_nothing_is_noticed() -> None:
    twice = Node(RULES["twice"], (NUMBER,))
    at_most = Node(RULES["at most"], (NUMBER,), {"c": 50})
    assert tells_apart(twice, ROWS)
    assert not tells_apart(at_most, ROWS)
    assert not tells_apart(EVEN, [{"x": 2}, {"x": 4}])


def test_intervals_are_joined_by_their_distance() -> None:
    spans = [(6, 8), (1, 3), (3, 5), (10, 11)]
    assert merged_spans(spans, -1) == [(1, 3), (3, 5), (6, 8), (10, 11)]
    assert merged_spans(spans, 0) == [(1, 5), (6, 8), (10, 11)]
    assert merged_spans(spans, 1) == [(1, 8), (10, 11)]
    assert merged_spans(spans, 2) == [(1, 11)]
    assert free_windows(spans, 13) == [(0, 1), (5, 6), (8, 10), (11, 13)]


def test_divisors_and_prime_factors_multiply_to_the_number() -> None:
    for number in range(1, 241):
        rows = Divisors(is_proper=False).rows(number)
        assert all(row["d"] * row["q"] == number for row in rows)
        factors = PrimeFactors(repeats=False).rows(number)
        assert math.prod(row["p"] ** row["k"] for row in factors) == number
        assert math.prod(row["k"] + 1 for row in factors) == len(rows)
        repeated = PrimeFactors(repeats=True).rows(number)
        assert math.prod(row["p"] for row in repeated) == number


def test_arithmetic_functions_have_the_values_in_the_encyclopedia_of_sequences() -> None:
    known = {
        "num_divisors": [1, 2, 2, 3, 2, 4, 2, 4, 3, 4],  # A000005
        "aliquot_sum": [0, 1, 1, 3, 1, 6, 1, 7, 4, 8],  # A001065
        "totient": [1, 1, 2, 2, 4, 2, 6, 4, 6, 4],  # A000010
        "smallest_factor": [1, 2, 3, 2, 5, 2, 7, 2, 3, 2],  # A020639
        "largest_prime": [1, 2, 3, 2, 5, 3, 7, 2, 3, 5],  # A006530
        "binary_ones": [1, 1, 2, 1, 2, 2, 3, 1, 2, 2],  # A000120
        "collatz_steps": [0, 1, 7, 2, 5, 8, 16, 3, 19, 6],  # A006577
        "square_digits": [1, 4, 9, 16, 25, 36, 49, 64, 81, 1],  # A003132
        "num_prime_factors": [0, 1, 1, 2, 1, 2, 1, 3, 2, 2],  # A001222
        "integer_root": [1, 1, 1, 2, 2, 2, 2, 2, 3, 3],  # A000196
    }
    for function in FUNCTIONS:
        if function.name in known:
            assert [function.evaluate(n) for n in range(1, 11)] == known[function.name]
    assert set(known) == {one.name for one in FUNCTIONS} - {"mirrored"}


def test_a_rule_is_followed_until_it_repeats_itself() -> None:
    step = Node(RULES["times"], (NUMBER,), {"c": 3})
    all_numbers = Iteration(None, step, None, 20, only_cycle=False).rows(5)
    assert [row["x"] for row in all_numbers] == [5, 15]
    halves = Node(RULES["quotient"], (NUMBER,), {"c": 2})
    assert [row["x"] for row in Iteration(None, halves, None, 20, False).rows(9)] == [9, 4, 2, 1, 0]
    assert [row["x"] for row in Iteration(None, halves, None, 20, True).rows(9)] == [0]


@pytest.mark.parametrize("has_brackets", [False, True])
def test_sums_and_products_are_what_python_makes_of_them(has_brackets: bool) -> None:
    left, right = (leaf(Variable(name, Int(0, 60), "int", (0, 9999))) for name in "ab")
    product, total = Node(RULES["product"], (left, right)), Node(RULES["sum"], (left, right))
    signature = Signature("evaluate", (), Int())
    problem = Operators(("*", "+"), (product, total), "tight", has_brackets, 9973, signature)
    texts = [text for (text,), _ in zip(problem.inputs(Random(4)), range(60), strict=False)]
    for text in texts:
        assert problem.oracle(text) == eval(text) % 9973, text


def test_letters_know_their_depth_and_runs_their_counts() -> None:
    nested = Nesting("(", ")", ignores_extra=True, per_bracket=False).rows("a(b(c)))d(e)")
    assert nested == [{"d": d, "a": a} for d, a in ((0, 1), (1, 2), (2, 3), (0, 4), (1, 5))]
    pairs = Nesting("(", ")", ignores_extra=False, per_bracket=True).rows("a(b(c))")
    assert pairs == [{"d": 2, "a": 1}, {"d": 1, "a": 4}]
    assert Runs(number_first=False, may_lack=True).rows("a3bz12") == [
        {"n": 3, "a": 1}, {"n": 1, "a": 2}, {"n": 12, "a": 26},
    ]  # fmt: skip


def test_totals_are_settled_by_the_aim() -> None:
    assert [settled(aim, [4, 1, 3]) for aim in ("least", "most", "count")] == [1, 4, 3]
    assert [settled(aim, []) for aim in ("least", "most", "count")] == [None, None, 0]
