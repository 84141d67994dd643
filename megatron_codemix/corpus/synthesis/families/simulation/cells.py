"""A row of cells, each of which gets its next value from itself and its two neighbours."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf
from megatron_codemix.corpus.synthesis.writing.statement import Given

_MOST_ROUNDS = 5
_MOST_CELLS = 9


@dataclass(frozen=True)
class Cells:
    is_ring: bool
    """Whether the two ends are neighbours; else beyond each end lies 0."""
    test: Node
    """Of the cell `v` and the sum `n` of its neighbours: which of the rules holds."""
    first: Node
    second: Node
    modulus: int

    def subject(self) -> str:
        return "cells"

    def title(self) -> str:
        return "What a row of cells looks like after some rounds."

    def spec(self) -> Any:
        return ["cells", self.is_ring, *specs_of(self.nodes()), self.modulus]

    def parameters(self) -> tuple[Parameter, ...]:
        return Parameter("cells", ListOf(Int())), Parameter("rounds", Int(0, _MOST_ROUNDS))

    def given(self) -> list[Given]:
        return [
            Given("cells", f"a list of integers from 0 to {self.modulus - 1}"),
            Given("rounds", "a number of rounds (0 or more)"),
        ]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        subjects = {"v": Subject("its value"), "n": Subject("the sum of its two neighbours")}
        clause = self.test.condition(rng, subjects).clause()
        first, second = (node.phrase(rng, subjects) for node in (self.first, self.second))
        border = (
            "the list is a ring: the first and the last cell are neighbours of each other (a "
            "single cell is both its own neighbours, and of two cells each is twice the neighbour "
            "of the other)"
            if self.is_ring
            else "what would lie beyond either end of the list counts as 0"
        )
        said = [
            "the neighbours of a cell are the ones directly to its left and right",
            border,
            rng.choice(
                [
                    f"in each round every cell gets a new value: if {clause}, it is {first}, "
                    f"otherwise {second}",
                    f"a round gives each cell a new value, which is {first} if {clause}, and "
                    f"{second} if not",
                ]
            ),
            f"of a new value only the remainder modulo {self.modulus} (never negative) is kept",
            "all cells change at the same time, according to the values from before the round",
        ]
        if "i" in used:
            said.append("the index of a cell is its place in the list, starting at 0")
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        where = "after the last round"
        return RowWords("cell", "cells", "from left to right", where, where)

    def subjects(self) -> dict[str, Subject]:
        return {"v": Subject("the value of the cell"), "i": Subject("its index")}

    def bounds(self) -> dict[str, Range]:
        return {"v": (0, self.modulus - 1), "i": (0, _MOST_CELLS - 1)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.test, self.first, self.second]

    def next_value(self, value: int, around: int) -> int:
        values = {"v": value, "n": around}
        node = self.first if self.test.evaluate(values) else self.second
        return int(node.evaluate(values)) % self.modulus

    def rows(self, cells: list[int], rounds: int) -> list[Row]:
        """Each cell by itself: its value after some rounds asks for those of its neighbours one
        round before."""

        @functools.cache
        def value(place: int, left: int) -> int:
            if self.is_ring:
                place %= len(cells)
            elif not 0 <= place < len(cells):
                return 0
            if left == 0:
                return cells[place]
            around = value(place - 1, left - 1) + value(place + 1, left - 1)
            return self.next_value(value(place, left - 1), around)

        return [{"v": value(i, rounds), "i": i} for i in range(len(cells))]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        high = self.modulus - 1
        yield [], 2
        yield [1], 1
        yield [high, 0], 2
        yield [0, 1, high], 0
        while True:
            many = rng.randint(3, _MOST_CELLS)
            cells = [rng.choice([rng.randint(0, high), 0, 1]) for _ in range(many)]
            yield cells, rng.randint(1, _MOST_ROUNDS)

    def styles(self) -> tuple[str, ...]:
        return ("loop", "function", "padded")

    def _rule(self, naming: Naming, value: str, around: str) -> tuple[str, str, str]:
        own = naming.renamed({"v": value, "n": around})
        first, second = (
            f"{node.python(own):product} % {self.modulus}" for node in (self.first, self.second)
        )
        return f"{self.test.python(own)}", first, second

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"value", "index", "around", "row"}
        if style == "loop":
            self._loop(body)
        else:
            self._functions(style, body)
        if "i" in body.used:
            return Rows("index, value in enumerate(row)", {"v": "value", "i": "index"})
        return Rows("value in row", {"v": "value"})

    def _loop(self, body: Body) -> None:
        test, first, second = self._rule(body.naming, "row[place]", "around")
        around = (
            "around = row[place - 1] + row[(place + 1) % len(row)]"
            if self.is_ring
            else """around = 0
                    if place > 0:
                        around += row[place - 1]
                    if place + 1 < len(row):
                        around += row[place + 1]"""
        )
        add_lines(
            body.block,
            f"""
            row = list(cells)
            for _ in range(rounds):
                following = []
                for place in range(len(row)):
                    {around}
                    if {test}:
                        following.append({first})
                    else:
                        following.append({second})
                row = following
            """,
        )

    def _functions(self, style: str, body: Body) -> None:
        test, first, second = self._rule(body.naming, "value", "around")
        body.parts.append(
            "def next_value(value: int, around: int) -> int:\n"
            f"    if {test}:\n        return {first}\n    return {second}"
        )
        if style == "padded":
            ends = "row[-1:] + row + row[:1]" if self.is_ring else "[0] + row + [0]"
            add_lines(
                body.block,
                f"""
                row = cells[:]
                for _ in range(rounds):
                    wide = {ends}
                    row = [
                        next_value(wide[i], wide[i - 1] + wide[i + 1])
                        for i in range(1, len(row) + 1)
                    ]
                """,
            )
            return
        shifted = (
            ("row[-1:] + row[:-1]", "row[1:] + row[:1]")
            if self.is_ring
            else ("[0] + row[:-1]", "row[1:] + [0]")
        )
        add_lines(
            body.block,
            f"""
            row = cells
            for _ in range(rounds):
                left = {shifted[0]}
                right = {shifted[1]}
                row = [next_value(value, a + b) for value, a, b in zip(row, left, right)]
            """,
        )


def draw_cells(rng: Random) -> tuple[Producer, str]:
    modulus = rng.choice([2, 4, 5, 8, 10, 16])
    high = modulus - 1
    value = Variable("v", Int(0, high), "int", (0, high))
    around = Variable("n", Int(0, 2 * high), "int", (0, 2 * high))
    if modulus < 4:
        raise NothingDrawn
    test = draw_test(rng, rng.choice([[around], [value, around], [value]]), 1)
    first = draw_integer(rng, rng.choice([[value, around], [around], [value]]), rng.choice([1, 2]))
    second = draw_integer(rng, rng.choice([[value, around], [around], [value]]),
                          rng.choice([0, 1, 1]))  # fmt: skip
    used = test.variables() | first.variables() | second.variables()
    if first.spec() == second.spec() or used != {"v", "n"}:
        raise NothingDrawn
    return Cells(rng.random() < 0.5, test, first, second, modulus), "v"
