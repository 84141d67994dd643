"""Stages that treat each element by itself, or the list as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, Protocol

from megatron_codemix.corpus.synthesis.families.pipeline.flow import Flow, Items, Writer, settled
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.english import Subject, count_word, ordinal
from megatron_codemix.corpus.synthesis.grammar.node import Node
from megatron_codemix.corpus.synthesis.values import Value

Environment = Mapping[str, Value]
"""Values of the function's other parameters, by name of their variables."""
Subjects = Mapping[str, Subject]


class Stage(Protocol):
    @property
    def items(self) -> Items:
        """What it leaves."""

    def spec(self) -> Any:
        """JSON that decides the stage."""

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        """The interpreter's reading."""

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        """An imperative clause: "keep only the scores that are even"."""

    def write(self, writer: Writer, flow: Flow) -> Flow:
        """Its Python; what it need not write yet stays in the flow."""


def of_item(before: Items, others: Subjects) -> dict[str, Subject]:
    """Subjects of a tree over one element, "it", and the other parameters."""
    return {**others, before.variable.name: Subject(f"the {before.singular}", True)}


@dataclass(frozen=True)
class Keep:
    test: Node
    items: Items

    def spec(self) -> Any:
        return ["keep", self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        name = self.items.variable.name
        return [one for one in values if self.test.evaluate({**environment, name: one})]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        condition = self.test.condition(rng, of_item(before, others))
        plural = condition.relative(is_plural=True)
        single = condition.relative(is_plural=False)
        return rng.choice(
            [
                f"keep only the {before.plural} {plural}",
                f"leave out every {before.singular} except those {plural}",
                f"drop all {before.plural} but the ones {plural}",
                f"select each {before.singular} {single}, in the given order",
                f"remove all {before.plural} other than those {plural}",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        if flow.element is not None:
            flow = settled(writer, flow, self.items, "values", "results", "changed")
        names = {self.items.variable.name: flow.items.name}
        test = writer.code(self.test, names, "is_wanted", "is_kept", "may_stay")
        return replace(flow, tests=(*flow.tests, test))


@dataclass(frozen=True)
class Change:
    value: Node
    before: Items
    items: Items

    def spec(self) -> Any:
        return ["change", self.value.spec()]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        name = self.before.variable.name
        return [self.value.evaluate({**environment, name: one}) for one in values]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        subjects = of_item(before, others)
        if self.value.rule is not None and self.value.rule.name == "conditional":
            test, first, second = self.value.arguments
            condition = test.condition(rng, subjects).clause()
            one, other = first.phrase(rng, subjects), second.phrase(rng, subjects)
            return rng.choice(
                [
                    f"replace each {before.singular}: if {condition}, by {one}; otherwise by "
                    f"{other}",
                    f"turn each {before.singular} into {one} if {condition}, and into {other} "
                    "otherwise",
                ]
            )
        phrase = self.value.phrase(rng, subjects)
        return rng.choice(
            [
                f"replace each {before.singular} by {phrase}",
                f"turn every {before.singular} into {phrase}",
                f"for each {before.singular}, compute {phrase} and go on with the results",
                f"exchange each {before.singular} for {phrase}",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        if flow.element is not None:
            flow = settled(writer, flow, self.before, "values", "results", "changed")
        names = {self.before.variable.name: flow.items.name}
        return replace(
            flow, element=writer.code(self.value, names, "converted", "changed_value", "adjusted")
        )


WholeKind = Literal[
    "reverse", "ascending", "descending", "first", "last", "skip", "every", "unique"
]


@dataclass(frozen=True)
class Whole:
    """An operation on the list as it stands; `count` where the kind has one."""

    kind: WholeKind
    items: Items
    count: int = 0

    def spec(self) -> Any:
        return [self.kind, self.count] if self.count else [self.kind]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        size = len(values)
        if self.kind == "reverse":
            return [values[size - 1 - index] for index in range(size)]
        if self.kind in ("ascending", "descending"):
            return _inserted(values, is_descending=self.kind == "descending")
        if self.kind == "unique":
            return [one for index, one in enumerate(values) if values.index(one) == index]
        wanted = {
            "first": range(min(self.count, size)),
            "last": range(max(0, size - self.count), size),
            "skip": range(min(self.count, size), size),
            "every": range(0, size, max(1, self.count)),
        }[self.kind]
        return [values[index] for index in wanted]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        nouns, noun = before.plural, before.singular
        many = count_word(self.count)
        is_text = before.variable.kind == "str"
        order = " by character codes" if is_text else ""
        return rng.choice(
            {
                "reverse": [f"reverse the order of the {nouns}", "turn the list around"],
                "ascending": [
                    f"sort the {nouns} in ascending order{order}",
                    f"arrange the {nouns} from smallest to largest{order}",
                ],
                "descending": [
                    f"sort the {nouns} in descending order{order}",
                    f"arrange the {nouns} from largest to smallest{order}",
                ],
                "unique": [
                    f"remove repeated {nouns}, keeping the first occurrence of each",
                    f"keep each different {noun} once, at the place of its first occurrence",
                ],
                "first": [
                    f"keep the first {many} {nouns} (all of them if there are fewer)",
                    f"cut the list off after the {ordinal(self.count)} {noun}, if it is longer",
                ],
                "last": [
                    f"keep the last {many} {nouns} (all of them if there are fewer)",
                    f"forget everything but the last {many} {nouns} (keep all if there are fewer)",
                ],
                "skip": [
                    f"skip the first {many} {nouns} (nothing is left if there are no more)",
                    f"drop the first {many} {nouns} (or all, if there are fewer)",
                ],
                "every": [
                    f"keep every {ordinal(self.count)} {noun}, beginning with the first one",
                    f"keep the first {noun}, pass over the next {count_word(self.count - 1)}, keep "
                    "one again, and so on to the end",
                ],
            }[self.kind]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        is_sort = self.kind in ("ascending", "descending")
        if is_sort and not flow.is_plain() and writer.form == "comprehension":
            return self._named(writer, self._sorted(flow.iterated()))
        flow = settled(writer, flow, self.items, "kept", "values", "results", "rest")
        if self.kind == "unique":
            return self._unique(writer, flow)
        source = flow.source
        if self.kind == "reverse" and writer.form == "loop":
            return self._named(writer, f"list(reversed({source}))")
        text = {
            "reverse": f"{source}[::-1]",
            "first": f"{source}[:{self.count}]",
            "last": f"{source}[-{self.count}:]",
            "skip": f"{source}[{self.count}:]",
            "every": f"{source}[::{self.count}]",
        }.get(self.kind) or self._sorted(source)
        return self._named(writer, text)

    def _sorted(self, source: str) -> str:
        if self.kind == "ascending":
            return f"sorted({source})"
        if " for " in source:
            source = f"[{source}]"
        return f"sorted({source}, reverse=True)"

    def _named(self, writer: Writer, text: str) -> Flow:
        wanted = {
            "reverse": ("backwards", "turned"),
            "ascending": ("ordered", "ascending"),
            "descending": ("ordered", "descending"),
            "unique": ("unique", "distinct"),
            "first": ("head", "start"),
            "last": ("tail", "end"),
            "skip": ("rest", "remaining"),
            "every": ("chosen", "picked"),
        }[self.kind]
        name = writer.block.name(*wanted)
        writer.block.add(f"{name} = {text}")
        return Flow(name, self.items)

    def _unique(self, writer: Writer, flow: Flow) -> Flow:
        item, source = self.items.name, flow.source
        if writer.form == "comprehension" and not writer.uses_functions:
            head = f"for index, {item} in enumerate({source})"
            text = f"[{item} {head} if {item} not in {source}[:index]]"
            return self._named(writer, text)
        name = writer.block.name("unique", "distinct")
        writer.block.add(f"{name} = []")
        with (
            writer.block.inside(f"for {item} in {source}:"),
            writer.block.inside(f"if {item} not in {name}:"),
        ):
            writer.block.add(f"{name}.append({item})")
        return Flow(name, self.items)


def _inserted(values: list[Value], *, is_descending: bool) -> list[Value]:
    """Sorted by insertion: the interpreter's own way."""
    ordered: list[Value] = []
    for one in values:
        place = len(ordered)
        while place and (ordered[place - 1] < one if is_descending else one < ordered[place - 1]):
            place -= 1
        ordered.insert(place, one)
    return ordered


@dataclass(frozen=True)
class SortBy:
    key: Node
    items: Items
    is_descending: bool

    def spec(self) -> Any:
        return ["sort by", self.key.spec(), self.is_descending]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        name = self.items.variable.name
        keys = [self.key.evaluate({**environment, name: one}) for one in values]
        order: list[int] = []
        for index, key in enumerate(keys):
            place = len(order)
            while place and (
                keys[order[place - 1]] < key if self.is_descending else key < keys[order[place - 1]]
            ):
                place -= 1
            order.insert(place, index)
        return [values[index] for index in order]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        phrase = self.key.phrase(rng, of_item(before, others))
        order = "descending" if self.is_descending else "ascending"
        first = "largest" if self.is_descending else "smallest"
        return rng.choice(
            [
                f"sort the {before.plural} in {order} order of a key; the key of each "
                f"{before.singular} is {phrase}, and equal keys keep their order",
                f"order the {before.plural} so that those come first for which the following is "
                f"{first}: {phrase}. Where it is equal, the original order stays",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        flow = settled(writer, flow, self.items, "kept", "values", "results", "rest")
        item = self.items.name
        name = writer.block.name("ordered", "arranged")
        key = writer.code(self.key, {self.items.variable.name: item}, "sort_key")
        is_call = key.text == f"sort_key({item})"
        key_text = "sort_key" if is_call else f"lambda {item}: {key}"
        # sorted(reverse=True) keeps the order of equal elements, as the statement wants it.
        more = ", reverse=True" if self.is_descending else ""
        writer.block.add(f"{name} = sorted({flow.source}, key={key_text}{more})")
        return Flow(name, self.items)


@dataclass(frozen=True)
class While:
    """What comes before the first element that fails the test, or what is left from it on."""

    test: Node
    items: Items
    is_taken: bool

    def spec(self) -> Any:
        return ["take while" if self.is_taken else "drop while", self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        name = self.items.variable.name
        holds = [self.test.evaluate({**environment, name: one}) for one in values]
        border = holds.index(False) if False in holds else len(values)
        return values[:border] if self.is_taken else values[border:]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        subjects, noun = of_item(before, others), before.singular
        single = self.test.condition(rng, subjects).relative(is_plural=False)
        ways = [
            f"keep {before.plural} from the start for as long as each is one {single}"
            if self.is_taken
            else f"drop {before.plural} from the start for as long as each is one {single}"
        ]
        if (opposite := self.test.opposite()) is not None:
            first = opposite.condition(rng, subjects).relative(is_plural=False)
            ways.append(
                f"walk through the {before.plural} from the start, stop before the first {noun} "
                f"{first}, and keep what was passed (all, if there is no such {noun})"
                if self.is_taken
                else f"throw {before.plural} away from the start until one appears {first}; that "
                f"one and everything after it stays (nothing, if there is no such {noun})"
            )
        return rng.choice(ways)

    def write(self, writer: Writer, flow: Flow) -> Flow:
        flow = settled(writer, flow, self.items, "values", "results", "kept")
        block, source = writer.block, flow.source
        variable = self.items.variable.name
        index = block.name("end" if self.is_taken else "start", "index", "position")
        block.add(f"{index} = 0")
        if writer.form == "comprehension":
            test = writer.code(self.test, {variable: f"{source}[{index}]"})
            with block.inside(f"while {index} < len({source}) and {test:and}:"):
                block.add(f"{index} += 1")
        else:
            test = writer.code(self.test, {variable: self.items.name})
            with block.inside(f"for {self.items.name} in {source}:"):
                with block.inside(f"if {negated(test)}:"):
                    block.add("break")
                block.add(f"{index} += 1")
        name = block.name("leading" if self.is_taken else "rest", "part", "remaining")
        part = f":{index}" if self.is_taken else f"{index}:"
        block.add(f"{name} = {source}[{part}]")
        return Flow(name, self.items)
