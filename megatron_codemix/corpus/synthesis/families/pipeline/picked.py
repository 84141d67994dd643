"""Endings that are elements: all of them, the best one, where one stands, a joined text."""

from dataclasses import dataclass
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
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Str, Type, Value, literal


@dataclass(frozen=True)
class Listed:
    """The elements themselves."""

    items: Items

    @property
    def returns(self) -> Type:
        return ListOf(self.items.type)

    def spec(self) -> Any:
        return ["list"]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        return list(values)

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        return rng.choice(
            ["{nouns} as a list", "a list of {nouns}", "a new list with {nouns}"]
        ).format(nouns=nouns)

    def write(self, writer: Writer, flow: Flow) -> None:
        if writer.form == "comprehension":
            text = f"list({flow.source})" if flow.is_plain() and not writer.block.lines else ""
            writer.block.add(f"return {text or flow.listed()}")
            return
        flow = settled(writer, flow, self.items, *SETTLED)
        is_untouched = not writer.block.lines
        writer.block.add(f"return list({flow.source})" if is_untouched else f"return {flow.source}")

    def names(self) -> tuple[str, ...]:
        return "select", "collect", "process", "transform", "prepare"


@dataclass(frozen=True)
class Best:
    """The element whose key is largest or smallest; the first one of several."""

    kind: Literal["max", "min"]
    key: Node
    default: Value
    items: Items

    @property
    def returns(self) -> Type:
        return self.items.type

    def spec(self) -> Any:
        return [f"{self.kind} by", self.key.spec(), self.default]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        name = self.items.variable.name
        best, best_key = self.default, None
        for one in reversed(values):
            key = self.key.evaluate({**environment, name: one})
            if best_key is None or not (key < best_key if self.kind == "max" else key > best_key):
                best, best_key = one, key
        return best

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        phrase = self.key.phrase(rng, of_item(items, others))
        size = "largest" if self.kind == "max" else "smallest"
        default = f"`{literal(self.default)}`"
        noun = items.singular
        return rng.choice(
            [
                f"the first {noun} among {nouns} for which the following is {size}: {phrase}; the "
                f"result is {default} if there are none",
                f"that one of {nouns} for which {phrase} is {size}; if several {items.plural} tie, "
                f"the earliest wins, and without any the answer is {default}",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        flow = settled(writer, flow, self.items, *SETTLED)
        block, item, source = writer.block, self.items.name, flow.source
        with block.inside(f"if not {source}:"):
            block.add(f"return {literal(self.default)}")
        names = {self.items.variable.name: item}
        if writer.form == "comprehension":
            key = writer.code(self.key, names, "rank")
            text = "rank" if key.text == f"rank({item})" else f"lambda {item}: {key}"
            block.add(f"return {self.kind}({source}, key={text})")
            return
        best, best_key = block.name("best", "chosen"), block.name("best_key", "chosen_key")
        key = writer.code(self.key, {self.items.variable.name: f"{source}[0]"})
        block.add(f"{best} = {source}[0]")
        key = writer.code(self.key, {self.items.variable.name: best})
        block.add(f"{best_key} = {key}")
        with block.inside(f"for {item} in {source}[1:]:"):
            own = block.name("key", "own_key")
            block.add(f"{own} = {writer.code(self.key, names)}")
            with block.inside(f"if {own} {'>' if self.kind == 'max' else '<'} {best_key}:"):
                block.add(f"{best} = {item}")
                block.add(f"{best_key} = {own}")
        block.add(f"return {best}")

    def names(self) -> tuple[str, ...]:
        return "pick", "choose", "find", "best"


@dataclass(frozen=True)
class IndexOf:
    """Position of the first or last element that passes a test; -1 if none does."""

    test: Node
    is_last: bool
    items: Items

    @property
    def returns(self) -> Type:
        return Int()

    def spec(self) -> Any:
        return ["last index" if self.is_last else "first index", self.test.spec()]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        name = self.items.variable.name
        holds = [self.test.evaluate({**environment, name: one}) for one in values]
        if True not in holds:
            return -1
        return len(holds) - 1 - holds[::-1].index(True) if self.is_last else holds.index(True)

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        single = self.test.condition(rng, of_item(items, others)).relative(is_plural=False)
        which = "last" if self.is_last else "first"
        return rng.choice(
            [
                f"the index (counting from 0) at which, among {nouns}, the {which} one stands "
                f"{single}; "
                "-1 if there is no such one",
                f"the position, counted from 0, of the {which} {items.singular} among {nouns} "
                f"{single}, or -1 if no such {items.singular} exists",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        flow = settled(writer, flow, self.items, *SETTLED)
        block, item, source = writer.block, self.items.name, flow.source
        names = {self.items.variable.name: item}
        test = writer.code(self.test, names, "fits")
        head = f"for index, {item} in enumerate({source})"
        if writer.form == "comprehension":
            places = block.name("places", "positions")
            block.add(f"{places} = [index {head} if {test:or}]")
            block.add(f"return {places}[{-1 if self.is_last else 0}] if {places} else -1")
            return
        if self.is_last:
            found = block.name("found", "position")
            block.add(f"{found} = -1")
        with block.inside(f"{head}:"), block.inside(f"if {test}:"):
            block.add(f"{found} = index" if self.is_last else "return index")
        block.add(f"return {found}" if self.is_last else "return -1")

    def names(self) -> tuple[str, ...]:
        return (
            ("last_index", "find_last") if self.is_last else ("first_index", "find_first", "locate")
        )


@dataclass(frozen=True)
class Joined:
    """Texts put together, with something between."""

    between: str
    items: Items

    @property
    def returns(self) -> Type:
        return Str()

    def spec(self) -> Any:
        return ["join", self.between]

    def apply(self, values: list[Value], environment: Environment) -> Value:
        text = ""
        for number, one in enumerate(values):
            text += f"{self.between if number else ''}{one}"
        return text

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        how = {
            "": "with nothing between them",
            " ": "with single spaces between them",
        }.get(self.between, f"with `{literal(self.between)}` between them")
        return rng.choice(
            [
                f"{nouns}, joined into one text {how} (the empty text if there are none)",
                f"the text that {nouns} form when they are written one after the other {how}; it "
                f"is "
                "empty without any",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> None:
        block, between = writer.block, literal(self.between)
        if writer.form == "comprehension" or self.between:
            if writer.form == "loop":
                flow = settled(writer, flow, self.items, *SETTLED)
            block.add(f"return {between}.join({flow.iterated()})")
            return
        text = block.name("joined", "result_text", "answer")
        block.add(f'{text} = ""')
        with block.inside(f"for {flow.items.name} in {flow.source}:"):
            append(block, flow, f"{text} += {flow.value()}")
        block.add(f"return {text}")

    def names(self) -> tuple[str, ...]:
        return "join", "rewrite", "build", "encode"
