"""A formula of one to three numbers that depends on which case holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject, listed
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased


@dataclass(frozen=True)
class Theme:
    """What the numbers are; `result` names what is computed."""

    result: str
    parameters: tuple[tuple[str, str, int, int], ...]
    """Name, words, least and largest value."""


THEMES = (
    Theme(
        "fee",
        (
            ("days", "the number of days a book is late, not negative", 0, 60),
            ("pages", "the number of its pages, not negative", 0, 200),
        ),
    ),
    Theme(
        "fare",
        (
            ("distance", "a distance in kilometres, not negative", 0, 120),
            ("age", "the age of the passenger in years, not negative", 0, 99),
            ("bags", "a number of bags, not negative", 0, 9),
        ),
    ),
    Theme(
        "score",
        (
            ("hits", "a number of hits, not negative", 0, 50),
            ("misses", "a number of misses, not negative", 0, 50),
            ("level", "the level that was reached, from 1 to 20", 1, 20),
        ),
    ),
    Theme(
        "price",
        (
            ("units", "a number of units, not negative", 0, 150),
            ("weight", "a weight in kilograms, not negative", 0, 80),
        ),
    ),
    Theme("result", (("a", "an integer", -40, 60), ("b", "an integer", -40, 60))),
    Theme(
        "value",
        (
            ("x", "an integer", -50, 50),
            ("y", "an integer", -50, 50),
            ("z", "an integer", -50, 50),
        ),
    ),
    Theme(
        "energy",
        (
            ("speed", "a speed, not negative", 0, 90),
            ("height", "a height relative to the ground, possibly negative", -30, 70),
        ),
    ),
    Theme(
        "bonus",
        (
            ("years", "years of service, not negative", 0, 45),
            ("sales", "a number of sales, not negative", 0, 120),
            ("errors", "a number of errors, not negative", 0, 30),
        ),
    ),
    Theme(
        "dose",
        (
            ("mass", "a body mass in kilograms, positive", 1, 120),
            ("hours", "hours since the last dose, not negative", 0, 48),
        ),
    ),
    Theme(
        "level",
        (
            ("depth", "a depth in metres, not negative", 0, 80),
            ("tide", "the tide, possibly negative", -9, 9),
        ),
    ),
)


@dataclass(frozen=True)
class Cases:
    """The first case whose test holds gives the value; none: `otherwise`."""

    theme: Theme
    name: str
    variables: Sequence[Variable]
    cases: Sequence[tuple[Node, Node]]
    otherwise: Node

    def oracle(self, *values: int) -> Value:
        environment = {one.name: value for one, value in zip(self.variables, values, strict=True)}
        for test, value in self.cases:
            if test.evaluate(environment):
                return value.evaluate(environment)
        return self.otherwise.evaluate(environment)

    def statement(self, rng: Random) -> str:
        subjects = {one.name: Subject(f"`{one.name}`") for one in self.variables}
        words = {name: text for name, text, _, _ in self.theme.parameters}
        given = [Given(one.name, words[one.name]) for one in self.variables]
        said = [
            (test.condition(rng, subjects).clause(), value.phrase(rng, subjects))
            for test, value in self.cases
        ]
        last = self.otherwise.phrase(rng, subjects)
        nodes = [*(node for case in self.cases for node in case), self.otherwise]
        notes = sorted(set().union(*(node.notes() for node in nodes)))
        result = self.theme.result
        if len(said) == 1:
            (clause, value), *_ = said
            text = rng.choice(
                [
                    f"the {result}: if {clause}, it is {value}; otherwise it is {last}",
                    f"the {result}, which is {value} if {clause}, and {last} in every other case",
                ]
            )
            return phrased(rng, Task(name=self.name, given=given, result=text, notes=notes))
        model = self._rules(rng, said, last)
        text = f"the {result} that follows from these rules"
        return phrased(
            rng, Task(name=self.name, given=given, model=model, result=text, notes=notes)
        )

    def _rules(self, rng: Random, said: Sequence[tuple[str, str]], last: str) -> list[str]:
        result = self.theme.result
        first = rng.choice(
            [
                f"rules for the {result} are tried in the order given here, and the first one that "
                "applies decides",
                f"the {result} is decided by the first of the following rules that applies",
            ]
        )
        if rng.random() < 0.5:
            rules = [f"if {clause}, the {result} is {value}" for clause, value in said]
        else:
            rules = [f"the {result} is {value} if {clause}" for clause, value in said]
        return [first, *rules, f"if no rule above applies, the {result} is {last}"]

    def _block(self, naming: Naming) -> Block:
        return Block({*naming.names.values(), self.name})

    def _early_returns(self) -> Solution:
        naming = self._naming(0)
        block = self._block(naming)
        for test, value in self.cases:
            with block.inside(f"if {test.python(naming)}:"):
                block.add(f"return {value.python(naming)}")
        block.add(f"return {self.otherwise.python(naming)}")
        return self._solution("early returns", block, naming)

    def _branches(self) -> Solution:
        naming = self._naming(1, uses_helpers=True)
        block = self._block(naming)
        name = block.name(self.theme.result, "result")
        for number, (test, value) in enumerate(self.cases):
            with block.inside(f"{'elif' if number else 'if'} {test.python(naming)}:"):
                block.add(f"{name} = {value.python(naming)}")
        with block.inside("else:"):
            block.add(f"{name} = {self.otherwise.python(naming)}")
        block.add(f"return {name}")
        return self._solution("branches", block, naming)

    def _backwards(self) -> Solution:
        """Begins with the last rule; earlier ones overrule it."""
        naming = self._naming(1)
        block = self._block(naming)
        name = block.name(self.theme.result, "result")
        block.add(f"{name} = {self.otherwise.python(naming)}")
        if len(self.cases) == 1:
            test, value = self.cases[0]
            block.lines.clear()
            with block.inside(f"if {negated(test.python(naming))}:"):
                block.add(f"return {self.otherwise.python(naming)}")
            block.add(f"return {value.python(naming)}")
            return self._solution("other case first", block, naming)
        for test, value in reversed(self.cases):
            with block.inside(f"if {test.python(naming)}:"):
                block.add(f"{name} = {value.python(naming)}")
        block.add(f"return {name}")
        return self._solution("overruling", block, naming)

    def _naming(self, way: int, *, uses_helpers: bool = False) -> Naming:
        return Naming({one.name: one.name for one in self.variables}, way, uses_helpers)

    def _solution(self, style: str, block: Block, naming: Naming) -> Solution:
        parameters = ", ".join(f"{one.name}: int" for one in self.variables)
        text = function(f"def {self.name}({parameters}) -> int:", block)
        return Solution(style, module([*naming.helpers.values(), text]))

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Smallest values, equal values; then random ones."""
        yield tuple(one.type.smallest() for one in self.variables)
        yield tuple(one.range[0] for one in self.variables)
        yield tuple(one.range[1] for one in self.variables)
        yield tuple(min(10, one.range[1]) for one in self.variables)
        while True:
            yield tuple(one.type.draw(rng, 8) for one in self.variables)

    def problem(self) -> Problem:
        return Problem(
            family="arithmetic",
            spec=[
                "cases",
                [[test.spec(), value.spec()] for test, value in self.cases],
                self.otherwise.spec(),
            ],
            name=self.name,
            parameters=tuple(Parameter(one.name, one.type) for one in self.variables),
            returns=Int(),
            statement=self.statement,
            solutions=(self._early_returns(), self._branches(), self._backwards()),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"The {self.theme.result} for {listed([one.name for one in self.variables])}.",
        )


