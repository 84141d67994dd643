"""Endings that ask elements and neighbours: any, all, the longest run, how many pairs."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.families.pipeline.endings import SETTLED
from megatron_codemix.corpus.synthesis.families.pipeline.flow import (
    Flow,
    Items,
    Writer,
    append,
    settled,
)
from megatron_codemix.corpus.synthesis.families.pipeline.stages import (
    Environment,
    Subjects,
    of_item,
)
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.english import Subject, with_article
from megatron_codemix.corpus.synthesis.grammar.node import Node, Variable
from megatron_codemix.corpus.synthesis.values import Bool, Int, Type, Value


@dataclass(frozen=True)
class AnyAll:
    kind: Literal["any", "all"]
    test: Node
    items: Items

    @property
    def returns(self) -> Type:
        return Bool()

    def spec(self) -> Any:
        return [self.kind, self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        name = self.items.variable.name
        holds = [self.test.evaluate({**environment, name: one}) for one in values]
        return (True in holds) if self.kind == "any" else (False not in holds)

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        condition = self.test.condition(rng, of_item(items, others))
        single = condition.relative(is_plural=False)
        if self.kind == "any":
            return rng.choice(
                [
                    f"`True` if among {nouns} there is at least one {single}, else `False`",
                    f"whether {nouns} include {with_article(items.singular)} {single} (`False` "
                    f"if there are "
                    "none)",
                ]
            )
        return rng.choice(
            [
                f"`True` if each of {nouns} is one {single} (also if there are none), else `False`",
                f"whether every one of {nouns} is {with_article(items.singular)} {single}; "
                f"without any, "
                "the answer is `True`",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        block = writer.block
        if flow.element is not None:
            flow = settled(writer, flow, self.items, *SETTLED)
        names = {self.items.variable.name: flow.items.name}
        test = writer.code(self.test, names, "fits")
        if writer.form == "comprehension":
            head = f"for {flow.items.name} in {flow.source}"
            tail = f" if {flow.condition():or}" if flow.tests else ""
            block.add(f"return {self.kind}({test} {head}{tail})")
            return
        decisive = test if self.kind == "any" else negated(test)
        shown = replace(flow, tests=(*flow.tests, decisive))
        with block.inside(f"for {flow.items.name} in {flow.source}:"):
            append(block, shown, f"return {self.kind == 'any'}")
        block.add(f"return {self.kind == 'all'}")

    def names(self) -> tuple[str, ...]:
        return ("has", "contains", "any") if self.kind == "any" else ("all", "only", "are_all")


@dataclass(frozen=True)
class LongestRun:
    """Length of the longest stretch of neighbours that all pass a test."""

    test: Node
    items: Items

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["longest run", self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        name = self.items.variable.name
        marks = "".join(
            "x" if self.test.evaluate({**environment, name: one}) else "." for one in values
        )
        return max(map(len, marks.split(".")))

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        condition = self.test.condition(rng, of_item(items, others))
        plural = condition.relative(is_plural=True)
        single = condition.relative(is_plural=False)
        return rng.choice(
            [
                f"the length of the longest unbroken run, among {nouns}, of neighbouring "
                f"{items.plural} {plural} (0 if there is no such {items.singular})",
                f"the length of the longest stretch of {nouns} in a row, each of which is one "
                f"{single} (0 if there is none)",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        block = writer.block
        flow = settled(writer, flow, self.items, *SETTLED)
        item, source = self.items.name, flow.source
        names = {self.items.variable.name: item}
        if writer.form == "comprehension":
            test = writer.code(self.test, {self.items.variable.name: f"{source}[end]"})
            longest = block.name("longest", "best")
            block.add(f"{longest} = 0")
            block.add("start = 0")
            with block.inside(f"while start < len({source}):"):
                block.add("end = start")
                with block.inside(f"while end < len({source}) and {test:and}:"):
                    block.add("end += 1")
                block.add(f"{longest} = max({longest}, end - start)")
                block.add("start = end + 1")
            block.add(f"return {longest}")
            return
        test = writer.code(self.test, names, "fits")
        longest, length = block.name("longest", "best"), block.name("length", "run")
        block.add(f"{longest} = 0")
        block.add(f"{length} = 0")
        with block.inside(f"for {item} in {source}:"):
            with block.inside(f"if {test}:"):
                block.add(f"{length} += 1")
                block.add(f"{longest} = max({longest}, {length})")
            with block.inside("else:"):
                block.add(f"{length} = 0")
        block.add(f"return {longest}")

    def names(self) -> tuple[str, ...]:
        return "longest_run", "longest_streak", "longest_stretch"


@dataclass(frozen=True)
class Neighbours:
    """How many pairs of neighbours pass a test of both."""

    test: Node
    pair: tuple[Variable, Variable]
    items: Items

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["count neighbours", self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        first, second = (one.name for one in self.pair)
        return sum(
            bool(self.test.evaluate({**environment, first: values[i], second: values[i + 1]}))
            for i in range(len(values) - 1)
        )

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        subjects = {
            **others,
            self.pair[0].name: Subject("the first of the two"),
            self.pair[1].name: Subject("the second of the two"),
        }
        clause = self.test.condition(rng, subjects).clause()
        return rng.choice(
            [
                f"the number of pairs of direct neighbours, among {nouns}, for which {clause}",
                f"how many times, among {nouns}, two stand side by side such that {clause}",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        flow = settled(writer, flow, self.items, *SETTLED)
        block, source = writer.block, flow.source
        first, second = (one.name for one in self.pair)
        if writer.form == "comprehension":
            test = writer.code(self.test, {first: "left", second: "right"}, "fit_together")
            block.add(f"return sum(1 for left, right in zip({source}, {source}[1:]) if {test:or})")
            return
        count = block.name("count", "pairs")
        block.add(f"{count} = 0")
        with block.inside(f"for index in range(len({source}) - 1):"):
            names = {first: f"{source}[index]", second: f"{source}[index + 1]"}
            with block.inside(f"if {writer.code(self.test, names)}:"):
                block.add(f"{count} += 1")
        block.add(f"return {count}")

    def names(self) -> tuple[str, ...]:
        return "count_pairs", "matching_neighbours", "adjacent_pairs"
