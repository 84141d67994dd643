"""The value of a list: of one element by a rule, of a longer list by the values of its parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.recursion.common import (
    MODULI,
    notes_of,
    problem,
    reduced,
    solution,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Parts = Literal["halves", "ends"]
_LOW, _HIGH = -30, 60


@dataclass(frozen=True)
class Halves:
    """`halves`: the value of the first half (the shorter one) and of the second; `ends`: the first
    element and the value of the rest."""

    name: str
    items: str
    parts: Parts
    empty: int
    single: Node
    """Of `x`, the element."""
    test: Node | None
    """Of `l` and `r`, the two values; decides between `joined` and `other`."""
    joined: Node
    other: Node | None
    modulus: int

    def _combined(self, left: int, right: int) -> int:
        row = {"l": left, "r": right}
        rule = self.joined
        if self.test is not None and not self.test.evaluate(row):
            assert self.other is not None
            rule = self.other
        return int(rule.evaluate(row)) % self.modulus

    def oracle(self, values: list[int]) -> Value:
        """With a stack of spans and their values, none of them recursive."""
        if not values:
            return self.empty
        done: dict[tuple[int, int], int] = {}
        for length in range(1, len(values) + 1):
            for start in range(len(values) - length + 1):
                end = start + length
                if length == 1:
                    single = int(self.single.evaluate({"x": values[start]}))
                    done[start, end] = single % self.modulus
                    continue
                middle = start + length // 2 if self.parts == "halves" else start + 1
                done[start, end] = self._combined(done[start, middle], done[middle, end])
        return done[0, len(values)]

    def statement(self, rng: Random) -> str:
        if self.parts == "halves":
            names = {"l": "the value of the first half", "r": "the value of the second half"}
            split = (
                "a longer list is cut in the middle into two halves, the first of which is the "
                "shorter one if the length is odd; each half has a value by these same rules"
            )
        else:
            names = {"l": "the value of the head", "r": "the value of the tail"}
            split = (
                "a longer list has a head, the list of its first element alone, and a tail, the "
                "list of all others; both have values by these same rules"
            )
        subjects = {name: Subject(words) for name, words in names.items()}
        subjects["x"] = Subject("its element")
        joined = self.joined.phrase(rng, subjects)
        if self.test is not None and self.other is not None:
            condition = self.test.condition(rng, subjects).clause()
            other = self.other.phrase(rng, subjects)
            whole = f"if {condition}, the value of the longer list is {joined}, otherwise {other}"
        else:
            whole = f"the value of the longer list is {joined}"
        model = [
            f"every list of integers has a value; the empty list has the value {self.empty}",
            f"the value of a list with one element is {self.single.phrase(rng, subjects)}",
            split,
            whole,
            f"values of lists that are not empty are reduced modulo {self.modulus} (from 0 to "
            f"{self.modulus - 1}) as soon as they are worked out",
        ]
        return phrased(
            rng,
            Task(
                name=self.name,
                given=[Given(self.items, "a list of integers")],
                model=model,
                result=f"the value of `{self.items}`",
                notes=notes_of(self.single, self.test, self.joined, self.other),
            ),
        )

    def _signature(self) -> str:
        return f"def {self.name}({self.items}: list[int]) -> int:"

    def _join(self, block: Block, naming: Naming, left: str, right: str, target: str) -> None:
        """Statements that assign to `target` (or return) what the parts come to."""
        names = naming.renamed({"l": left, "r": right})
        joined = reduced(self.joined, names, self.modulus)
        if self.test is None or self.other is None:
            block.add(f"{target}{joined}")
            return
        other = reduced(self.other, names, self.modulus)
        with block.inside(f"if {self.test.python(names)}:"):
            block.add(f"{target}{joined}")
        if target.startswith("return"):
            block.add(f"{target}{other}")
        else:
            with block.inside("else:"):
                block.add(f"{target}{other}")

    def _recursive(self) -> Solution:
        naming = Naming({"x": f"{self.items}[0]"}, 0)
        block = Block({self.items, self.name})
        with block.inside(f"if not {self.items}:"):
            block.add(f"return {self.empty}")
        with block.inside(f"if len({self.items}) == 1:"):
            block.add(f"return {reduced(self.single, naming, self.modulus)}")
        if self.parts == "halves":
            block.add(f"middle = len({self.items}) // 2")
            block.add(f"left = {self.name}({self.items}[:middle])")
            block.add(f"right = {self.name}({self.items}[middle:])")
        else:
            block.add(f"left = {self.name}({self.items}[:1])")
            block.add(f"right = {self.name}({self.items}[1:])")
        self._join(block, naming, "left", "right", "return ")
        return solution("recursive", self._signature(), block, naming)

    def _other_way(self) -> Solution:
        """Ends: from the last element back. Halves: a function of positions."""
        naming = Naming({"x": f"{self.items}[start]"}, 1, uses_helpers=True)
        block = Block({self.items, self.name, "value_between", "start", "end", "middle"})
        if self.parts == "halves":
            with block.inside("def value_between(start: int, end: int) -> int:"):
                with block.inside("if end - start == 1:"):
                    block.add(f"return {reduced(self.single, naming, self.modulus)}")
                block.add("middle = (start + end) // 2")
                block.add("left, right = value_between(start, middle), value_between(middle, end)")
                self._join(block, naming, "left", "right", "return ")
            block.add("")
            block.add(
                f"return value_between(0, len({self.items})) if {self.items} else {self.empty}"
            )
            return solution("positions", self._signature(), block, naming)
        singles = Naming({"x": "item"}, 1, uses_helpers=True)
        with block.inside(f"if not {self.items}:"):
            block.add(f"return {self.empty}")
        single = reduced(self.single, singles, self.modulus)
        block.add(f"heads = [{single} for item in {self.items}]")
        block.add("value = heads[-1]")
        with block.inside("for head in reversed(heads[:-1]):"):
            self._join(block, singles, "head", "value", "value = ")
        block.add("return value")
        singles.helpers.update(naming.helpers)
        return solution("from the end", self._signature(), block, singles)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        number = Int(_LOW, _HIGH)
        for length in (0, 1, 2, 3):
            yield ([number.draw(rng, 8) for _ in range(length)],)
        while True:
            yield ([number.draw(rng, 8) for _ in range(rng.randint(2, 9))],)

    def problem(self) -> Problem:
        parts = [self.single, self.test, self.joined, self.other]
        return problem(
            spec=["halves", self.parts, *(one and one.spec() for one in parts)],
            name=self.name,
            parameters=(Parameter(self.items, ListOf(Int(_LOW, _HIGH), 0, 9)),),
            returns=Int(),
            statement=self.statement,
            solutions=(self._recursive(), self._other_way()),
            oracle=self.oracle,
            inputs=self.inputs,
            summary=f"The value of `{self.items}`, worked out from the values of its parts.",
        )


def draw_halves(rng: Random) -> Problem:
    modulus = rng.choice(MODULI)
    item = Variable("x", Int(_LOW, _HIGH), "int", (_LOW, _HIGH))
    span = (0, modulus - 1)
    left, right = (Variable(name, Int(*span), "int", span) for name in "lr")
    single = draw_integer(rng, [item], rng.choice([1, 1, 2]))
    joined = draw_integer(rng, [left, right], rng.choice([1, 2, 2]))
    test = other = None
    if rng.random() < 0.65:
        test = draw_test(rng, [left, right] if rng.random() < 0.7 else [rng.choice([left, right])])
        other = draw_integer(rng, [left, right], 1)
        if other.spec() == joined.spec():
            raise NothingDrawn
    if "conditional" in single.rules() | joined.rules():
        raise NothingDrawn
    items = rng.choice(["values", "numbers", "items", "entries", "data"])
    word = rng.choice(["fold", "reduce", "score", "value_of", "combine", "weigh"])
    parts: Parts = "halves" if rng.random() < 0.55 else "ends"
    return Halves(
        f"{word}_{items}", items, parts, rng.randint(0, 9), single, test, joined, other, modulus
    ).problem()
