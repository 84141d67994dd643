"""Two texts side by side: characters at the same place are compared, counted, chosen from."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_test,
    draw_text,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Str, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Kind = Literal["count", "places", "first", "merged", "run"]
_ALPHABET = "aabeionrstABE12 "
_NAMES = (
    ("first", "second"),
    ("left", "right"),
    ("old", "new"),
    ("guess", "secret"),
    ("one", "other"),
)


@dataclass(frozen=True)
class Pairs:
    """`x` and `y` are the characters at one place, up to the end of the shorter text. "merged": a
    text of `yes` where the test holds and `no` where not; both are of `x` or of `y`."""

    name: str
    names: tuple[str, str]
    kind: Kind
    test: Node
    yes: Node
    no: Node
    keeps_rest: bool
    """Whether what is left of the longer text is put behind the merged one."""

    def oracle(self, one: str, other: str) -> Value:
        places = range(min(len(one), len(other)))
        rows = [{"x": one[i], "y": other[i]} for i in places]
        holds = [bool(self.test.evaluate(row)) for row in rows]
        if self.kind == "count":
            return holds.count(True)
        if self.kind == "places":
            return [i for i in places if holds[i]]
        if self.kind == "first":
            return holds.index(True) if True in holds else -1
        if self.kind == "run":
            marks = "".join("x" if one_holds else " " for one_holds in holds)
            return max(map(len, marks.split(" ")))
        merged = [
            (self.yes if is_true else self.no).evaluate(row)
            for row, is_true in zip(rows, holds, strict=True)
        ]
        rest = (one[len(rows) :] + other[len(rows) :]) if self.keeps_rest else ""
        return "".join(merged) + rest

    def statement(self, rng: Random) -> str:
        first, second = self.names
        subjects = {
            "x": Subject(f"the character of `{first}`"),
            "y": Subject(f"the character of `{second}`"),
        }
        condition = self.test.condition(rng, subjects).clause()
        model = [
            rng.choice(
                [
                    f"the characters of `{first}` and `{second}` are compared place by place, from "
                    "the start up to the end of the shorter text",
                    f"walk through `{first}` and `{second}` together, from the start until the "
                    "shorter one ends; at each place there is a character of each",
                ]
            ),
            rng.choice(["a place is called good if", "call a place good if"]) + f" {condition}",
        ]
        result = {
            "count": "the number of good places",
            "places": "a list of the indices of all good places, in ascending order (indices count "
            "from 0)",
            "first": "the index (counting from 0) of the first good place, or -1 if there is none",
            "run": "the length of the longest unbroken run of good places (0 if there is none)",
            "merged": self._merged(rng, subjects),
        }[self.kind]
        given = [Given(name, "a text") for name in self.names]
        notes = []
        if self.kind == "merged":
            notes.append(
                "What is left of the longer text is put behind it unchanged"
                if self.keeps_rest
                else "What is left of the longer text is ignored"
            )
        return phrased(
            rng, Task(name=self.name, given=given, model=model, result=result, notes=notes)
        )

    def _merged(self, rng: Random, subjects: dict[str, Subject]) -> str:
        yes, no = self.yes.phrase(rng, subjects), self.no.phrase(rng, subjects)
        return f"a new text that has, for each good place, {yes}, and for every other place {no}"

    def _naming(self, way: int, *, uses_helpers: bool = False) -> Naming:
        return Naming({"x": "a", "y": "b"}, way, uses_helpers)

    def _comprehension(self) -> Solution:
        naming, block = self._naming(0), self._block()
        pair = f"zip({', '.join(self.names)})"
        test = self.test.python(naming)
        indexed = f"for index, (a, b) in enumerate({pair}) if {test:or}"
        if self.kind == "count":
            block.add(f"return sum(1 for a, b in {pair} if {test:or})")
        elif self.kind == "places":
            block.add(f"return [index {indexed}]")
        elif self.kind == "first":
            block.add(f"return min((index {indexed}), default=-1)")
        elif self.kind == "run":
            block.add(f'marks = "".join("x" if {test:or} else " " for a, b in {pair})')
            block.add('return max(len(run) for run in marks.split(" "))')
        else:
            yes, no = self.yes.python(naming), self.no.python(naming)
            block.add(f'merged = "".join({yes:or} if {test:or} else {no:or} for a, b in {pair})')
            block.add(f"return merged{self._rest()}")
        return self._solution("comprehension", block, naming)

    def _rest(self) -> str:
        if not self.keeps_rest:
            return ""
        first, second = self.names
        return f" + {first}[len({second}) :] + {second}[len({first}) :]"

    def _loop(self) -> Solution:
        naming, block = self._naming(1, uses_helpers=True), self._block()
        first, second = self.names
        start = {
            "count": "count = 0", "places": "places = []", "merged": 'merged = ""',
        }.get(self.kind)  # fmt: skip
        if self.kind == "run":
            block.add("longest = 0")
            block.add("run = 0")
        elif start:
            block.add(start)
        with block.inside(f"for index in range(min(len({first}), len({second}))):"):
            block.add(f"a, b = {first}[index], {second}[index]")
            with block.inside(f"if {self.test.python(naming)}:"):
                if self.kind == "run":
                    block.add("run += 1")
                    block.add("longest = max(longest, run)")
                else:
                    block.add(
                        {
                            "count": "count += 1",
                            "places": "places.append(index)",
                            "first": "return index",
                            "merged": f"merged += {self.yes.python(naming)}",
                        }[self.kind]
                    )
            if self.kind in ("run", "merged"):
                with block.inside("else:"):
                    no = f"merged += {self.no.python(naming)}"
                    block.add("run = 0" if self.kind == "run" else no)
        ends = {"count": "count", "places": "places", "run": "longest", "first": "-1"}
        block.add(f"return {ends.get(self.kind, f'merged{self._rest()}')}")
        return self._solution("loop", block, naming)

    def _block(self) -> Block:
        return Block({*self.names, self.name, "a", "b", "index"})

    def _solution(self, style: str, block: Block, naming: Naming) -> Solution:
        parameters = ", ".join(f"{name}: str" for name in self.names)
        signature = f"def {self.name}({parameters}) -> {self._returns().python()}:"
        source = module([*naming.helpers.values(), function(signature, block)])
        return Solution(style, source)

    def _returns(self) -> Type:
        if self.kind == "places":
            return ListOf(Int())
        return Str() if self.kind == "merged" else Int()

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Empty texts, equal ones, one longer than the other; then texts that share characters."""
        yield from (("", ""), ("", "ab"), ("Ab1", "Ab1"), ("Ea b", "e"))
        while True:
            yield _two(rng)

    def problem(self) -> Problem:
        parts = [self.test] if self.kind != "merged" else [self.test, self.yes, self.no]
        text = Str(0, 9, _ALPHABET)
        return Problem(
            family="strings",
            spec=["pairs", self.kind, self.keeps_rest, *(one.spec() for one in parts)],
            name=self.name,
            parameters=tuple(Parameter(name, text) for name in self.names),
            returns=self._returns(),
            statement=self.statement,
            solutions=(self._comprehension(), self._loop()),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"Compares `{self.names[0]}` and `{self.names[1]}` place by place.",
        )


