"""All numbers from one to another, or all pairs of them: those that pass a test are counted or
summed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.naming import adjective
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

Kind = Literal["count", "sum", "largest", "list", "first", "product"]
_MODULUS = 1009
_HIGH = 40


@dataclass(frozen=True)
class Ranges:
    """Over numbers, or with `is_pairs` over pairs i < j of them, between the parameters."""

    name: str
    kind: Kind
    is_pairs: bool
    bounds: Sequence[Variable]
    """`low` and `high`, or `n` alone for 1 to n."""
    variables: Sequence[Variable]
    """Of one number, or of the two of a pair."""
    test: Node
    value: Node
    uses_bound: bool
    """Whether the test also looks at the upper bound."""

    def _items(self, values: Sequence[int]) -> list[tuple[int, ...]]:
        low, high = (1, values[0]) if len(values) == 1 else (values[0], values[1])
        numbers = list(range(low, high + 1))
        if not self.is_pairs:
            return [(one,) for one in numbers]
        return [(one, other) for one in numbers for other in numbers if one < other]

    def oracle(self, *values: int) -> Value:
        names = [one.name for one in self.variables]
        environment = {"bound": values[-1]}
        found = []
        for item in self._items(values):
            row = {**environment, **dict(zip(names, item, strict=True))}
            if self.test.evaluate(row):
                found.append(self.value.evaluate(row))
        if self.kind == "count":
            return len(found)
        if self.kind == "sum":
            return sum(found)
        if self.kind == "list":
            return found
        if self.kind == "first":
            return found[0] if found else -1
        if self.kind == "largest":
            return sorted(found)[-1] if found else -1
        product = 1
        for one in found:
            product = product * one % _MODULUS
        return product

    def statement(self, rng: Random) -> str:
        subjects = {"bound": Subject(f"`{self.bounds[-1].name}`")}
        if self.is_pairs:
            subjects |= {"i": Subject("the smaller number"), "j": Subject("the larger number")}
        else:
            subjects["i"] = Subject("the number", True)
        condition = self.test.condition(rng, subjects)
        low = "1" if len(self.bounds) == 1 else f"`{self.bounds[0].name}`"
        span = f"from {low} to `{self.bounds[-1].name}`, both included"
        if self.is_pairs:
            which = f"pairs of two different integers {span}, for which {condition.clause()}"
            item = "pair"
        else:
            which = f"integers {span}, {condition.relative(is_plural=True)}"
            item = "number"
        result = self._result(rng, which, item, subjects)
        notes = sorted(self.test.notes() | self.value.notes())
        given = [Given(one.name, self._words(one)) for one in self.bounds]
        if len(self.bounds) == 2:
            notes.append(
                f"If `{self.bounds[1].name}` is less than `{self.bounds[0].name}`, there are no "
                "numbers to look at"
            )
        return phrased(rng, Task(name=self.name, given=given, result=result, notes=notes))

    def _words(self, variable: Variable) -> str:
        return "an integer" if variable.range[0] < 0 else "a non-negative integer"

    def _result(self, rng: Random, which: str, item: str, subjects: dict[str, Subject]) -> str:
        value = self.value.phrase(rng, subjects)
        if self.kind == "count":
            return rng.choice([f"the number of {which}", f"the count of {which}"])
        if self.kind == "sum":
            return f"a sum over all {which}: each {item} adds {value}; the empty sum is 0"
        if self.kind == "largest":
            return f"the largest value of {value}, over all {which}; -1 if there are none"
        if self.kind == "first":
            return (
                f"a value for the smallest of all {which}, namely {value}; the result is -1 if "
                f"there "
                "are none"
            )
        if self.kind == "list":
            order = "the smaller numbers, then by the larger ones" if self.is_pairs else "size"
            return f"a list that holds, for each of the {which}, in order of {order}: {value}"
        return (
            f"a product over all {which}, reduced modulo {_MODULUS} (from 0 to {_MODULUS - 1}): "
            f"each "
            f"{item} multiplies it by {value}; the empty product is 1"
        )

    def _naming(self, way: int, *, uses_helpers: bool = False) -> Naming:
        names = {"i": "first", "j": "second"} if self.is_pairs else {"i": "number"}
        return Naming({**names, "bound": self.bounds[-1].name}, way, uses_helpers)

    def _spans(self) -> list[tuple[str, str]]:
        low = "1" if len(self.bounds) == 1 else self.bounds[0].name
        end = f"{self.bounds[-1].name} + 1"
        if self.is_pairs:
            return [("first", f"range({low}, {end})"), ("second", f"range(first + 1, {end})")]
        return [("number", f"range({low}, {end})")]

    def _comprehension(self) -> Solution:
        naming = self._naming(0)
        block = self._block()
        heads = " ".join(f"for {name} in {span}" for name, span in self._spans())
        rows = f"{heads} if {self.test.python(naming):or}"
        value = self.value.python(naming)
        if self.kind == "count":
            block.add(f"return sum(1 {rows})")
        elif self.kind == "sum":
            block.add(f"return sum({value} {rows})")
        elif self.kind == "list":
            block.add(f"return [{value} {rows}]")
        elif self.kind == "largest":
            block.add(f"return max(({value} {rows}), default=-1)")
        elif self.kind == "first":
            block.add(f"found = [{value} {rows}]")
            block.add("return found[0] if found else -1")
        else:
            block.add("product = 1")
            block.add(f"factors = [{value} {rows}]")
            with block.inside("for factor in factors:"):
                block.add(f"product = product * factor % {_MODULUS}")
            block.add("return product")
        return self._solution("comprehension", block, naming)

    def _block(self) -> Block:
        return Block({self.name, "first", "second", "number", *(one.name for one in self.bounds)})

    def _loops(self) -> Solution:
        naming = self._naming(1, uses_helpers=True)
        block = self._block()
        start, name = self._start(block)
        if start:
            block.add(start)
        depth = 0
        for variable, span in self._spans():
            block.add(f"for {variable} in {span}:")
            block.indent += 1
            depth += 1
        with block.inside(f"if {self.test.python(naming)}:"):
            self._collect(block, naming, name)
        block.indent -= depth
        block.add(f"return {name}" if start else "return -1")
        return self._solution("loops", block, naming)

    def _start(self, block: Block) -> tuple[str, str]:
        if self.kind == "first":
            return "", ""
        wanted = {
            "count": ("count", "0"),
            "sum": ("total", "0"),
            "list": ("values", "[]"),
            "largest": ("best", "-1"),
            "product": ("product", "1"),
        }[self.kind]
        name = block.name(wanted[0])
        return f"{name} = {wanted[1]}", name

    def _collect(self, block: Block, naming: Naming, name: str) -> None:
        value = self.value.python(naming)
        if self.kind == "count":
            block.add(f"{name} += 1")
        elif self.kind == "sum":
            block.add(f"{name} += {value}")
        elif self.kind == "list":
            block.add(f"{name}.append({value})")
        elif self.kind == "largest":
            block.add(f"{name} = max({name}, {value})")
        elif self.kind == "first":
            block.add(f"return {value}")
        else:
            block.add(f"{name} = {name} * {value:unary} % {_MODULUS}")

    def _while(self) -> Solution:
        """A loop that counts by itself; pairs keep a range inside."""
        naming = self._naming(0, uses_helpers=True)
        block = self._block()
        start, name = self._start(block)
        if start:
            block.add(start)
        outer = "first" if self.is_pairs else "number"
        low = "1" if len(self.bounds) == 1 else self.bounds[0].name
        block.add(f"{outer} = {low}")
        with block.inside(f"while {outer} <= {self.bounds[-1].name}:"):
            if self.is_pairs:
                with (
                    block.inside(f"for second in {self._spans()[1][1]}:"),
                    block.inside(f"if {self.test.python(naming)}:"),
                ):
                    self._collect(block, naming, name)
            else:
                with block.inside(f"if {self.test.python(naming)}:"):
                    self._collect(block, naming, name)
            block.add(f"{outer} += 1")
        block.add(f"return {name}" if start else "return -1")
        return self._solution("while", block, naming)

    def _solution(self, style: str, block: Block, naming: Naming) -> Solution:
        parameters = ", ".join(f"{one.name}: int" for one in self.bounds)
        signature = f"def {self.name}({parameters}) -> {self._returns().python()}:"
        return Solution(style, module([*naming.helpers.values(), function(signature, block)]))

    def _returns(self) -> Type:
        return ListOf(Int()) if self.kind == "list" else Int()

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Nothing, one number, few; then more."""
        most = 12 if self.is_pairs or self.kind == "list" else _HIGH
        if len(self.bounds) == 1:
            yield from ((n,) for n in (0, 1, 2, 3, most))
            while True:
                yield (rng.randint(1, most),)
        for low, high in ((1, 0), (3, 3), (0, 1), (2, 9)):
            yield low, high
        while True:
            low = rng.randint(self.bounds[0].range[0], 20)
            yield low, low + rng.randint(0, most)

    def problem(self) -> Problem:
        return Problem(
            family="arithmetic",
            spec=["ranges", self.kind, len(self.bounds), self.test.spec(), self.value.spec()],
            name=self.name,
            parameters=tuple(Parameter(one.name, one.type) for one in self.bounds),
            returns=self._returns(),
            statement=self.statement,
            solutions=(self._comprehension(), self._loops(), self._while()),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"All {'pairs of numbers' if self.is_pairs else 'numbers'} in a range.",
        )


