"""A number that is changed by a rule again and again: how long it takes, where it leads."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Kind = Literal["value", "sum", "count", "largest", "list", "until"]
_LOW, _HIGH = -60, 120
_MOST_STEPS = 12
_MOST_UNTIL = 30


@dataclass(frozen=True)
class Repeated:
    """`steps` times, or until `goal` holds and at most `_MOST_UNTIL` times: if `test` holds of the
    number, it becomes `yes`, else `no`."""

    name: str
    noun: str
    kind: Kind
    test: Node
    yes: Node
    no: Node
    goal: Node
    """Which numbers are counted, or end it."""
    modulus: int
    """Every new number is reduced by it, so that none grows without end."""

    def _next(self, number: int) -> int:
        environment = {"x": number}
        chosen = self.yes if self.test.evaluate(environment) else self.no
        return int(chosen.evaluate(environment)) % self.modulus

    def _course(self, start: int, steps: int) -> list[int]:
        """The start and what follows, by recursion."""
        return [start] if steps == 0 else [start, *self._course(self._next(start), steps - 1)]

    def oracle(self, start: int, steps: int = _MOST_UNTIL) -> Value:
        course = self._course(start, steps)
        holds = [bool(self.goal.evaluate({"x": one})) for one in course]
        if self.kind == "until":
            return holds.index(True) if True in holds else -1
        if self.kind == "value":
            return course[-1]
        if self.kind == "sum":
            return sum(course)
        if self.kind == "largest":
            return sorted(course)[-1]
        return course if self.kind == "list" else sum(holds)

    def statement(self, rng: Random) -> str:
        subjects = {"x": Subject(f"the {self.noun}", True)}
        test = self.test.condition(rng, subjects).clause()
        yes, no = self.yes.phrase(rng, subjects), self.no.phrase(rng, subjects)
        rule = rng.choice(
            [
                f"in one step, the {self.noun} is replaced: if {test}, by {yes}, otherwise by {no}",
                f"a step turns the {self.noun} into {yes} if {test}, and into {no} otherwise",
            ]
        )
        model = [
            rule,
            f"what comes out of a step is then reduced modulo {self.modulus}, so that it lies "
            f"between 0 and {self.modulus - 1}",
        ]
        goal = self.goal.condition(rng, subjects).clause()
        course = f"the {self.noun}s that occur, the first one and the last one included"
        result = {
            "value": f"the {self.noun} after all steps (`start` itself if `steps` is 0)",
            "sum": f"the sum of all {course}",
            "largest": f"the largest of all {course}",
            "list": f"all {course}, as a list in order",
            "count": f"how many of all {course}, fulfil this: {goal}",
            "until": f"the number of steps until for the first time {goal} (0 if this is so at the "
            f"start already), or -1 if it does not happen within {_MOST_UNTIL} steps",
        }[self.kind]
        notes = set().union(*(one.notes() for one in (self.test, self.yes, self.no, self.goal)))
        given = [Given("start", f"the first {self.noun} (an integer)")]
        if self.kind != "until":
            given.append(Given("steps", "the number of steps (not negative)"))
        return phrased(
            rng,
            Task(name=self.name, given=given, model=model, result=result, notes=sorted(notes)),
        )

    def _advance(self, block: Block, naming: Naming, name: str) -> None:
        names = naming.renamed({"x": name})
        with block.inside(f"if {self.test.python(names)}:"):
            block.add(f"{name} = {self._reduced(self.yes, names)}")
        with block.inside("else:"):
            block.add(f"{name} = {self._reduced(self.no, names)}")

    def _reduced(self, node: Node, naming: Naming) -> str:
        """Modulo the modulus, unless it is below it anyway."""
        code = node.python(naming)
        low, high = node.range()
        return f"{code}" if low >= 0 and high < self.modulus else f"{code:unary} % {self.modulus}"

    def _running(self) -> Solution:
        """One loop that keeps what is needed."""
        naming = Naming({}, 0)
        block = Block({"start", "steps", self.name})
        name = block.name(self.noun, "number")
        goal = self.goal.python(naming.renamed({"x": name}))
        block.add(f"{name} = start")
        if self.kind == "until":
            with block.inside(f"for step in range({_MOST_UNTIL + 1}):"):
                with block.inside(f"if {goal}:"):
                    block.add("return step")
                self._advance(block, naming, name)
            block.add("return -1")
            return self._solution("loop", block, naming)
        begin = {"sum": "total = start", "largest": "largest = start", "list": "course = [start]"}
        if self.kind in begin:
            block.add(begin[self.kind])
        elif self.kind == "count":
            block.add(f"count = 1 if {goal:or} else 0")
        with block.inside("for _ in range(steps):"):
            self._advance(block, naming, name)
            if self.kind == "count":
                with block.inside(f"if {goal}:"):
                    block.add("count += 1")
            elif self.kind in begin:
                block.add(
                    {
                        "sum": f"total += {name}",
                        "largest": f"largest = max(largest, {name})",
                        "list": f"course.append({name})",
                    }[self.kind]
                )
        ends = {"sum": "total", "largest": "largest", "list": "course", "count": "count"}
        block.add(f"return {ends.get(self.kind, name)}")
        return self._solution("loop", block, naming)

    def _collecting(self) -> Solution:
        """A function for one step; the whole course as a list."""
        naming = Naming({}, 1, uses_helpers=True)
        step = Block({self.noun})
        self._advance_by_return(step, naming)
        block = Block({"start", "steps", self.name, "next_number"})
        goal = self.goal.python(naming.renamed({"x": self.noun}))
        steps = str(_MOST_UNTIL) if self.kind == "until" else "steps"
        block.add("course = [start]")
        with block.inside(f"for _ in range({steps}):"):
            block.add("course.append(next_number(course[-1]))")
        if self.kind == "until":
            with (
                block.inside(f"for step, {self.noun} in enumerate(course):"),
                block.inside(f"if {goal}:"),
            ):
                block.add("return step")
            block.add("return -1")
        else:
            block.add(
                {
                    "value": "return course[-1]",
                    "sum": "return sum(course)",
                    "largest": "return max(course)",
                    "list": "return course",
                    "count": f"return sum(1 for {self.noun} in course if {goal:or})",
                }[self.kind]
            )
        own = function(f"def next_number({self.noun}: int) -> int:", step)
        return self._solution("helper", block, naming, own)

    def _advance_by_return(self, block: Block, naming: Naming) -> None:
        names = naming.renamed({"x": self.noun})
        with block.inside(f"if {self.test.python(names)}:"):
            block.add(f"return {self._reduced(self.yes, names)}")
        block.add(f"return {self._reduced(self.no, names)}")

    def _solution(self, style: str, block: Block, naming: Naming, *parts: str) -> Solution:
        parameters = ", ".join(f"{one.name}: int" for one in self._parameters())
        text = function(f"def {self.name}({parameters}) -> {self._returns().python()}:", block)
        return Solution(style, module([*naming.helpers.values(), *parts, text]))

    def _parameters(self) -> tuple[Parameter, ...]:
        start = Parameter("start", Int(_LOW, _HIGH))
        if self.kind == "until":
            return (start,)
        return start, Parameter("steps", Int(0, _MOST_STEPS))

    def _returns(self) -> Type:
        return ListOf(Int()) if self.kind == "list" else Int()

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """No step, one step, zero, a negative start; then random ones."""
        for start, steps in ((0, 0), (5, 1), (0, 3), (-7, 2)):
            yield (start,) if self.kind == "until" else (start, steps)
        while True:
            start = rng.randint(_LOW, _HIGH)
            yield (start,) if self.kind == "until" else (start, rng.randint(1, _MOST_STEPS))

    def problem(self) -> Problem:
        parts = [self.test, self.yes, self.no]
        if self.kind in ("count", "until"):
            parts.append(self.goal)
        return Problem(
            family="arithmetic",
            spec=["repeated", self.kind, *(one.spec() for one in parts)],
            name=self.name,
            parameters=self._parameters(),
            returns=self._returns(),
            statement=self.statement,
            solutions=(self._running(), self._collecting()),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"Follows {self.noun}s that a rule makes from one another.",
        )


def draw_repeated(rng: Random) -> Problem:
    kind: Kind = rng.choice(["value", "sum", "count", "largest", "list", "until", "until"])
    modulus = rng.choice([50, 64, 97, 100, 101, 128, 150])
    number = Variable("x", Int(_LOW, _HIGH), "int", (_LOW, max(_HIGH, modulus - 1)))
    test = draw_test(rng, [number], 2 if rng.random() < 0.25 else 1)
    yes, no = (draw_integer(rng, [number], rng.choice([1, 1, 2])) for _ in range(2))
    if yes.rule is not None and no.rule is not None and yes.rule.name == no.rule.name:
        raise NothingDrawn
    if any("conditional" in one.rules() for one in (yes, no)):
        raise NothingDrawn
    goal = draw_test(rng, [number], 1)
    noun = rng.choice(["number", "value", "counter", "state", "position"])
    verb = {"value": "run", "sum": "sum_of", "count": "count_in", "until": "steps_until_end"}
    word = rng.choice(["sequence", "course", "machine", "process", "walk"])
    name = f"{verb.get(kind, kind)}_{word}"
    return Repeated(name, noun, kind, test, yes, no, goal, modulus).problem()