def draw_cases(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    least = 1 if rng.random() < 0.3 else 2
    chosen = theme.parameters[: rng.randint(least, len(theme.parameters))]
    variables = [
        Variable(name, Int(low, high), "int", (low, high)) for name, _, low, high in chosen
    ]
    count = rng.choice([1, 2, 2, 3])
    cases: list[tuple[Node, Node]] = []
    for _ in range(count):
        tested = _some(rng, variables)
        size = 2 if len(tested) == 1 and rng.random() < 0.25 else 1
        cases.append((draw_test(rng, tested, size), _value(rng, variables)))
    otherwise = _value(rng, variables)
    used = set().union(*(t.variables() | v.variables() for t, v in cases), otherwise.variables())
    specs = [str(value.spec()) for _, value in cases] + [str(otherwise.spec())]
    if used != {one.name for one in variables} or len(set(specs)) < len(specs):
        raise NothingDrawn
    name = f"{rng.choice(['compute', 'calculate', 'find', 'total', 'final'])}_{theme.result}"
    drawn = Cases(theme, name, variables, cases, otherwise)
    _require_all_cases(rng, drawn)
    return drawn.problem()


def _some(rng: Random, variables: Sequence[Variable]) -> list[Variable]:
    return rng.sample(list(variables), 2 if len(variables) > 1 and rng.random() < 0.35 else 1)


def _value(rng: Random, variables: Sequence[Variable]) -> Node:
    return draw_integer(rng, _some(rng, variables), rng.choice([1, 1, 2]))


def _require_all_cases(rng: Random, cases: Cases) -> None:
    """Raises NothingDrawn where a case hardly ever decides."""
    counts = [0] * (len(cases.cases) + 1)
    for _ in range(60):
        sample = {one.name: one.type.draw(rng, 8) for one in cases.variables}
        holds = [bool(test.evaluate(sample)) for test, _ in cases.cases]
        counts[holds.index(True) if True in holds else -1] += 1
    if min(counts) < 5:
        raise NothingDrawn
