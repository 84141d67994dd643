"""Two tables with the same kind of keys become one: what is in both is combined, the rest has a
rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.dictionaries.endings import (
    TableEnding,
    TableWords,
    draw_table_ending,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import DictOf, Int, Str, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Rest = Literal["drop", "keep", "change"]
_RANGE = (-20, 60)
_PAIRS = (
    ("stock", "orders", "product"), ("old", "new", "setting"), ("home", "away", "team"),
    ("debts", "loans", "person"), ("morning", "evening", "station"), ("planned", "spent", "post"),
    ("first", "second", "player"), ("north", "south", "city"), ("summer", "winter", "plant"),
)  # fmt: skip


@dataclass(frozen=True)
class Merging:
    name: str
    tables: tuple[str, str]
    words: TableWords
    both: Node
    """Of `a` and `b`, the values in the first and in the second table."""
    rests: tuple[Rest, Rest]
    """What happens to keys of the first table alone, and of the second."""
    changes: tuple[Node, Node]
    """What becomes of a value `a` or `b` where its rest is "change"."""
    ending: TableEnding

    def table(self, one: dict[str, int], other: dict[str, int]) -> dict[Value, Value]:
        """Key by key in ascending order."""
        merged: dict[Value, Value] = {}
        for key in sorted({*one, *other}):
            if key in one and key in other:
                merged[key] = self.both.evaluate({"a": one[key], "b": other[key]})
                continue
            side = 0 if key in one else 1
            value = (one, other)[side][key]
            if self.rests[side] == "keep":
                merged[key] = value
            elif self.rests[side] == "change":
                merged[key] = self.changes[side].evaluate({"ab"[side]: value})
        return merged

    def oracle(self, one: dict[str, int], other: dict[str, int]) -> Value:
        return self.ending.apply(self.table(one, other))

    def statement(self, rng: Random) -> str:
        first, second = self.tables
        words = self.words
        noun, what = words.key_noun, words.value_phrase.removeprefix("its ")
        subjects = {
            "a": Subject(f"its value in `{first}`"),
            "b": Subject(f"its value in `{second}`"),
        }
        model = [
            rng.choice(
                [
                    f"both dictionaries map names of {words.key_nouns} to integers; they are "
                    f"merged into one",
                    f"the two dictionaries are to be merged; their keys are names of "
                    f"{words.key_nouns}",
                ]
            ),
            f"the {what} of a {noun} that is a key of both is {self.both.phrase(rng, subjects)}",
        ]
        if self.rests == ("drop", "drop"):
            model.append(f"{words.key_nouns} that are a key of only one of the two are left out")
        for side, name in enumerate(self.tables):
            if self.rests == ("drop", "drop"):
                break
            rest = self.rests[side]
            if rest == "drop":
                model.append(f"a {noun} that is only a key of `{name}` is left out")
            elif rest == "keep":
                model.append(
                    f"of a {noun} that is only a key of `{name}`, the {what} is its value there"
                )
            else:
                change = self.changes[side].phrase(rng, subjects)
                model.append(f"of a {noun} that is only a key of `{name}`, the {what} is {change}")
        pairs = zip(self.rests, self.changes, strict=True)
        nodes = [self.both, *(change for rest, change in pairs if rest == "change")]
        notes = sorted(self.ending.notes().union(*(one.notes() for one in nodes)))
        given = [Given(name, "a dictionary from names (texts) to integers") for name in self.tables]
        return phrased(
            rng,
            Task(
                name=self.name,
                given=given,
                model=model,
                result=self.ending.say(rng),
                notes=notes,
            ),
        )

    def _sided(self, naming: Naming, side: int) -> str:
        """The value of a key that only this side has."""
        name, key = self.tables[side], self.words.key
        own = f"{name}[{key}]"
        if self.rests[side] == "keep":
            return own
        return str(self.changes[side].python(naming.renamed({"ab"[side]: own})))

    def _both(self, naming: Naming) -> str:
        (first, second), key = self.tables, self.words.key
        names = {"a": f"{first}[{key}]", "b": f"{second}[{key}]"}
        return str(self.both.python(naming.renamed(names)))

    def _block(self) -> Block:
        own = {*self.tables, self.words.key, self.words.value, self.name, "merged"}
        return Block(own)

    def _by_tables(self) -> Solution:
        """First one table, then what only the other has."""
        block, naming = self._block(), Naming({}, 0)
        (first, second), key = self.tables, self.words.key
        block.add("merged = {}")
        with block.inside(f"for {key} in {first}:"):
            with block.inside(f"if {key} in {second}:"):
                block.add(f"merged[{key}] = {self._both(naming)}")
            if self.rests[0] != "drop":
                with block.inside("else:"):
                    block.add(f"merged[{key}] = {self._sided(naming, 0)}")
        if self.rests[1] != "drop":
            with (
                block.inside(f"for {key} in {second}:"),
                block.inside(f"if {key} not in {first}:"),
            ):
                block.add(f"merged[{key}] = {self._sided(naming, 1)}")
        self.ending.write(block, naming, "merged", is_loop=True)
        return self._solution("table by table", block, naming)

    def _by_keys(self) -> Solution:
        """All keys in order."""
        block, naming = self._block(), Naming({}, 1, uses_helpers=True)
        (first, second), key = self.tables, self.words.key
        block.add("merged = {}")
        with block.inside(f"for {key} in sorted(set({first}) | set({second})):"):
            with block.inside(f"if {key} in {first} and {key} in {second}:"):
                block.add(f"merged[{key}] = {self._both(naming)}")
            if self.rests[0] != "drop":
                with block.inside(f"elif {key} in {first}:"):
                    block.add(f"merged[{key}] = {self._sided(naming, 0)}")
            if self.rests[1] != "drop":
                test = "else:" if self.rests[0] != "drop" else f"elif {key} in {second}:"
                with block.inside(test):
                    block.add(f"merged[{key}] = {self._sided(naming, 1)}")
        self.ending.write(block, naming, "merged", is_loop=False)
        return self._solution("key by key", block, naming)

    def _comprehensions(self) -> Solution:
        """A dictionary for each of the cases."""
        block, naming = self._block(), Naming({}, 1)
        (first, second), key = self.tables, self.words.key
        rows = f"for {key} in {first} if {key} in {second}"
        block.add(f"merged = {{{key}: {self._both(naming)} {rows}}}")
        for side, (own, other) in enumerate(((first, second), (second, first))):
            if self.rests[side] != "drop":
                value = self._sided(naming, side)
                block.add(
                    f"merged.update({{{key}: {value} for {key} in {own} if {key} not in {other}}})"
                )
        self.ending.write(block, naming, "merged", is_loop=False)
        return self._solution("comprehension", block, naming)

    def _solution(self, style: str, block: Block, naming: Naming) -> Solution:
        parameters = ", ".join(one.python() for one in self._parameters())
        signature = f"def {self.name}({parameters}) -> {self.ending.returns.python()}:"
        return Solution(style, module([*naming.helpers.values(), function(signature, block)]))

    def _parameters(self) -> tuple[Parameter, ...]:
        table = DictOf(Str(1), Int(*_RANGE))
        return tuple(Parameter(name, table) for name in self.tables)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Empty tables, equal keys, no common key; then tables that share about half."""
        yield {}, {}
        yield {"a": 3}, {}
        yield {}, {"b": 0}
        yield {"a": 5, "b": -1}, {"a": 5, "b": 7}
        while True:
            yield _two_tables(rng)

    def problem(self) -> Problem:
        changes = [
            change.spec() if rest == "change" else rest
            for change, rest in zip(self.changes, self.rests, strict=True)
        ]
        solutions = [self._by_tables(), self._by_keys()]
        if "drop" in self.rests:
            solutions.append(self._comprehensions())
        return Problem(
            family="dictionaries",
            spec=["merging", self.both.spec(), changes, self.ending.spec()],
            name=self.name,
            parameters=self._parameters(),
            returns=self.ending.returns,
            statement=self.statement,
            solutions=tuple(solutions),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"Merges `{self.tables[0]}` and `{self.tables[1]}`.",
        )


