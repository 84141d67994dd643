"""Pieces of a text: all substrings, or all of one length; those that pass a test are looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject, count_word
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Observed, Str, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Kind = Literal["count", "first", "list", "distinct", "longest", "sum", "best"]
_ALPHABET = "aabbeeinnortlABE"
_LONGEST = 9


@dataclass(frozen=True)
class Windows:
    """`length` 0: substrings of every length from 1; else of just that one. `value` is measured of
    each for the kinds "sum" and "best"."""

    name: str
    parameter: str
    length: int
    test: Node
    value: Node
    kind: Kind

    def _pieces(self, text: str) -> list[str]:
        """By start, then by length; grown one character at a time."""
        pieces: list[str] = []
        for start in range(len(text)):
            piece = ""
            for letter in text[start:]:
                piece += letter
                if self.length in (0, len(piece)):
                    pieces.append(piece)
        return pieces

    def oracle(self, text: str) -> Value:
        pieces = [one for one in self._pieces(text) if self.test.evaluate({"s": one})]
        if self.kind == "count":
            return len(pieces)
        if self.kind == "distinct":
            return len(dict.fromkeys(pieces))
        if self.kind == "list":
            return pieces
        if self.kind == "first":
            return pieces[0] if pieces else ""
        values = [self.value.evaluate({"s": one}) for one in pieces]
        if self.kind == "sum":
            return sum(values)
        sizes = values if self.kind == "best" else [len(one) for one in pieces]
        return next((o for o, size in zip(pieces, sizes, strict=True) if size == max(sizes)), "")

    def statement(self, rng: Random) -> str:
        subjects = {"s": Subject("the piece", True)}
        if self.length:
            many = count_word(self.length)
            what = rng.choice(
                [
                    f"a piece of `{self.parameter}` is any {many} characters that stand next to "
                    f"each "
                    "other in it; pieces that overlap or look alike all count",
                    f"look at all pieces of {many} neighbouring characters of `{self.parameter}`, "
                    "also at those that overlap or look alike",
                ]
            )
        else:
            what = rng.choice(
                [
                    f"a piece of `{self.parameter}` is a run of one or more characters that stand "
                    "next to each other in it, up to the whole text; pieces that look alike but "
                    "stand at different places all count",
                    f"look at all pieces of `{self.parameter}` that have at least one character "
                    f"and "
                    "leave none out in between; equal pieces at different places all count",
                ]
            )
        order = "pieces are ordered by where they begin" + (
            "" if self.length else ", and those that begin together by length, short ones first"
        )
        plural = self.test.condition(rng, subjects).relative(is_plural=True)
        value = self.value.phrase(rng, subjects)
        result = {
            "count": f"the number of pieces {plural}",
            "distinct": f"the number of different texts among the pieces {plural}",
            "list": f"a list of all pieces {plural}, in their order",
            "first": f"the first, in this order, of the pieces {plural}, or the empty text if "
            "there "
            "is none",
            "longest": f"the longest of the pieces {plural}; of several, the first one, and "
            "without "
            "any, the empty text",
            "sum": f"a sum over all pieces {plural}: each adds {value}; the empty sum is 0",
            "best": f"that one of the pieces {plural} for which {value} is largest; of several, "
            "the "
            "first one, and without any, the empty text",
        }[self.kind]
        model = [what] if self.kind in ("count", "distinct", "sum") else [what, order]
        return phrased(
            rng,
            Task(
                name=self.name,
                given=[Given(self.parameter, "a text")],
                model=model,
                result=result,
                notes=sorted(self.test.notes() | self.value.notes()),
            ),
        )

    def _comprehension(self) -> Solution:
        naming = Naming({"s": "piece"}, 0)
        block, text = self._block(), self.parameter
        if self.length:
            cut = f"{text}[start : start + {self.length}]"
            rows = f"for start in range(len({text}) - {self.length - 1})"
        else:
            cut = f"{text}[start:end]"
            rows = f"for start in range(len({text})) for end in range(start + 1, len({text}) + 1)"
        block.add(f"pieces = [{cut} {rows}]")
        test = self.test.python(naming)
        found = f"piece for piece in pieces if {test:or}"
        value = self.value.python(naming) if self.kind in ("sum", "best") else ""
        if self.kind == "count":
            block.add(f"return sum(1 for piece in pieces if {test:or})")
        elif self.kind == "distinct":
            block.add(f"return len(set({found}))")
        elif self.kind == "list":
            block.add(f"return [{found}]")
        elif self.kind == "sum":
            block.add(f"return sum({value} for piece in pieces if {test:or})")
        else:
            block.add(f"found = [{found}]")
            if self.kind == "first":
                block.add('return found[0] if found else ""')
            else:
                key = "len" if self.kind == "longest" else f"lambda piece: {value}"
                block.add(f'return max(found, key={key}, default="")')
        return self._solution("comprehension", block, naming)

    def _loops(self) -> Solution:
        naming = Naming({"s": "piece"}, 1, uses_helpers=True)
        block, text = self._block(), self.parameter
        start = {
            "count": "count = 0",
            "distinct": "seen = set()",
            "list": "found = []",
            "sum": "total = 0",
            "longest": 'longest = ""',
            "best": 'best, best_value = "", None',
        }.get(self.kind)
        if start:
            block.add(start)
        if self.length:
            with block.inside(f"for start in range(len({text}) - {self.length - 1}):"):
                block.add(f"piece = {text}[start : start + {self.length}]")
                self._visit(block, naming)
        else:
            with block.inside(f"for start in range(len({text})):"):
                block.add('piece = ""')
                with block.inside(f"for letter in {text}[start:]:"):
                    block.add("piece += letter")
                    self._visit(block, naming)
        block.add(
            {
                "count": "return count",
                "distinct": "return len(seen)",
                "list": "return found",
                "sum": "return total",
                "longest": "return longest",
                "best": "return best",
                "first": 'return ""',
            }[self.kind]
        )
        return self._solution("loops", block, naming)

    def _visit(self, block: Block, naming: Naming) -> None:
        test = self.test.python(naming)
        value = self.value.python(naming) if self.kind in ("sum", "best") else ""
        if self.kind == "longest":
            with block.inside(f"if len(piece) > len(longest) and {test:and}:"):
                block.add("longest = piece")
            return
        with block.inside(f"if {test}:"):
            if self.kind == "best":
                block.add(f"value = {value}")
                with block.inside("if best_value is None or value > best_value:"):
                    block.add("best, best_value = piece, value")
                return
            block.add(
                {
                    "count": "count += 1",
                    "distinct": "seen.add(piece)",
                    "list": "found.append(piece)",
                    "sum": f"total += {value}",
                    "first": "return piece",
                }[self.kind]
            )

    def _block(self) -> Block:
        return Block({self.parameter, self.name, "piece", "pieces", "start", "end", "letter"})

    def _solution(self, style: str, block: Block, naming: Naming) -> Solution:
        signature = f"def {self.name}({self.parameter}: str) -> {self._returns().python()}:"
        return Solution(style, module([*naming.helpers.values(), function(signature, block)]))

    def _returns(self) -> Type:
        if self.kind == "list":
            return ListOf(Str())
        return Str() if self.kind in ("first", "longest", "best") else Int()

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Nothing, one character, equal ones; then texts of few different letters."""
        yield from (("",), ("a",), ("bb",), ("level",))
        texts = Str(2, _LONGEST, _ALPHABET)
        while True:
            yield (texts.draw(rng, _LONGEST),)

    def problem(self) -> Problem:
        parts = [self.test] if self.kind not in ("sum", "best") else [self.test, self.value]
        return Problem(
            family="strings",
            spec=["windows", bool(self.length), self.kind, *(one.spec() for one in parts)],
            name=self.name,
            parameters=(Parameter(self.parameter, Str(0, _LONGEST, _ALPHABET)),),
            returns=self._returns(),
            statement=self.statement,
            solutions=(self._comprehension(), self._loops()),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"Looks at pieces of `{self.parameter}`.",
        )


