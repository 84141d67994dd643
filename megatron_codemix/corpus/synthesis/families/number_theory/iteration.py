"""A rule is applied again and again, modulo something, until a number comes back."""

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
from megatron_codemix.corpus.synthesis.values import Int
from megatron_codemix.corpus.synthesis.writing.statement import Given


@dataclass(frozen=True)
class Iteration:
    test: Node | None
    """Which of the two rules; None: always the first."""
    first: Node
    second: Node | None
    modulus: int
    only_cycle: bool
    """Whether rows are only the numbers that come again and again."""

    def subject(self) -> str:
        return "cycle_numbers" if self.only_cycle else "visited_numbers"

    def title(self) -> str:
        return "Numbers that a rule visits before it repeats itself."

    def spec(self) -> Any:
        return ["iteration", *specs_of(self.nodes()), self.modulus, self.only_cycle]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("start", Int(0, self.modulus - 1)),)

    def given(self) -> list[Given]:
        return [Given("start", f"an integer from 0 to {self.modulus - 1}")]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        subjects = {"x": Subject("the current number")}
        first = self.first.phrase(rng, subjects)
        remainder = f"the remainder modulo {self.modulus} (never negative) is taken"
        if self.test is None or self.second is None:
            said = [f"the number that follows is {first}, of which {remainder}"]
        else:
            clause = self.test.condition(rng, subjects).clause()
            second = self.second.phrase(rng, subjects)
            said = [
                rng.choice(
                    [
                        f"if {clause}, the next number is {first}; otherwise it is {second}",
                        f"each number decides the next one: it is {first} if {clause}, and "
                        f"{second} otherwise",
                    ]
                ),
                f"of the result {remainder}, so that all numbers stay below {self.modulus}",
            ]
        said.insert(0, "a sequence of numbers begins with `start`")
        said.append(
            rng.choice(
                [
                    "sooner or later a number comes up that was there before; the sequence stops "
                    "just before it",
                    "the sequence ends as soon as the next number would be one that it already "
                    "contains",
                ]
            )
        )
        if self.only_cycle:
            said.append(
                "the cycle consists of the numbers of the sequence from the one that would have "
                "come up again to the last one"
            )
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        where = "of the cycle" if self.only_cycle else "of the sequence"
        return RowWords("number", "numbers", "in the order of the sequence", where, where)

    def subjects(self) -> dict[str, Subject]:
        return {"x": Subject("the number")}

    def bounds(self) -> dict[str, Range]:
        return {"x": (0, self.modulus - 1)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.test, self.first, self.second]

    def next_number(self, number: int) -> int:
        takes_first = self.test is None or self.test.evaluate({"x": number})
        node = self.first if takes_first or self.second is None else self.second
        return int(node.evaluate({"x": number})) % self.modulus

    def rows(self, start: int) -> list[Row]:
        """Floyd's tortoise and hare find the cycle's start and length (Knuth, TAOCP 2, 3.1, ex.
        6)."""
        step = self.next_number
        slow, fast = step(start), step(step(start))
        while slow != fast:
            slow, fast = step(slow), step(step(fast))
        tail, slow = 0, start
        while slow != fast:
            slow, fast, tail = step(slow), step(fast), tail + 1
        length, at = 1, step(slow)
        while at != slow:
            at, length = step(at), length + 1
        numbers = [start]
        for _ in range(tail + length - 1):
            numbers.append(step(numbers[-1]))
        return [{"x": one} for one in (numbers[tail:] if self.only_cycle else numbers)]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield from ((one,) for one in (0, 1, self.modulus - 1))
        order = list(range(2, self.modulus - 1))
        rng.shuffle(order)
        yield from ((one,) for one in order)

    def styles(self) -> tuple[str, ...]:
        return ("function", "loop", "dictionary")

    def _step(self, naming: Naming, name: str, indent: str) -> str:
        """Statements that put the next number in the place of the present one."""
        own = naming.renamed({"x": name})
        first = f"{name} = {self.first.python(own):product} % {self.modulus}"
        if self.test is None or self.second is None:
            return first
        second = f"{name} = {self.second.python(own):product} % {self.modulus}"
        lines = [f"if {self.test.python(own)}:", f"    {first}", "else:", f"    {second}"]
        return f"\n{indent}".join(lines)

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"number", "numbers", "visited", "position"}
        names = {"x": "number"}
        if style == "function":
            own = body.naming.renamed({"x": "number"})
            text = "def next_number(number: int) -> int:\n"
            if self.test is not None and self.second is not None:
                text += f"    if {self.test.python(own)}:\n"
                text += f"        return {self.first.python(own):product} % {self.modulus}\n"
                text += f"    return {self.second.python(own):product} % {self.modulus}"
            else:
                text += f"    return {self.first.python(own):product} % {self.modulus}"
            body.parts.append(text)
            add_lines(
                block,
                """
                visited = [start]
                while next_number(visited[-1]) not in visited:
                    visited.append(next_number(visited[-1]))
                """,
            )
            if not self.only_cycle:
                return Rows("number in visited", names)
            add_lines(
                block,
                """
                again = next_number(visited[-1])
                cycle = visited[:]
                while cycle[0] != again:
                    cycle = cycle[1:]
                """,
            )
            return Rows("number in cycle", names)
        if style == "loop":
            add_lines(
                block,
                f"""
                is_visited = [False] * {self.modulus}
                numbers = []
                current = start
                while not is_visited[current]:
                    is_visited[current] = True
                    numbers.append(current)
                    {self._step(body.naming, "current", " " * 20)}
                """,
            )
            if self.only_cycle:
                add_lines(
                    block,
                    """
                    first = 0
                    while numbers[first] != current:
                        first += 1
                    numbers = numbers[first:]
                    """,
                )
            return Rows("number in numbers", names)
        add_lines(
            block,
            f"""
            position = {{}}
            current = start
            while current not in position:
                position[current] = len(position)
                {self._step(body.naming, "current", " " * 16)}
            """,
        )
        if self.only_cycle:
            block.add("first = position[current]")
            block.add("cycle = [one for one, place in position.items() if place >= first]")
            return Rows("number in cycle", names)
        return Rows("number in position", names)


def draw_iteration(rng: Random) -> tuple[Producer, str]:
    for _ in range(40):
        producer = _some_iteration(rng)
        starts = range(0, producer.modulus, 3)
        if producer.first.range()[1] < producer.modulus:
            continue  # the remainder would mean nothing
        if sum(len(producer.rows(start)) for start in starts) >= 5 * len(starts):
            return producer, "x"
    raise NothingDrawn


def _some_iteration(rng: Random) -> Iteration:
    modulus = rng.choice([23, 29, 37, 41, 50, 53, 60, 64])
    number = Variable("x", Int(0, modulus - 1), "int", (0, modulus - 1))
    test = draw_test(rng, [number], rng.choice([1, 1, 2])) if rng.random() < 0.75 else None
    first = draw_integer(rng, [number], rng.choice([1, 2] if test else [2, 2]))
    second = draw_integer(rng, [number], rng.choice([1, 2])) if test else None
    return Iteration(test, first, second, modulus, rng.random() < 0.35)
