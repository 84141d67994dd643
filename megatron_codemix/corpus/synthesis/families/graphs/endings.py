"""What is returned about the places that an algorithm has found, each perhaps with a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.grammar.code import Code
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Property
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block

Kind = Literal["count", "list", "sum", "largest", "smallest"]


@dataclass(frozen=True)
class Ending:
    """Over rows (values by variable): those that pass `test` are counted, listed, or `value` of
    them is added up or its extreme taken (-1 without any). Rows come by rising `key`."""

    kind: Kind
    test: Node | None
    value: Node
    key: Variable

    @property
    def returns(self) -> Type:
        return ListOf(Int()) if self.kind == "list" else Int()

    def spec(self) -> Any:
        return [self.kind, self.test and self.test.spec(), self.value.spec()]

    def apply(self, rows: Sequence[Mapping[str, Value]]) -> Value:
        kept = [row for row in rows if self.test is None or self.test.evaluate(row)]
        values = [self.value.evaluate(row) for row in kept]
        if self.kind == "count":
            return len(kept)
        if self.kind == "list":
            return values
        if self.kind == "sum":
            return sum(values)
        values.sort()
        return values[-1 if self.kind == "largest" else 0] if values else -1

    def verb(self, rng: Random) -> str:
        """What a function's name begins with."""
        verbs = {
            "count": ("count", "number_of"),
            "list": ("list", "collect", "find"),
            "sum": ("sum_over", "total_of"),
            "largest": ("largest_of", "best_of"),
            "smallest": ("smallest_of", "least_of"),
        }
        return rng.choice(verbs[self.kind])

    def variables(self) -> set[str]:
        """Names of the row's values that are read, besides the place itself."""
        tested = set() if self.test is None else self.test.variables()
        return tested if self.kind == "count" else tested | self.value.variables()

    def notes(self) -> list[str]:
        nodes = [self.value] if self.test is None else [self.test, self.value]
        return sorted(set().union(*(one.notes() for one in nodes)))

    def say(
        self, rng: Random, noun: str, nouns: str, which: str, subjects: Mapping[str, Subject]
    ) -> str:
        """Behind "return". `which`: a relative clause that says which places count at all."""
        such = which
        if self.test is not None:
            such = f"{which} and for which {self.test.condition(rng, subjects).clause()}"
        of = self.value.phrase(rng, subjects)
        is_itself = self.value.rule is None and self.value.variables() == {self.key.name}
        if self.kind == "count":
            return f"the number of {nouns} {such}"
        if self.kind == "list":
            if is_itself:
                return f"the numbers of all {nouns} {such}, as a list in ascending order"
            return (
                f"a list with one entry for each {noun} {such}, in ascending order of their "
                f"numbers: {of}"
            )
        if self.kind == "sum":
            return f"a sum over all {nouns} {such} (0 if there is none): for each, it adds {of}"
        if is_itself:
            return f"the {self.kind} number of a {noun} {such}, or -1 if there is none"
        return (
            f"the {self.kind} value of the following over all {nouns} {such}: {of}; "
            "-1 if there is no such one"
        )

    def write(
        self, block: Block, naming: Naming, found: str, source: str, *, is_loop: bool
    ) -> None:
        """`found`: a condition on a row, or ""; `source`: what is iterated over, with its names, as
        in "place in range(5)"."""
        tests = [found] if found else []
        if self.test is not None:
            tests.append(
                f"{self.test.python(naming):and}" if tests else f"{self.test.python(naming)}"
            )
        condition = f" if {' and '.join(tests)}" if tests else ""
        value = self.value.python(naming)
        if is_loop:
            self._loop(block, condition, value, source)
            return
        rows = f"for {source}{condition}"
        if self.kind == "count":
            block.add(f"return sum(1 {rows})")
        elif self.kind == "list":
            block.add(f"return [{value} {rows}]")
        elif self.kind == "sum":
            block.add(f"return sum({value} {rows})")
        else:
            function = "max" if self.kind == "largest" else "min"
            block.add(f"return {function}(({value} {rows}), default=-1)")

    def _loop(self, block: Block, condition: str, value: Code, source: str) -> None:
        name = block.name(
            {"count": "count", "list": "chosen", "sum": "total"}.get(self.kind, "best")
        )
        block.add(f"{name} = {'[]' if self.kind == 'list' else '-1' if name == 'best' else '0'}")
        with block.inside(f"for {source}:"):
            if condition:
                with block.inside(f"{condition.strip()}:"):
                    self._collect(block, name, value)
            else:
                self._collect(block, name, value)
        block.add(f"return {name}")

    def _collect(self, block: Block, name: str, value: Code) -> None:
        if self.kind == "count":
            block.add(f"{name} += 1")
        elif self.kind == "sum":
            block.add(f"{name} += {value}")
        elif self.kind == "list":
            block.add(f"{name}.append({value})")
        else:
            function = "max" if self.kind == "largest" else "min"
            first = f"{value:or} if {name} == -1 else " if function == "min" else ""
            block.add(f"{name} = {first}{function}({name}, {value})")


def draw_ending(rng: Random, key: Variable, measure: Variable | None = None) -> Ending:
    """`measure`: a number that comes with each place, such as its distance. Values are never
    negative, so that -1 always means that there is none."""
    kinds: list[Kind] = ["count", "list", "sum", "largest", "smallest"]
    kind = rng.choices(kinds, [1.0, 1.4, 1.4, 0.8, 0.8])[0]
    both = [key] if measure is None else [key, measure]
    tested = both if rng.random() < 0.4 else [measure or key]
    test = draw_test(rng, tested, 1) if kind == "count" or rng.random() < 0.55 else None
    size = 0 if kind == "list" and rng.random() < 0.5 else rng.choice([1, 1, 2])
    valued = [measure or key] if rng.random() < 0.6 else both
    if kind == "count" or (kind == "list" and size == 0):
        value = draw_integer(rng, [key], 0)
    else:
        value = draw_integer(rng, valued, size)
    if value.range()[0] < 0 and kind in ("largest", "smallest"):
        raise NothingDrawn
    return Ending(kind, test, value, key)


def properties_of(ending: Ending) -> tuple[Property, ...]:
    """Of results over places, the first argument being their number."""
    if ending.kind == "count":
        return (
            Property("At most all places count.", lambda given, result: 0 <= result <= given[0]),
        )
    if ending.kind == "list":
        return (Property("A place has at most one entry.", lambda given, r: len(r) <= given[0]),)
    return ()