def draw_windows(rng: Random) -> Problem:
    length = rng.choice([0, 0, 2, 3, 4])
    texts = Str(2, _LONGEST, _ALPHABET)
    seen: list[Value] = []
    while len(seen) < 60:
        text = texts.draw(rng, _LONGEST)
        start = rng.randrange(len(text))
        end = start + length if length else rng.randint(start + 1, len(text))
        if end <= len(text):
            seen.append(text[start:end])
    span = (length, length) if length else (1, _LONGEST)
    piece = Variable("s", Observed(Str(), tuple(seen)), "str", span)
    test = draw_test(rng, [piece], 1 if rng.random() < 0.45 else 2)
    value = draw_integer(rng, [piece], rng.choice([1, 1, 2]))
    kinds: tuple[Kind, ...] = ("count", "first", "list", "distinct", "longest", "sum", "best")
    kind = rng.choice(kinds)
    if length and (kind == "longest" or "length" in test.rules() | value.rules()):
        raise NothingDrawn  # all pieces have the same length
    verb = {
        "count": "count", "first": "first", "list": "list", "distinct": "distinct",
        "longest": "longest", "sum": "sum_over", "best": "best",
    }[kind]  # fmt: skip
    noun = rng.choice(["pieces", "windows", "parts", "substrings"])
    noun = noun.removesuffix("s") if kind in ("first", "longest", "best") else noun
    parameter = rng.choice(["text", "word", "code", "name", "line"])
    return Windows(f"{verb}_{noun}", parameter, length, test, value, kind).problem()
