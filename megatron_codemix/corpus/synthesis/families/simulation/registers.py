"""Two numbers that change each other, round by round."""

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

_THEMES = (
    ("foxes", "rabbits"), ("red", "blue"), ("left", "right"), ("water", "sand"),
    ("supply", "demand"), ("hot", "cold"), ("gold", "silver"), ("first", "second"),
)  # fmt: skip
_MOST_ROUNDS = 9


@dataclass(frozen=True)
class Registers:
    names: tuple[str, str]
    rules: tuple[Node, Node]
    at_once: bool
    """Whether the second rule sees the old value of the first number."""
    stop: Node | None
    """Of both, after a round: no further one follows."""
    modulus: int

    def subject(self) -> str:
        return "rounds"

    def title(self) -> str:
        return f"How `{self.names[0]}` and `{self.names[1]}` change each other."

    def spec(self) -> Any:
        return ["registers", *specs_of([*self.rules, self.stop]), self.at_once, self.modulus]

    def parameters(self) -> tuple[Parameter, ...]:
        high = self.modulus - 1
        numbers = [Parameter(name, Int(0, high)) for name in self.names]
        return (*numbers, Parameter("rounds", Int(0, _MOST_ROUNDS)))

    def given(self) -> list[Given]:
        high = self.modulus - 1
        return [
            Given(self.names[0], f"an integer from 0 to {high}"),
            Given(self.names[1], f"an integer from 0 to {high}"),
            Given("rounds", "a number of rounds (0 or more)"),
        ]

    def _subjects(self) -> dict[str, Subject]:
        return {"a": Subject(f"`{self.names[0]}`"), "b": Subject(f"`{self.names[1]}`")}

    def model(self, rng: Random, used: set[str]) -> list[str]:
        one, two = self.names
        first, second = (rule.phrase(rng, self._subjects()) for rule in self.rules)
        said = [
            rng.choice(
                [
                    f"in each round `{one}` becomes {first}, and `{two}` becomes {second}",
                    f"a round replaces `{one}` by {first}, and `{two}` by {second}",
                ]
            ),
            "both rules use the values from before the round"
            if self.at_once
            else f"`{one}` changes first, and the rule for `{two}` already uses its new value",
            f"of each new value only the remainder modulo {self.modulus} (never negative) is kept",
        ]
        if self.stop is not None:
            clause = self.stop.condition(rng, self._subjects()).clause()
            said.append(
                rng.choice(
                    [
                        f"the rounds end early after a round after which {clause}",
                        f"if {clause} after a round, it was the last one",
                    ]
                )
            )
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        where = "that takes place"
        return RowWords("round", "rounds", "in their order", "that take place", where)

    def subjects(self) -> dict[str, Subject]:
        return {
            "a": Subject(f"`{self.names[0]}` after it"),
            "b": Subject(f"`{self.names[1]}` after it"),
        }

    def bounds(self) -> dict[str, Range]:
        return {"a": (0, self.modulus - 1), "b": (0, self.modulus - 1)}

    def nodes(self) -> Sequence[Node | None]:
        return [*self.rules, self.stop]

    def rows(self, first: int, second: int, rounds: int) -> list[Row]:
        """By recursion over the rounds that are left."""
        if rounds <= 0:
            return []
        old = {"a": first, "b": second}
        new_first = self.rules[0].evaluate(old) % self.modulus
        seen = old if self.at_once else {"a": new_first, "b": second}
        row = {"a": new_first, "b": self.rules[1].evaluate(seen) % self.modulus}
        if self.stop is not None and self.stop.evaluate(row):
            return [row]
        return [row, *self.rows(row["a"], row["b"], rounds - 1)]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        high = self.modulus - 1
        yield 0, 0, 0
        yield 1, 2, 1
        yield high, 0, 4
        while True:
            yield rng.randint(0, high), rng.randint(0, high), rng.randint(2, _MOST_ROUNDS)

    def styles(self) -> tuple[str, ...]:
        return ("loop", "function", "recursive")

    def _rules(self, naming: Naming, first: str, second: str, new: str) -> tuple[str, str]:
        """Both new values; `new` is what the first is called once it is changed."""
        old = naming.renamed({"a": first, "b": second})
        seen = old if self.at_once else naming.renamed({"a": new, "b": second})
        one, two = self.rules[0].python(old), self.rules[1].python(seen)
        return f"{one:product} % {self.modulus}", f"{two:product} % {self.modulus}"

    def write(self, style: str, body: Body) -> Rows:
        block, (one, two) = body.block, self.names
        block.names |= {"states", "state"}
        if style == "recursive":
            self._recursive(body)
        elif style == "function":
            self._function(body)
        else:
            first, second = self._rules(body.naming, one, two, one)
            block.add("states = []")
            with block.inside("for _ in range(rounds):"):
                if self.at_once:
                    block.add(f"new_{one} = {first}")
                    block.add(f"{two} = {second}")
                    block.add(f"{one} = new_{one}")
                else:
                    block.add(f"{one} = {first}")
                    block.add(f"{two} = {second}")
                block.add(f"states.append(({one}, {two}))")
                self._stop(body, one, two, "break")
        first_name = one if "a" in body.used or not body.used else "_"
        second_name = two if "b" in body.used else "_"
        return Rows(f"{first_name}, {second_name} in states", {"a": one, "b": two})

    def _stop(self, body: Body, one: str, two: str, what: str) -> None:
        if self.stop is not None:
            naming = body.naming.renamed({"a": one, "b": two})
            with body.block.inside(f"if {self.stop.python(naming)}:"):
                body.block.add(what)

    def _function(self, body: Body) -> None:
        one, two = self.names
        first, second = self._rules(body.naming, one, two, f"new_{one}")
        head = f"def next_state({one}: int, {two}: int) -> tuple[int, int]:\n"
        lines = [f"new_{one} = {first}", f"new_{two} = {second}", f"return new_{one}, new_{two}"]
        body.parts.append(head + "\n".join(f"    {line}" for line in lines))
        add_lines(
            body.block,
            f"""
            states = []
            is_over = False
            while len(states) < rounds and not is_over:
                {one}, {two} = next_state({one}, {two})
                states.append(({one}, {two}))
            """,
        )
        if self.stop is None:
            body.block.lines = [
                line.replace(" and not is_over", "") for line in body.block.lines
                if "is_over = False" not in line
            ]  # fmt: skip
            return
        naming = body.naming.renamed({"a": one, "b": two})
        body.block.add(f"    is_over = {self.stop.python(naming)}")

    def _recursive(self, body: Body) -> None:
        one, two = self.names
        first, second = self._rules(body.naming, one, two, f"new_{one}")
        lines = [
            f"def states_of({one}: int, {two}: int, rounds: int) -> list[tuple[int, int]]:",
            "    if rounds == 0:",
            "        return []",
            f"    new_{one} = {first}",
            f"    new_{two} = {second}",
            f"    state = (new_{one}, new_{two})",
        ]
        if self.stop is not None:
            test = self.stop.python(body.naming.renamed({"a": f"new_{one}", "b": f"new_{two}"}))
            lines += [f"    if {test}:", "        return [state]"]
        lines.append(f"    return [state] + states_of(new_{one}, new_{two}, rounds - 1)")
        body.parts.append("\n".join(lines))
        body.block.add(f"states = states_of({one}, {two}, rounds)")


def draw_registers(rng: Random) -> tuple[Producer, str]:
    modulus = rng.choice([20, 50, 64, 97, 100])
    one, two = (Variable(name, Int(0, modulus - 1), "int", (0, modulus - 1)) for name in "ab")
    first = draw_integer(rng, [one, two], rng.choice([1, 1, 2]))
    second = draw_integer(rng, rng.choice([[one], [one, two], [one, two]]), rng.choice([1, 1, 2]))
    if first.spec() == second.spec():
        raise NothingDrawn
    stop = draw_test(rng, rng.choice([[one], [two], [one, two]]), 1) if rng.random() < 0.5 else None
    names = rng.choice(_THEMES)
    producer = Registers(names, (first, second), rng.random() < 0.6, stop, modulus)
    lengths = [len(producer.rows(rng.randrange(modulus), rng.randrange(modulus), 6)) for _ in
               range(10)]  # fmt: skip
    if sum(lengths) < 20:
        raise NothingDrawn
    return producer, ""
