"""Pairs of numbers up to a limit whose greatest common divisor passes a test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.pieces import drawn_telling, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int
from megatron_codemix.corpus.synthesis.writing.statement import Given

LARGEST = 20
ONE = Variable("i", Int(1, LARGEST - 1), "int", (1, LARGEST))
OTHER = Variable("j", Int(2, LARGEST), "int", (1, LARGEST))

_GCDS = (
    '''def gcd(one: int, other: int) -> int:
    """Greatest common divisor, by Euclid's algorithm."""
    while other > 0:
        one, other = other, one % other
    return one''',
    '''def gcd(one: int, other: int) -> int:
    """Greatest common divisor, by going down from the smaller number."""
    divisor = min(one, other)
    while one % divisor != 0 or other % divisor != 0:
        divisor -= 1
    return divisor''',
    '''def gcd(one: int, other: int) -> int:
    """Greatest common divisor, by recursion."""
    return one if other == 0 else gcd(other, one % other)''',
)


@dataclass(frozen=True)
class Pairs:
    is_strict: bool
    """Whether the second number must be greater than the first, not only as great."""
    common: int
    """What the greatest common divisor must be; 0: more than 1."""
    test: Node | None
    """Of both numbers, besides."""

    def subject(self) -> str:
        return "coprime_pairs" if self.common == 1 else "pairs"

    def title(self) -> str:
        return "What pairs of numbers with a certain greatest common divisor come to."

    def spec(self) -> Any:
        return ["pairs", self.is_strict, self.common, *specs_of([self.test])]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("limit", Int(1, LARGEST)),)

    def given(self) -> list[Given]:
        return [Given("limit", "a positive integer")]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        order = "first < second" if self.is_strict else "first <= second"
        said = [
            rng.choice(
                [
                    f"consider pairs of integers `(first, second)` with `1 <= {order} <= limit`",
                    f"a pair consists of two integers `first` and `second` where "
                    f"`1 <= {order} <= limit`",
                ]
            ),
            {
                0: "a pair counts only if its numbers have a common divisor greater than 1",
                1: "a pair counts only if its numbers have no common divisor other than 1",
            }.get(
                self.common,
                f"a pair counts only if the greatest common divisor of its numbers is "
                f"{self.common}",
            ),
        ]
        if self.test is not None:
            clause = self.test.condition(rng, self.subjects()).clause()
            said.append(
                rng.choice(
                    [
                        f"besides, it is required that {clause}",
                        f"the following must hold as well: {clause}",
                    ]
                )
            )
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        order = "ordered by `first` and, for equal `first`, by `second`, both ascending"
        return RowWords("pair", "pairs", order, "that count", "that counts")

    def subjects(self) -> dict[str, Subject]:
        return {"i": Subject("`first`"), "j": Subject("`second`")}

    def bounds(self) -> dict[str, Range]:
        return {"i": (1, LARGEST), "j": (1, LARGEST)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.test]

    def rows(self, limit: int) -> list[Row]:
        found = []
        for i in range(1, limit + 1):
            for j in range(i + self.is_strict, limit + 1):
                common = max(d for d in range(1, i + 1) if i % d == 0 and j % d == 0)
                is_right = common == self.common or (self.common == 0 and common > 1)
                if is_right and (self.test is None or self.test.evaluate({"i": i, "j": j})):
                    found.append({"i": i, "j": j})
        return found

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield from ((one,) for one in (1, 2, 3))
        order = list(range(4, LARGEST + 1))
        rng.shuffle(order)
        yield from ((one,) for one in order)

    def styles(self) -> tuple[str, ...]:
        return ("comprehension", "loop", "recursive")

    def write(self, style: str, body: Body) -> Rows:
        block, number = body.block, self.styles().index(style)
        block.names |= {"first", "second"}
        body.parts.append(_GCDS[number])
        naming = body.naming.renamed({"i": "first", "j": "second"})
        sign = "> 1" if self.common == 0 else f"== {self.common}"
        test = f"gcd(first, second) {sign}"
        if self.test is not None:
            test += f" and {self.test.python(naming):and}"
        start = "first + 1" if self.is_strict else "first"
        loops = [
            "for first in range(1, limit + 1)",
            f"for second in range({start}, limit + 1)",
        ]
        if style == "comprehension":
            block.add(f"pairs = [(first, second) {' '.join(loops)} if {test}]")
        elif style == "loop":
            block.add("pairs = []")
            with (
                block.inside(f"{loops[0]}:"),
                block.inside(f"{loops[1]}:"),
                block.inside(f"if {test}:"),
            ):
                block.add("pairs.append((first, second))")
        else:
            block.add("pairs = []")
            last = "second" if self.is_strict else "second + 1"
            with (
                block.inside("for second in range(1, limit + 1):"),
                block.inside(f"for first in range(1, {last}):"),
                block.inside(f"if {test}:"),
            ):
                block.add("pairs.append((first, second))")
            block.add("pairs.sort()")
        first = "first" if "i" in body.used or not body.used else "_"
        second = "second" if "j" in body.used else "_"
        return Rows(f"{first}, {second} in pairs", {"i": "first", "j": "second"})


def draw_pairs(rng: Random) -> tuple[Producer, str]:
    test = None
    rows = [{"i": i, "j": j} for i in range(1, LARGEST) for j in range(i, LARGEST + 1)]
    if rng.random() < 0.75:
        test = drawn_telling(lambda: _drawn(rng), rows)
    return Pairs(rng.random() < 0.6, rng.choice([1, 1, 1, 0, 0, 2, 3]), test), ""


def _drawn(rng: Random) -> Node:
    return draw_test(rng, [ONE, OTHER], 1)
