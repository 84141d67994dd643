"""Numbers of a range with an arithmetic function of each."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.pieces import drawn_telling, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int
from megatron_codemix.corpus.synthesis.writing.statement import Given

LARGEST = 60


@dataclass(frozen=True)
class Function:
    name: str
    words: str
    """A noun phrase behind "the": "number of divisors"."""
    meaning: str
    """A sentence that determines it, for positive integers."""
    high: int
    evaluate: Callable[[int], int]
    sources: tuple[str, ...]
    """Bodies of `def NAME(number: int) -> int`, by different ways."""


def _gcd(one: int, other: int) -> int:
    return max(d for d in range(1, one + other + 1) if one % d == 0 and other % d == 0)


def _steps(number: int) -> int:
    return 0 if number == 1 else 1 + _steps(3 * number + 1 if number % 2 else number // 2)


FUNCTIONS: tuple[Function, ...] = (
    Function(
        "num_divisors", "divisor count",
        "the divisor count of a number says how many positive integers divide it, 1 and itself "
        "included",
        15, lambda n: sum(n % d == 0 for d in range(1, n + 1)),
        (
            "return sum(1 for d in range(1, number + 1) if number % d == 0)",
            "count = 0\nd = 1\nwhile d * d <= number:\n    if number % d == 0:\n"
            "        count += 1 if d * d == number else 2\n    d += 1\nreturn count",
        ),
    ),
    Function(
        "aliquot_sum", "aliquot sum",
        "the aliquot sum of a number is the sum of its positive divisors other than itself (0 for "
        "1)",
        150, lambda n: sum(d for d in range(1, n) if n % d == 0),
        (
            "return sum(d for d in range(1, number) if number % d == 0)",
            "total = 0\nfor d in range(1, number // 2 + 1):\n    if number % d == 0:\n"
            "        total += d\nreturn total",
        ),
    ),
    Function(
        "totient", "totient",
        "the totient of a number is how many of the integers from 1 up to it have no divisor above "
        "1 in common with it",
        LARGEST, lambda n: sum(_gcd(n, k) == 1 for k in range(1, n + 1)),
        (
            "result = number\nrest = number\nfactor = 2\nwhile rest > 1:\n"
            "    if rest % factor == 0:\n        result -= result // factor\n"
            "        while rest % factor == 0:\n            rest //= factor\n"
            "    factor += 1\nreturn result",
            "count = 0\nfor one in range(1, number + 1):\n    a, b = number, one\n"
            "    while b > 0:\n        a, b = b, a % b\n    if a == 1:\n        count += 1\n"
            "return count",
        ),
    ),
    Function(
        "smallest_factor", "least factor",
        "the least factor of a number is the smallest integer above 1 that divides it; for 1 we "
        "take 1",
        LARGEST, lambda n: next((d for d in range(2, n + 1) if n % d == 0), 1),
        (
            "return min((d for d in range(2, number + 1) if number % d == 0), default=1)",
            "factor = 2\nwhile factor * factor <= number:\n    if number % factor == 0:\n"
            "        return factor\n    factor += 1\nreturn number",
        ),
    ),
    Function(
        "largest_prime", "greatest prime factor",
        "the greatest prime factor of a number is the largest prime that divides it; for 1 we "
        "take 1",
        LARGEST,
        lambda n: max([1, *(p for p in range(2, n + 1)
                            if n % p == 0 and all(p % d for d in range(2, p)))]),
        (
            "largest = 1\nrest = number\nfactor = 2\nwhile rest > 1:\n"
            "    while rest % factor == 0:\n        largest = factor\n        rest //= factor\n"
            "    factor += 1\nreturn largest",
            "factor = 2\nwhile factor < number:\n    if number % factor == 0:\n"
            "        number //= factor\n    else:\n        factor += 1\nreturn number",
        ),
    ),
    Function(
        "binary_ones", "binary weight",
        "the binary weight of a number is how often the digit 1 occurs when it is written in base "
        "2",
        6, lambda n: f"{n:b}".count("1"),
        (
            "ones = 0\nwhile number > 0:\n    ones += number % 2\n    number //= 2\nreturn ones",
            "return 0 if number == 0 else number % 2 + binary_ones(number // 2)",
        ),
    ),
    Function(
        "collatz_steps", "path length",
        "the path length of a number is how many steps it takes to reach 1, where a step halves an "
        "even number and replaces an odd number n by 3n + 1 (1 itself takes 0 steps)",
        130, _steps,
        (
            "steps = 0\nwhile number != 1:\n    if number % 2 == 0:\n        number //= 2\n"
            "    else:\n        number = 3 * number + 1\n    steps += 1\nreturn steps",
            "if number == 1:\n    return 0\nif number % 2 == 1:\n"
            "    return 1 + collatz_steps(3 * number + 1)\n"
            "return 1 + collatz_steps(number // 2)",
        ),
    ),
    Function(
        "square_digits", "digit square sum",
        "the digit square sum of a number is the sum of the squares of its decimal digits",
        162, lambda n: sum(int(one) ** 2 for one in str(n)),
        (
            "return sum(int(digit) ** 2 for digit in str(number))",
            "total = 0\nwhile number > 0:\n    number, digit = divmod(number, 10)\n"
            "    total += digit * digit\nreturn total",
        ),
    ),
    Function(
        "mirrored", "mirror image",
        "the mirror image of a number is what its decimal digits give when they are read from "
        "right to left (leading zeros vanish)",
        99, lambda n: int(str(n)[::-1]),
        (
            "return int(str(number)[::-1])",
            "result = 0\nwhile number > 0:\n    result = 10 * result + number % 10\n"
            "    number //= 10\nreturn result",
        ),
    ),
    Function(
        "num_prime_factors", "prime weight",
        "the prime weight of a number is how many primes its prime factorisation has, repeated "
        "ones counted as often as they occur (0 for 1)",
        8, lambda n: sum(n % p**k == 0 for p in range(2, n + 1) if all(p % d for d in range(2, p))
                         for k in range(1, 7)),
        (
            "count = 0\nfactor = 2\nwhile number > 1:\n    if number % factor == 0:\n"
            "        number //= factor\n        count += 1\n    else:\n        factor += 1\n"
            "return count",
            "for factor in range(2, number + 1):\n    if number % factor == 0:\n"
            "        return 1 + num_prime_factors(number // factor)\nreturn 0",
        ),
    ),
    Function(
        "integer_root", "integer root",
        "the integer root of a number is the largest integer whose square does not exceed it",
        8, lambda n: max(r for r in range(n + 1) if r * r <= n),
        (
            "root = 0\nwhile (root + 1) * (root + 1) <= number:\n    root += 1\nreturn root",
            "low, high = 0, number + 1\nwhile high - low > 1:\n    middle = (low + high) // 2\n"
            "    if middle * middle <= number:\n        low = middle\n    else:\n"
            "        high = middle\nreturn low",
        ),
    ),
)  # fmt: skip


@functools.cache
def _value(function: Function, number: int) -> int:
    """By the slow definition, once for each number."""
    return function.evaluate(number)


@dataclass(frozen=True)
class Functions:
    function: Function
    test: Node | None
    """Of the number `x`: others of the range are left out."""

    def subject(self) -> str:
        return f"{self.function.words.replace(' ', '_')}s"

    def title(self) -> str:
        return f"What the {self.function.words}s of the numbers in a range come to."

    def spec(self) -> Any:
        return ["functions", self.function.name, *specs_of([self.test])]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("low", Int(1, LARGEST)), Parameter("high", Int(1, LARGEST)))

    def given(self) -> list[Given]:
        return [Given("low", "a positive integer"), Given("high", "an integer")]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        said = [
            self.function.meaning,
            rng.choice(
                [
                    "we go through all integers from `low` to `high`, both included; if `high` is "
                    "less than `low` there are none",
                    "the range consists of the integers that are at least `low` and at most `high` "
                    "(none if `low` exceeds `high`)",
                ]
            ),
        ]
        if self.test is not None:
            clause = self.test.condition(rng, {"x": Subject("it", True)}).clause()
            said.append(
                rng.choice(
                    [
                        f"a number of the range is admitted only if {clause}",
                        f"skip a number unless {clause}; the rest of the range is admitted",
                    ]
                )
            )
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        if self.test is not None:
            return RowWords("number", "numbers", "in ascending order", "that are admitted",
                            "that is admitted")  # fmt: skip
        return RowWords("number", "numbers", "in ascending order", "of the range", "of the range")

    def subjects(self) -> dict[str, Subject]:
        return {"x": Subject("the number"), "v": Subject(f"its {self.function.words}")}

    def bounds(self) -> dict[str, Range]:
        return {"v": (0, self.function.high), "x": (1, LARGEST)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.test]

    def rows(self, low: int, high: int) -> list[Row]:
        rows = [{"x": x, "v": _value(self.function, x)} for x in range(low, high + 1)]
        return [row for row in rows if self.test is None or self.test.evaluate(row)]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield 5, 4
        yield 1, 1
        yield 1, 12
        while True:
            low = rng.randint(1, 45)
            yield low, min(LARGEST, low + rng.randint(0, 15))

    def styles(self) -> tuple[str, ...]:
        return ("function", "loop", "table")

    def write(self, style: str, body: Body) -> Rows:
        block, f = body.block, self.function
        sources = f.sources
        source = sources[0] if style == "function" else sources[-1]
        lines = "\n".join(f"    {line}" for line in source.split("\n"))
        body.parts.append(f"def {f.name}(number: int) -> int:\n{lines}")
        block.names |= {"number", "value"}
        names = {"x": "number", "v": "value"}
        test = self.test.python(body.naming.renamed(names)) if self.test else None
        numbers = "range(low, high + 1)"
        if style == "function":
            if test is not None:
                block.add(f"admitted = [number for number in {numbers} if {test:or}]")
                numbers = "admitted"
            return Rows(f"number in {numbers}", {"x": "number", "v": f"{f.name}(number)"})
        if style == "table":
            condition = f" if {test:or}" if test else ""
            block.add(f"numbers = [number for number in {numbers}{condition}]")
            if not condition:
                block.lines.pop()
                block.add(f"numbers = list({numbers})")
            block.add(f"values = [{f.name}(number) for number in numbers]")
            if "x" not in body.used:
                return Rows("value in values", names)
            return Rows("number, value in zip(numbers, values)", names)
        block.add("rows = []")
        entry = f"(number, {f.name}(number))" if "x" in body.used else f"{f.name}(number)"
        with block.inside(f"for number in {numbers}:"):
            if test is not None:
                with block.inside(f"if {negated(test)}:"):
                    block.add("continue")
            block.add(f"rows.append({entry})")
        return Rows("number, value in rows" if "x" in body.used else "value in rows", names)


def draw_functions(rng: Random) -> tuple[Producer, str]:
    test = None
    number = Variable("x", Int(1, LARGEST), "int", (1, LARGEST))
    if rng.random() < 0.6:
        rows = [{"x": x} for x in range(1, LARGEST + 1)]
        test = drawn_telling(lambda: draw_test(rng, [number], rng.choice([1, 1, 2])), rows)
    return Functions(rng.choice(FUNCTIONS), test), "v"
