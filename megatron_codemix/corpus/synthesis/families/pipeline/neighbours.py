"""Stages in which an element meets the one before it, its position, or those up to it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.families.pipeline.flow import (
    Flow,
    Items,
    Writer,
    append,
    settled,
)
from megatron_codemix.corpus.synthesis.families.pipeline.stages import Environment, Subjects
from megatron_codemix.corpus.synthesis.grammar.english import Subject, count_word
from megatron_codemix.corpus.synthesis.grammar.node import Node, Variable
from megatron_codemix.corpus.synthesis.values import Value


@dataclass(frozen=True)
class Steps:
    """A value for each pair of neighbours; the tree's variables are `first` and `second`."""

    value: Node
    pair: tuple[Variable, Variable]
    before: Items
    items: Items

    def spec(self) -> Any:
        return ["steps", self.value.spec()]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        first, second = (one.name for one in self.pair)
        return [
            self.value.evaluate({**environment, first: values[i - 1], second: values[i]})
            for i in range(1, len(values))
        ]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        subjects = {
            **others,
            self.pair[0].name: Subject(f"the earlier {before.singular}"),
            self.pair[1].name: Subject(f"the later {before.singular}"),
        }
        phrase = self.value.phrase(rng, subjects)
        return rng.choice(
            [
                f"for each two neighbouring {before.plural}, compute {phrase}; the list of these "
                "values, in order, takes the place of the old one",
                f"form a new list: for each {before.singular} but the first, together with the one "
                f"just before it, it holds {phrase}",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        flow = settled(writer, flow, self.before, "values", "kept", "results")
        block, source = writer.block, flow.source
        name = block.name("steps", "pairs", "combined")
        first, second = (one.name for one in self.pair)
        if writer.form == "comprehension":
            names = {first: "earlier", second: "later"}
            value = writer.code(self.value, names, "combined", "joined_value", "merged")
            block.add(f"{name} = [{value} for earlier, later in zip({source}, {source}[1:])]")
        else:
            block.add(f"{name} = []")
            with block.inside(f"for index in range(1, len({source})):"):
                names = {first: f"{source}[index - 1]", second: f"{source}[index]"}
                block.add(f"{name}.append({writer.code(self.value, names)})")
        return Flow(name, self.items)


@dataclass(frozen=True)
class KeepByPrevious:
    """Keeps elements for which a test of the one before them and themselves holds."""

    test: Node
    pair: tuple[Variable, Variable]
    items: Items
    keeps_first: bool

    def spec(self) -> Any:
        return ["keep by previous", self.test.spec(), self.keeps_first]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        first, second = (one.name for one in self.pair)
        kept = values[:1] if self.keeps_first else []
        for i in range(1, len(values)):
            if self.test.evaluate({**environment, first: values[i - 1], second: values[i]}):
                kept = [*kept, values[i]]
        return kept

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        noun = before.singular
        subjects = {
            **others,
            self.pair[0].name: Subject("its predecessor"),
            self.pair[1].name: Subject(f"the {noun}"),
        }
        clause = self.test.condition(rng, subjects).clause()
        first = (
            f"the very first {noun} always stays"
            if self.keeps_first
            else f"the very first {noun} has no predecessor and is left out"
        )
        return rng.choice(
            [
                f"keep each {noun} for which the following holds, where its predecessor is the "
                f"{noun} just before it in the list: {clause} ({first})",
                f"compare each {noun} with its predecessor, the {noun} just before it in the list, "
                f"and keep it only if {clause} ({first})",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        flow = settled(writer, flow, self.items, "values", "kept", "results")
        block, source = writer.block, flow.source
        name = block.name("chosen", "selected", "filtered")
        first, second = (one.name for one in self.pair)
        start = f"{source}[:1]" if self.keeps_first else "[]"
        if writer.form == "comprehension":
            test = writer.code(
                self.test, {first: "earlier", second: "later"}, "may_follow", "fits_behind"
            )
            text = f"[later for earlier, later in zip({source}, {source}[1:]) if {test:or}]"
            block.add(f"{name} = {source}[:1] + {text}" if self.keeps_first else f"{name} = {text}")
        else:
            block.add(f"{name} = {start}")
            with block.inside(f"for index in range(1, len({source})):"):
                names = {first: f"{source}[index - 1]", second: f"{source}[index]"}
                with block.inside(f"if {writer.code(self.test, names)}:"):
                    block.add(f"{name}.append({source}[index])")
        return Flow(name, self.items)


RunningKind = Literal["total", "maximum", "minimum"]


@dataclass(frozen=True)
class Running:
    kind: RunningKind
    before: Items
    items: Items

    def spec(self) -> Any:
        return [f"running {self.kind}"]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        heads = [values[: index + 1] for index in range(len(values))]
        if self.kind == "total":
            return [sum(head) for head in heads]
        return [sorted(head)[-1 if self.kind == "maximum" else 0] for head in heads]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        what = {"total": "sum", "maximum": "maximum", "minimum": "minimum"}[self.kind]
        return rng.choice(
            [
                f"replace each {before.singular} by the {what} of all {before.plural} up to and "
                "including it",
                f"form the list of running {what}s: its entry at each position is the {what} of "
                f"the "
                f"{before.plural} from the start to that position",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        block = writer.block
        name = block.name(
            {"total": "totals", "maximum": "peaks", "minimum": "lows"}[self.kind], "so_far"
        )
        function = {"total": "sum", "maximum": "max", "minimum": "min"}[self.kind]
        if writer.form == "comprehension":
            flow = settled(writer, flow, self.before, "values", "kept", "results")
            source = flow.source
            block.add(
                f"{name} = [{function}({source}[:end]) for end in range(1, len({source}) + 1)]"
            )
            return Flow(name, self.items)
        block.add(f"{name} = []")
        if self.kind == "total":
            total = block.name("total", "so_far")
            block.add(f"{total} = 0")
            with block.inside(f"for {flow.items.name} in {flow.source}:"), _guard(writer, flow):
                block.add(f"{total} += {flow.value()}")
                block.add(f"{name}.append({total})")
            return Flow(name, self.items)
        flow = settled(writer, flow, self.before, "values", "kept", "results")
        item = self.before.name
        with block.inside(f"for {item} in {flow.source}:"):
            sign = ">" if self.kind == "maximum" else "<"
            with block.inside(f"if not {name} or {item} {sign} {name}[-1]:"):
                block.add(f"{name}.append({item})")
            with block.inside("else:"):
                block.add(f"{name}.append({name}[-1])")
        return Flow(name, self.items)


def _guard(writer: Writer, flow: Flow) -> AbstractContextManager[None]:
    return writer.block.inside(f"if {flow.condition()}:") if flow.tests else nullcontext()


@dataclass(frozen=True)
class Pieces:
    """Something of each run of `count` elements: all windows, or blocks side by side."""

    kind: Literal["sum", "max", "min"]
    is_window: bool
    count: int
    before: Items
    items: Items

    def spec(self) -> Any:
        return ["windows" if self.is_window else "blocks", self.kind, self.count]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        pieces: list[list[Value]] = []
        if self.is_window:
            for index, _ in enumerate(values):
                pieces.append([])
                for piece in pieces[max(0, index - self.count + 1) :]:
                    piece.append(values[index])
            pieces = [piece for piece in pieces if len(piece) == self.count]
        else:
            for index, one in enumerate(values):
                if index % self.count == 0:
                    pieces.append([])
                pieces[-1].append(one)
        if self.kind == "sum":
            return [sum(piece) for piece in pieces]
        return [sorted(piece)[-1 if self.kind == "max" else 0] for piece in pieces]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        many = count_word(self.count)
        what = {"sum": "sum", "max": "largest", "min": "smallest"}[self.kind]
        of = "the sum of" if self.kind == "sum" else f"the {what} of"
        if self.is_window:
            return rng.choice(
                [
                    f"for every {many} {before.plural} in a row (overlapping runs included), "
                    f"compute "
                    f"{of} them, and go on with these values in order (none if there are fewer "
                    f"than "
                    f"{many} {before.plural})",
                    f"slide a window of {many} {before.plural} over the list and go on with {of} "
                    f"each "
                    f"window (no values at all if the list is shorter than the window)",
                ]
            )
        return rng.choice(
            [
                f"cut the list into blocks of {many} {before.plural} (the last block may be "
                f"shorter) "
                f"and go on with {of} each block",
                f"take the {before.plural} in groups of {many} from the start, where the last "
                f"group "
                f"may be smaller, and replace each group by {of} its members",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        flow = settled(writer, flow, self.before, "values", "kept", "results")
        block, source, count = writer.block, flow.source, self.count
        name = block.name("windows" if self.is_window else "blocks", "pieces", "parts")
        steps = (
            f"range(len({source}) - {count - 1})"
            if self.is_window
            else (f"range(0, len({source}), {count})")
        )
        value = f"{self.kind}({source}[start : start + {count}])"
        if writer.form == "comprehension":
            block.add(f"{name} = [{value} for start in {steps}]")
        else:
            block.add(f"{name} = []")
            with block.inside(f"for start in {steps}:"):
                block.add(f"{name}.append({value})")
        return Flow(name, self.items)


@dataclass(frozen=True)
class ByIndex:
    """Keeps elements by a test of their position, or changes them by it; positions count from 0."""

    node: Node
    index: Variable
    before: Items
    items: Items

    def spec(self) -> Any:
        return ["by index", self.node.spec()]

    def apply(self, values: list[Value], environment: Environment) -> list[Value]:
        made = [
            self.node.evaluate(
                {**environment, self.index.name: index, self.before.variable.name: one}
            )
            for index, one in enumerate(values)
        ]
        if self.node.kind != "bool":
            return made
        return [one for one, is_kept in zip(values, made, strict=True) if is_kept]

    def say(self, rng: Random, before: Items, others: Subjects) -> str:
        if self.node.kind == "bool":
            subjects = {**others, self.index.name: Subject("the index", True)}
            single = self.node.condition(rng, subjects).relative(is_plural=False)
            return rng.choice(
                [
                    f"keep each {before.singular} at an index {single} (the first index is 0)",
                    f"counting indices from 0, keep just the {before.plural} that stand at an "
                    f"index "
                    f"{single}",
                ]
            )
        subjects = {
            **others,
            self.index.name: Subject("its index"),
            self.before.variable.name: Subject(f"the {before.singular}"),
        }
        phrase = self.node.phrase(rng, subjects)
        return rng.choice(
            [
                f"replace each {before.singular} by {phrase}, where indices count from 0",
                f"counting indices from 0, turn every {before.singular} into {phrase}",
            ]
        )

    def write(self, writer: Writer, flow: Flow) -> Flow:
        flow = settled(writer, flow, self.before, "values", "kept", "results")
        block, item, source = writer.block, self.before.name, flow.source
        names = {self.index.name: "index", self.before.variable.name: item}
        is_test = self.node.kind == "bool"
        name = block.name("chosen" if is_test else "weighted", "adjusted", "selected")
        code = writer.code(
            self.node,
            names,
            *(("is_chosen", "is_picked") if is_test else ("weighted_value", "placed_value")),
        )
        head = f"for index, {item} in enumerate({source})"
        if writer.form == "comprehension":
            body = f"{item} {head} if {code:or}" if is_test else f"{code} {head}"
            block.add(f"{name} = [{body}]")
        else:
            block.add(f"{name} = []")
            with block.inside(f"{head}:"):
                shown = Flow(source, self.before, (code,) if is_test else ())
                append(block, shown, f"{name}.append({item if is_test else code})")
        return Flow(name, self.items)
