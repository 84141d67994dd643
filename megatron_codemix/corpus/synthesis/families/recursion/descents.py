"""A function of a number that is defined by its value at smaller numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.recursion.common import (
    notes_of,
    problem,
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
from megatron_codemix.corpus.synthesis.values import Int, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased


@dataclass(frozen=True)
class Step:
    """How one case goes down: n // `divisor`, or n - `less` where `divisor` is 0; what it adds; by
    what the smaller value is multiplied."""

    divisor: int
    less: int
    add: Node
    factor: int

    def smaller(self, n: int) -> int:
        return n // self.divisor if self.divisor else n - self.less

    def words(self) -> str:
        return f"n // {self.divisor}" if self.divisor else f"n - {self.less}"


@dataclass(frozen=True)
class Descent:
    """f(n) = `base` of n below `border`; else by `first` if `test` holds of n, by `second` if
    not."""

    name: str
    border: int
    base: Node
    test: Node
    first: Step
    second: Step

    def oracle(self, n: int) -> Value:
        """All values from 0 up to n."""
        values: list[int] = []
        for number in range(n + 1):
            row = {"n": number}
            if number < self.border:
                values.append(int(self.base.evaluate(row)))
            else:
                step = self.first if self.test.evaluate(row) else self.second
                values.append(
                    step.factor * values[step.smaller(number)] + int(step.add.evaluate(row))
                )
        return values[n]

    def _said(self, rng: Random, step: Step, subjects: dict[str, Subject]) -> str:
        add = step.add.phrase(rng, subjects)
        value = f"`{self.name}({step.words()})`"
        if step.factor != 1:
            value = f"{step.factor} times {value}"
        return rng.choice([f"{value} plus {add}", f"the sum of {add} and {value}"])

    def statement(self, rng: Random) -> str:
        subjects = {"n": Subject("`n`")}
        test = self.test.condition(rng, subjects).clause()
        first, second = (self._said(rng, one, subjects) for one in (self.first, self.second))
        model = [
            rng.choice(
                ["the function is defined recursively", "the function is defined by its own values"]
            ),
            f"for `n` below {self.border}, its value is {self.base.phrase(rng, subjects)}",
            f"from {self.border} on, if {test}, it is {first}",
            f"in every other case it is {second}",
        ]
        notes = [*notes_of(self.base, self.test, self.first.add, self.second.add)]
        notes.append("Here `//` is division rounded down, as in Python")
        return phrased(
            rng,
            Task(
                name=self.name,
                given=[Given("n", "an integer that is not negative")],
                model=model,
                result="the value that follows from these rules",
                notes=notes if self.first.divisor or self.second.divisor else notes[:-1],
            ),
        )

    def _signature(self) -> str:
        return f"def {self.name}(n: int) -> int:"

    def _term(self, step: Step, naming: Naming, inner: str) -> str:
        add = step.add.python(naming)
        own = f"{step.factor} * {inner}" if step.factor != 1 else inner
        return f"{own} + {add:product}"

    def _recursive(self) -> Solution:
        naming = Naming({"n": "n"}, 0)
        block = Block({"n", self.name})
        with block.inside(f"if n < {self.border}:"):
            block.add(f"return {self.base.python(naming)}")
        with block.inside(f"if {self.test.python(naming)}:"):
            block.add(
                f"return {self._term(self.first, naming, f'{self.name}({self.first.words()})')}"
            )
        block.add(
            f"return {self._term(self.second, naming, f'{self.name}({self.second.words()})')}"
        )
        return solution("recursive", self._signature(), block, naming)

    def _iterative(self) -> Solution:
        """Collects what is added on the way down, with its weight."""
        naming = Naming({"n": "n"}, 1, uses_helpers=True)
        block = Block({"n", self.name, "total", "weight"})
        block.add("total = 0")
        has_weight = self.first.factor != 1 or self.second.factor != 1
        if has_weight:
            block.add("weight = 1")
        weight = "weight * " if has_weight else ""
        with block.inside(f"while n >= {self.border}:"):
            for step, header in (
                (self.first, f"if {self.test.python(naming)}:"),
                (self.second, "else:"),
            ):
                with block.inside(header):
                    block.add(
                        f"total += {weight}{step.add.python(naming):unary}"
                        if has_weight
                        else (f"total += {step.add.python(naming)}")
                    )
                    if step.factor != 1:
                        block.add(f"weight *= {step.factor}")
                    block.add(f"n //= {step.divisor}" if step.divisor else f"n -= {step.less}")
        base = self.base.python(naming)
        block.add(
            f"return total + {weight}{base:unary}"
            if has_weight
            else f"return total + {base:product}"
        )
        return solution("iterative", self._signature(), block, naming)

    def _table(self) -> Solution:
        naming = Naming({"n": "number"}, 1)
        block = Block({"n", self.name, "values", "number"})
        block.add("values = []")
        with block.inside("for number in range(n + 1):"):
            with block.inside(f"if number < {self.border}:"):
                block.add(f"values.append({self.base.python(naming)})")
            for step, header in (
                (self.first, f"elif {self.test.python(naming)}:"), (self.second, "else:"),
            ):  # fmt: skip
                inner = f"values[{step.words().replace('n', 'number', 1)}]"
                with block.inside(header):
                    block.add(f"values.append({self._term(step, naming, inner)})")
        block.add("return values[n]")
        return solution("table", self._signature(), block, naming)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield from ((n,) for n in range(12))
        while True:
            yield (rng.randint(8, 60) if rng.random() < 0.7 else rng.randint(20, 120),)

    def problem(self) -> Problem:
        steps = [
            [bool(one.divisor), one.factor != 1, one.add.spec()]
            for one in (self.first, self.second)
        ]
        return problem(
            spec=["descent", self.base.spec(), self.test.spec(), steps],
            name=self.name,
            parameters=(Parameter("n", Int(0, 120)),),
            returns=Int(),
            statement=self.statement,
            solutions=(self._recursive(), self._iterative(), self._table()),
            oracle=self.oracle,
            inputs=self.inputs,
            summary="The value at `n` of a function that is defined by smaller numbers.",
        )


def draw_descent(rng: Random) -> Problem:
    number = Variable("n", Int(6, 60), "int", (1, 120))  # it is read from the border on only
    test = draw_test(rng, [number], 2 if rng.random() < 0.3 else 1)
    steps = []
    for _ in range(2):
        divisor = rng.choice([0, 0, 2, 3, 5, 10])
        add = draw_integer(rng, [number], rng.choice([1, 1, 2]))
        factor = rng.choice([1, 1, 1, 2, 3]) if divisor else 1
        steps.append(Step(divisor, rng.randint(1, 3), add, factor))
    first, second = steps
    if (
        first.add.spec() == second.add.spec()
        or "conditional" in first.add.rules() | second.add.rules()
    ):
        raise NothingDrawn
    border = rng.randint(max(1, first.less, second.less), 6)
    base_number = Variable("n", Int(0, border - 1), "int", (0, border - 1))
    base = (
        draw_integer(rng, [base_number], rng.choice([0, 1]))
        if border > 3
        else (draw_integer(rng, [base_number], 0))
    )
    word = rng.choice(["rest", "measure", "weight", "rank", "depth", "charge", "level"])
    name = f"{word}_of_{rng.choice(['number', 'integer', 'n'])}" if rng.random() < 0.7 else word
    return Descent(name, border, base, test, first, second).problem()