def _two_tables(rng: Random) -> tuple[dict[str, int], dict[str, int]]:
    words = Str(1)
    names = sorted({words.draw(rng, 8) for _ in range(rng.randint(1, 7))})
    tables: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for name in names:
        sides = rng.choice([(0,), (1,), (0, 1), (0, 1)])
        for side in sides:
            tables[side][name] = rng.randint(*_RANGE)
    return tables


def draw_merging(rng: Random) -> Problem:
    first, second, noun = rng.choice(_PAIRS)
    one = Variable("a", Int(*_RANGE), "int", _RANGE)
    other = Variable("b", Int(*_RANGE), "int", _RANGE)
    both = draw_integer(rng, [one, other], rng.choice([1, 1, 2]))
    rests: tuple[Rest, Rest] = (
        rng.choice(["drop", "keep", "change"]), rng.choice(["drop", "keep", "change"]),
    )  # fmt: skip
    changes = (draw_integer(rng, [one], 1), draw_integer(rng, [other], 1))
    value = rng.choice(["amount", "total", "value", "balance"])
    words = TableWords(noun, value, noun, f"its {value}", f"the {noun}'s name")
    plain = TableEnding("table", None, both, Str(), words)
    draft = Merging("f", (first, second), words, both, rests, changes, plain)
    entries = [
        {"k": key, "v": number}
        for _ in range(60)
        for key, number in draft.table(*_two_tables(rng)).items()
    ]
    if len(entries) < 40:
        raise NothingDrawn
    low = min(_RANGE[0], both.range()[0], *(change.range()[0] for change in changes))
    high = max(_RANGE[1], both.range()[1], *(change.range()[1] for change in changes))
    key = Variable("k", Str(1), "str", (1, 8))
    number = Variable("v", Int(low, high), "int", (low, high))
    ending = draw_table_ending(rng, key, number, Str(), words, entries[:120])
    verb = rng.choice(["merge", "combine", "join", "match"])
    name = f"{verb}_{first}_and_{second}"
    return Merging(name, (first, second), words, both, rests, changes, ending).problem()
