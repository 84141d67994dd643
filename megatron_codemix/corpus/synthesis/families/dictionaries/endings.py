"""What is returned of a table from keys to integers: part of it, its keys in order, a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.grammar.code import Code
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    Sample,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject, plural
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.values import DictOf, Int, ListOf, Maybe, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block

Kind = Literal["table", "keys", "best", "sum", "count", "ranking"]


@dataclass(frozen=True)
class TableWords:
    """What keys and values are called: in Python `key` and `value`, in English with an article."""

    key: str
    value: str
    key_noun: str
    """ "word", of which there is one a key."""
    value_phrase: str
    """ "its count"."""
    key_phrase: str
    """The key itself: "the word", "the player's name"."""

    @property
    def key_nouns(self) -> str:
        return plural(self.key_noun)


@dataclass(frozen=True)
class TableEnding:
    """Of the entries that pass `test`; `value` is made of each (its number itself, mostly)."""

    kind: Kind
    test: Node | None
    value: Node
    key_type: Type
    words: TableWords

    @property
    def returns(self) -> Type:
        returns: dict[str, Type] = {
            "table": DictOf(self.key_type, Int()),
            "keys": ListOf(self.key_type),
            "ranking": ListOf(self.key_type),
            "best": Maybe(self.key_type),
        }
        return returns.get(self.kind, Int())

    def spec(self) -> Any:
        return [self.kind, self.test and self.test.spec(), self.value.spec()]

    def apply(self, table: Mapping[Value, Value]) -> Value:
        rows = [{"k": key, "v": value} for key, value in table.items()]
        kept = [row for row in rows if self.test is None or self.test.evaluate(row)]
        made = {row["k"]: self.value.evaluate(row) for row in kept}
        if self.kind == "table":
            return made
        if self.kind == "count":
            return len(made)
        if self.kind == "sum":
            return sum(made.values())
        if self.kind == "keys":
            return sorted(made)
        order = sorted(sorted(made), key=lambda key: made[key], reverse=True)
        if self.kind == "ranking":
            return order
        return order[0] if order else None

    def say(self, rng: Random) -> str:
        """Behind "return"."""
        words = self.words
        subjects = {"k": Subject(words.key_phrase), "v": Subject(words.value_phrase)}
        such = ""
        if self.test is not None:
            such = f" {self.test.condition(rng, subjects).relative(is_plural=True)}"
        of = self.value.phrase(rng, subjects)
        noun, nouns = words.key_noun, words.key_nouns
        if self.kind == "count":
            return f"the number of {nouns}{such}"
        if self.kind == "sum":
            return f"a sum over all {nouns}{such}: each adds {of}; the empty sum is 0"
        if self.kind == "keys":
            return rng.choice(
                [
                    f"a sorted list (ascending) of the {nouns}{such}",
                    f"all {nouns}{such}, as a list in ascending order",
                ]
            )
        if self.kind == "table":
            return rng.choice(
                [
                    f"a dictionary that maps the {nouns}{such} to numbers: each to {of}",
                    f"a dictionary whose keys are the {nouns}{such}; the value that belongs to "
                    f"each {noun} is {of}",
                ]
            )
        tie = f"of several {nouns} that tie, the one that comes first in ascending order"
        if self.kind == "best":
            return (
                f"that one of the {nouns}{such} for which the following is largest: {of}; {tie} is "
                "taken, and the result is `None` if there is none at all"
            )
        return (
            f"a list of the {nouns}{such}, ordered by the following from large to small: {of}; "
            f"{nouns} that tie stand in ascending order"
        )

    def notes(self) -> set[str]:
        return self.value.notes() | (self.test.notes() if self.test else set())

    def reads(self, variable: str) -> bool:
        nodes = [self.value] if self.test is None else [self.value, self.test]
        if self.kind in ("count", "keys"):
            nodes = nodes[1:]
        return any(variable in node.variables() for node in nodes)

    def _naming(self, naming: Naming) -> Naming:
        return naming.renamed({"k": self.words.key, "v": self.words.value})

    def write(self, block: Block, naming: Naming, table: str, *, is_loop: bool) -> None:
        """`table`: the name of a dictionary."""
        names = self._naming(naming)
        key, value = self.words.key, self.value.python(names)
        test = self.test.python(names) if self.test is not None else None
        if not self.reads("v"):
            rows = f"for {key} in {table}"
        elif self.kind in ("sum", "count") and not self.reads("k"):
            rows = f"for {self.words.value} in {table}.values()"
        else:
            rows = f"for {key}, {self.words.value} in {table}.items()"
        condition = f" if {test:or}" if test is not None else ""
        is_whole = not condition and self.value.rule is None
        if self.kind in ("best", "ranking"):
            self._write_order(block, table, f"{rows}{condition}", value, is_whole=is_whole)
        elif self.kind == "table" and is_whole:
            block.add(f"return {table}")
        elif self.kind == "count" and is_whole:
            block.add(f"return len({table})")
        elif is_loop:
            self._write_loop(block, rows, condition, value)
        elif self.kind == "table":
            block.add(f"return {{{key}: {value} {rows}{condition}}}")
        elif self.kind == "keys":
            chosen = f"{key} {rows}{condition}" if condition else table
            block.add(f"return sorted({chosen})")
        elif self.kind == "sum":
            block.add(f"return sum({value} {rows}{condition})")
        else:
            block.add(f"return sum(1 {rows}{condition})")

    def _write_loop(self, block: Block, rows: str, condition: str, value: Code) -> None:
        key = self.words.key
        name, start, statement = {
            "table": ("chosen", "{}", f"chosen[{key}] = {value}"),
            "keys": ("chosen", "[]", f"chosen.append({key})"),
            "sum": ("total", "0", f"total += {value}"),
            "count": ("count", "0", "count += 1"),
        }[self.kind]
        own = block.name(name)
        statement = statement.replace(name, own, 1)
        block.add(f"{own} = {start}")
        with block.inside(f"{rows}:"):
            if condition:
                with block.inside(f"{condition.strip()}:"):
                    block.add(statement)
            else:
                block.add(statement)
        block.add(f"return sorted({own})" if self.kind == "keys" else f"return {own}")

    def _write_order(
        self, block: Block, table: str, rows: str, value: Code, *, is_whole: bool
    ) -> None:
        key, source = self.words.key, table
        if not is_whole:
            source = block.name("worth", "chosen")
            block.add(f"{source} = {{{key}: {value} {rows}}}")
        order = f"sorted({source}, key=lambda {key}: (-{source}[{key}], {key}))"
        if self.kind == "ranking":
            block.add(f"return {order}")
            return
        with block.inside(f"if not {source}:"):
            block.add("return None")
        if len(block.lines) % 2:  # both ways are usual
            block.add(f"return max(sorted({source}), key=lambda {key}: {source}[{key}])")
        else:
            block.add(f"return min({source}, key=lambda {key}: (-{source}[{key}], {key}))")


def draw_table_ending(
    rng: Random,
    key: Variable,
    value: Variable,
    key_type: Type,
    words: TableWords,
    samples: Sequence[Sample],
) -> TableEnding:
    """For tables whose entries look like the samples, of `k` and `v`. Raises NothingDrawn."""
    kinds: list[Kind] = ["table", "keys", "best", "sum", "count", "ranking"]
    kind = rng.choices(kinds, [2.0, 1.3, 1.2, 1.0, 0.8, 0.9])[0]
    both = [key, value]
    test = None
    if kind == "count" or rng.random() < 0.6:
        tested = [value] if rng.random() < 0.5 else ([key] if rng.random() < 0.5 else both)
        if key.kind == "str" and len(tested) == 2:
            tested = [value]
        test = draw_test(rng, tested, 1 if rng.random() < 0.7 or len(tested) > 1 else 2, samples)
    made = draw_integer(rng, [value], 0)
    if kind in ("table", "sum", "best", "ranking") and rng.random() < 0.55:
        valued = both if rng.random() < 0.5 else [value]
        made = draw_integer(rng, valued, rng.choice([1, 1, 2]), samples)
    ending = TableEnding(kind, test, made, key_type, words)
    if not ending.reads("v"):  # then the values would have been worked out for nothing
        raise NothingDrawn
    return ending