def _two(rng: Random) -> tuple[str, str]:
    one = Str(1, 9, _ALPHABET).draw(rng, 9)
    other = "".join(
        letter if rng.random() < 0.4 else rng.choice([letter.lower(), rng.choice(_ALPHABET)])
        for letter in one
    )
    cut = rng.randint(0, 3)
    return (one, other[cut:]) if rng.random() < 0.4 else (one[cut:], other)


def draw_pairs(rng: Random) -> Problem:
    letter = Str(1, 1, _ALPHABET)
    x, y = (Variable(name, letter, "char", (1, 1)) for name in "xy")
    samples = [{"x": a, "y": b} for _ in range(12) for a, b in zip(*_two(rng), strict=False)]
    if len(samples) < 30:
        raise NothingDrawn
    kinds: tuple[Kind, ...] = ("count", "places", "first", "merged", "run")
    kind = rng.choices(kinds, (1, 1, 1, 3, 1))[0]
    test = draw_test(rng, [x, y], 1 if kind == "merged" and rng.random() < 0.4 else 2, samples)
    yes = draw_text(rng, [rng.choice([x, y])], rng.choice([1, 1, 2]), samples)
    no = draw_text(rng, [rng.choice([x, y])], rng.choice([1, 2]), samples)
    if yes.spec() == no.spec():
        raise NothingDrawn
    verb = {
        "count": "count_places",
        "places": "find_places",
        "first": "first_place",
        "run": "longest_match",
        "merged": rng.choice(["merge_texts", "blend_texts", "weave"]),
    }[kind]
    keeps = kind == "merged" and rng.random() < 0.5
    return Pairs(verb, rng.choice(_NAMES), kind, test, yes, no, keeps).problem()
