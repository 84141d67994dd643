"""Endings that are numbers: sums, counts, extremes, differences, checksums."""

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
from megatron_codemix.corpus.synthesis.grammar.node import Node
from megatron_codemix.corpus.synthesis.values import Int, Type, Value


@dataclass(frozen=True)
class Total:
    items: Items

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["sum"]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        total = 0
        for one in values:
            total = total + one
        return total

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        return rng.choice(
            [f"the sum of {nouns} (0 if there are none)", f"the total of {nouns}, or 0 without any"]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        if writer.form == "comprehension":
            writer.block.add(f"return sum({flow.iterated()})")
            return
        total = writer.block.name("total", "overall", "grand_total")
        writer.block.add(f"{total} = 0")
        with writer.block.inside(f"for {flow.items.name} in {flow.source}:"):
            append(writer.block, flow, f"{total} += {flow.value()}")
        writer.block.add(f"return {total}")

    def names(self) -> tuple[str, ...]:
        return "total", "sum", "add_up"


@dataclass(frozen=True)
class Count:
    """How many there are, or how many different ones."""

    items: Items
    is_distinct: bool = False

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["count distinct" if self.is_distinct else "count"]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        seen: list[Value] = []
        for one in values:
            if not (self.is_distinct and one in seen):
                seen.append(one)
        return len(seen)

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        if self.is_distinct:
            return rng.choice(
                [
                    f"how many different values there are among {nouns}",
                    f"the number of distinct values among {nouns}",
                ]
            )
        return rng.choice([f"the number of {nouns}", f"the count of {nouns}"])

    def write(self, writer: Writer, flow: Flow) -> None:
        block = writer.block
        if self.is_distinct:
            inside = flow.iterated()
            if writer.form == "comprehension":
                block.add(f"return len(set({inside}))")
                return
            seen = block.name("seen", "distinct")
            block.add(f"{seen} = set()")
            with block.inside(f"for {flow.items.name} in {flow.source}:"):
                append(block, flow, f"{seen}.add({flow.value()})")
            block.add(f"return len({seen})")
            return
        if flow.is_plain():
            block.add(f"return len({flow.source})")
        elif writer.form == "comprehension":
            counted = replace(flow, element=None)
            block.add(f"return {f'len({counted.listed()})' if not flow.tests else _ones(counted)}")
        else:
            count = block.name("count", "number")
            block.add(f"{count} = 0")
            with block.inside(f"for {flow.items.name} in {flow.source}:"):
                append(block, flow, f"{count} += 1")
            block.add(f"return {count}")

    def names(self) -> tuple[str, ...]:
        return "count", "number_of", "how_many"


def _ones(flow: Flow) -> str:
    return f"sum(1 for {flow.items.name} in {flow.source} if {flow.condition():or})"


@dataclass(frozen=True)
class Extreme:
    """The largest or smallest element; `default` where there is none."""

    kind: Literal["max", "min"]
    default: int
    items: Items

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return [self.kind, self.default]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        ordered = sorted(values)
        return ordered[-1 if self.kind == "max" else 0] if ordered else self.default

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        what = "largest" if self.kind == "max" else "smallest"
        return rng.choice(
            [
                f"the {what} of {nouns}, or {self.default} if there are none",
                f"the {what} of {nouns} ({self.default} if nothing is left)",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        block = writer.block
        if writer.form == "comprehension":
            inside = flow.source if flow.is_plain() else f"({flow.clauses()})"
            block.add(f"return {self.kind}({inside}, default={self.default})")
            return
        flow = settled(writer, flow, self.items, *SETTLED)
        with block.inside(f"if not {flow.source}:"):
            block.add(f"return {self.default}")
        best = block.name("largest" if self.kind == "max" else "smallest", "best")
        item = self.items.name
        block.add(f"{best} = {flow.source}[0]")
        with (
            block.inside(f"for {item} in {flow.source}[1:]:"),
            block.inside(f"if {item} {'>' if self.kind == 'max' else '<'} {best}:"),
        ):
            block.add(f"{best} = {item}")
        block.add(f"return {best}")

    def names(self) -> tuple[str, ...]:
        return (
            ("largest", "highest", "top") if self.kind == "max" else ("smallest", "lowest", "least")
        )


@dataclass(frozen=True)
class Balance:
    """Sum of the elements that pass a test, less the sum of the others; or which side has more."""

    test: Node
    items: Items
    counts: bool

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["balance of counts" if self.counts else "balance of sums", self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        name = self.items.variable.name
        parts: dict[bool, list[Value]] = {True: [], False: []}
        for one in values:
            parts[self.test.evaluate({**environment, name: one})].append(one)
        if self.counts:
            return len(parts[True]) - len(parts[False])
        return sum(parts[True]) - sum(parts[False])

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        plural = self.test.condition(rng, of_item(items, others)).relative(is_plural=True)
        what = "number" if self.counts else "sum"
        return rng.choice(
            [
                f"a difference: the {what} of those among {nouns} {plural}, minus the {what} of "
                f"all "
                f"others (each {what} is 0 where there are none)",
                f"the {what} of the {items.plural} {plural} less the {what} of the remaining ones, "
                f"taken over {nouns}; an empty group counts as 0",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        block = writer.block
        if writer.form == "comprehension":
            flow = settled(writer, flow, self.items, *SETTLED)
            names = {self.items.variable.name: flow.items.name}
            test = writer.code(self.test, names, "is_counted")
            item = flow.items.name
            part = block.name("matching", "counted")
            block.add(f"{part} = [{item} for {item} in {flow.source} if {test:or}]")
            if self.counts:
                block.add(f"return 2 * len({part}) - len({flow.source})")
            else:
                block.add(f"return 2 * sum({part}) - sum({flow.source})")
            return
        flow = settled(writer, flow, self.items, *SETTLED)
        names = {self.items.variable.name: flow.items.name}
        test = writer.code(self.test, names, "is_counted")
        balance = block.name("balance", "difference")
        amount = "1" if self.counts else flow.items.name
        block.add(f"{balance} = 0")
        with block.inside(f"for {flow.items.name} in {flow.source}:"):
            with block.inside(f"if {test}:"):
                block.add(f"{balance} += {amount}")
            with block.inside("else:"):
                block.add(f"{balance} -= {amount}")
        block.add(f"return {balance}")

    def names(self) -> tuple[str, ...]:
        return "balance", "compare", "difference"


@dataclass(frozen=True)
class Folded:
    """A checksum: from `start`, each element in turn makes (value * factor + element) % modulus."""

    start: int
    factor: int
    modulus: int
    items: Items

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["fold", self.start, self.factor, self.modulus]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        total = self.start * self.factor ** len(values)
        for power, one in enumerate(reversed(values)):
            total += one * self.factor**power
        return total % self.modulus

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        return rng.choice(
            [
                f"a checksum of {nouns}: start with {self.start}, and for each of them in order "
                f"multiply the checksum by {self.factor}, add the {items.singular} and take the "
                f"remainder modulo {self.modulus} (from 0 to {self.modulus - 1})",
                f"the code of {nouns}, worked out from left to right. It begins as {self.start}; "
                f"every "
                f"{items.singular} changes it to the remainder modulo {self.modulus} of "
                f"{self.factor} "
                f"times the code plus the {items.singular}. Remainders are never negative",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        block = writer.block
        value = block.name("checksum", "code")
        block.add(f"{value} = {self.start}")
        factor = f"{value} * {self.factor}"
        with block.inside(f"for {flow.items.name} in {flow.source}:"):
            append(block, flow, f"{value} = ({factor} + {flow.value():product}) % {self.modulus}")
        block.add(f"return {value}")

    def names(self) -> tuple[str, ...]:
        return "checksum", "code", "fingerprint"