def _samples(rng: Random, variables: Sequence[Variable]) -> list[dict[str, Value]]:
    """Numbers in order of size, and a bound above them, as they come together."""
    names = [*(one.name for one in variables), "bound"]
    low, high = variables[0].range
    return [
        dict(zip(names, sorted(rng.sample(range(low, high), len(names))), strict=True))
        for _ in range(60)
    ]


def draw_ranges(rng: Random) -> Problem:
    is_pairs = rng.random() < 0.45
    is_open = rng.random() < 0.5
    least = 0 if is_open or rng.random() < 0.6 else -20
    if is_open:
        bounds = [Variable(rng.choice(["n", "limit", "top"]), Int(0, _HIGH), "int", (0, _HIGH))]
    else:
        low_name, high_name = rng.choice([("low", "high"), ("start", "stop"), ("a", "b")])
        bounds = [
            Variable(low_name, Int(least, 20), "int", (least, 20)),
            Variable(high_name, Int(least, 60), "int", (least, 60)),
        ]
    span = (1 if is_open else least, 60)
    one = Variable("i", Int(*span), "int", span)
    other = Variable("j", Int(*span), "int", span)
    variables = [one, other] if is_pairs else [one]
    uses_bound = not is_pairs and rng.random() < 0.2
    bound = Variable("bound", Int(*span), "int", span)
    tested = [*variables, bound] if uses_bound else variables
    samples = _samples(rng, variables)
    test = draw_test(rng, tested, 2 if not uses_bound and rng.random() < 0.5 else 1, samples)
    kind: Kind = rng.choices(
        ["count", "sum", "largest", "list", "first", "product"], [2, 2, 1, 1, 0.8, 0.6]
    )[0]  # type: ignore[assignment]  # one of the kinds
    if kind == "first" and is_pairs:  # which pair is the first would be one more rule
        raise NothingDrawn
    size = 0 if kind in ("list", "first") and not is_pairs and rng.random() < 0.4 else 1
    valued = variables if rng.random() < 0.6 else [one]
    depth = rng.choice([size, size, 2 * size])
    value = draw_integer(rng, valued if size else [one], depth, samples)
    if kind == "count":
        value = draw_integer(rng, [one], 0)
    if value.range()[0] < 0 and kind in ("largest", "first", "product"):
        raise NothingDrawn
    noun = "pairs" if is_pairs else "numbers"
    verb = {
        "count": "count",
        "sum": "add_up",
        "list": "list",
        "first": "value_of_first",
        "product": "product_of",
        "largest": "largest_of",
    }.get(kind, kind)
    word = adjective(rng, test) or rng.choice(["special", "good", "chosen", "fitting"])
    return Ranges(
        f"{verb}_{word}_{noun}", kind, is_pairs, bounds, variables, test, value, uses_bound
    ).problem()
