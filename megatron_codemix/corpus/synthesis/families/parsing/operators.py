"""Expressions with two operators whose meanings the problem makes up, and rules of precedence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    add_lines,
    notes_of,
    shuffled_solutions,
    specs_of,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import (
    Arguments,
    Parameter,
    Problem,
    Property,
    Solution,
)
from megatron_codemix.corpus.synthesis.values import Int, Str
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Order = Literal["left", "right", "tight"]
_LEFT = Variable("a", Int(0, 60), "int", (0, 9999))
_RIGHT = Variable("b", Int(0, 60), "int", (0, 9999))


@dataclass(frozen=True)
class Operators:
    signs: tuple[str, str]
    meanings: tuple[Node, Node]
    order: Order
    """All from the left, all from the right, or the first operator before the second."""
    has_brackets: bool
    modulus: int
    signature: Signature

    def nodes(self) -> Sequence[Node | None]:
        return self.meanings

    def apply(self, sign: str, left: int, right: int) -> int:
        node = self.meanings[self.signs.index(sign)]
        return int(node.evaluate({"a": left, "b": right})) % self.modulus

    def oracle(self, text: str) -> int:
        """By shrinking the list of words until one number is left."""
        words: list[int | str] = [int(one) if one.isdigit() else one for one in text.split()]
        while len(words) > 1:
            close = words.index(")") if ")" in words else len(words)
            opens = [i for i in range(close) if words[i] == "("]
            start = opens[-1] + 1 if opens else 0
            inner = words[start:close]
            if len(inner) == 1:
                words[start - 1 : close + 1] = inner
                continue
            places = [i for i, one in enumerate(inner) if one in self.signs]
            first = [i for i in places if inner[i] == self.signs[0]]
            if self.order == "tight" and first:
                places = first
            place = start + (places[-1] if self.order == "right" else places[0])
            left, sign, right = words[place - 1 : place + 2]
            assert isinstance(left, int)
            assert isinstance(right, int)
            words[place - 1 : place + 2] = [self.apply(str(sign), left, right)]
        assert isinstance(words[0], int)
        return words[0]

    def statement(self, rng: Random) -> str:
        one, two = self.signs
        subjects = {"a": Subject("the left operand"), "b": Subject("the right operand")}
        first, second = (node.phrase(rng, subjects) for node in self.meanings)
        model = [
            rng.choice(
                [
                    f"the text is an expression of non-negative integers and the operators `{one}` "
                    f"and `{two}`, all separated by single spaces",
                    f"the expression in the text consists of numbers that are not negative and of "
                    f"the signs `{one}` and `{two}` between them; one space separates each from "
                    "the next",
                ]
            ),
            f"the operator `{one}` gives {first}; `{two}` gives {second}",
            f"of the result of each operator only the remainder modulo {self.modulus} (never "
            "negative) is kept; numbers in the text are less than that",
            {
                "left": rng.choice(
                    [
                        "both operators bind equally tightly and are applied from left to right",
                        "there is no precedence: the leftmost operator is applied first",
                    ]
                ),
                "right": rng.choice(
                    [
                        "both operators bind equally tightly and are applied from right to left",
                        "there is no precedence: the rightmost operator is applied first, and so "
                        "each right operand is everything behind the operator",
                    ]
                ),
                "tight": rng.choice(
                    [
                        f"`{one}` binds more tightly than `{two}`; operators of one kind are "
                        "applied from left to right",
                        f"all `{one}` are applied before any `{two}`, each kind from left to right",
                    ]
                ),
            }[self.order],
        ]
        if self.has_brackets:
            model.append(
                "what stands in round brackets (which are also set off by spaces, and may be "
                "nested) is evaluated first, by the same rules"
            )
        task = Task(
            name=self.signature.name,
            given=[Given("text", "a text that holds an expression")],
            model=model,
            result=rng.choice(["the value of the expression", "what the expression evaluates to"]),
            notes=[
                "the expression is never empty and always well formed; a single number is one",
                *notes_of(self.meanings),
            ],
        )
        return phrased(rng, task)

    def _apply_text(self, naming: Naming, name: str = "combine") -> str:
        """A function for both operators."""
        own = naming.renamed({"a": "left", "b": "right"})
        first, second = (node.python(own) for node in self.meanings)
        return (
            f"def {name}(sign: str, left: int, right: int) -> int:\n"
            f'    if sign == "{self.signs[0]}":\n'
            f"        return {first:product} % {self.modulus}\n"
            f"    return {second:product} % {self.modulus}"
        )

    def _flat(self) -> str:
        """The definition of `value_of(words)`, for words without brackets."""
        if self.order == "left":
            lines = """
            value = int(words[0])
            for place in range(1, len(words), 2):
                value = combine(words[place], value, int(words[place + 1]))
            return value
            """
        elif self.order == "right":
            lines = """
            value = int(words[-1])
            for place in range(len(words) - 2, 0, -2):
                value = combine(words[place], int(words[place - 1]), value)
            return value
            """
        else:
            lines = f"""
            terms = [int(words[0])]
            for place in range(1, len(words), 2):
                number = int(words[place + 1])
                if words[place] == "{self.signs[0]}":
                    terms[-1] = combine("{self.signs[0]}", terms[-1], number)
                else:
                    terms.append(number)
            value = terms[0]
            for term in terms[1:]:
                value = combine("{self.signs[1]}", value, term)
            return value
            """
        block = Block()
        add_lines(block, lines)
        return "def value_of(words: list[str]) -> int:\n" + block.text()

    def _passes(self) -> Solution:
        """Flat expressions by loops; brackets are replaced by their values, innermost first."""
        block, naming = self.signature.block(), Naming({}, 0)
        parts = [self._apply_text(naming), self._flat()]
        block.add("words = text.split()")
        if self.has_brackets:
            add_lines(
                block,
                """
                while ")" in words:
                    end = 0
                    while words[end] != ")":
                        end += 1
                    start = end
                    while words[start] != "(":
                        start -= 1
                    inner = value_of(words[start + 1 : end])
                    words = words[:start] + [str(inner)] + words[end + 1 :]
                """,
            )
        block.add("return value_of(words)")
        return self.signature.solution("passes", block, naming, parts=parts)

    def _recursive(self) -> Solution:
        """Splits at the operator that is applied last."""
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        one, two = self.signs
        depth = "depth == 0 and " if self.has_brackets else ""
        count = ""
        if self.has_brackets:
            count = """
                if words[place] == "(":
                    depth += 1
                elif words[place] == ")":
                    depth -= 1"""
        chosen = {
            "left": f'{depth}words[place] in ("{one}", "{two}")',
            "right": f'{depth}split == 0 and words[place] in ("{one}", "{two}")',
            "tight": _in_depth(
                depth,
                f'words[place] == "{two}" or words[place] == "{one}" and words[split] != "{two}"',
            ),
        }[self.order]
        head = "    depth = 0\n" if self.has_brackets else ""
        opened = ""
        if self.has_brackets:
            opened = "    if split == 0:\n        return evaluated(words[1:-1])\n"
        elif_ = "elif" if self.has_brackets else "if"
        loop = Block()
        add_lines(
            loop,
            f"""
            for place in range(len(words)):{count}
                {elif_} {chosen}:
                    split = place
            """,
        )
        body = (
            "def evaluated(words: list[str]) -> int:\n"
            "    if len(words) == 1:\n        return int(words[0])\n"
            f"{head}    split = 0\n{loop.text()}\n{opened}"
            "    left = evaluated(words[:split])\n"
            "    right = evaluated(words[split + 1 :])\n"
            "    return combine(words[split], left, right)"
        )
        block.add("return evaluated(text.split())")
        parts = [self._apply_text(naming), body]
        return self.signature.solution("recursive", block, naming, parts=parts)

    def _stacks(self) -> Solution:
        """Two stacks, of numbers and of operators that wait (Dijkstra's shunting yard)."""
        block, naming = self.signature.block(), Naming({}, 2)
        one, two = self.signs
        waits = {
            "left": "signs",
            "right": "",
            "tight": f'signs and (word == "{two}" or signs[-1] == "{one}")',
        }[self.order]
        if self.has_brackets and waits:
            waits = {
                "left": 'signs and signs[-1] != "("',
                "tight": 'signs and signs[-1] != "(" and '
                f'(word == "{two}" or signs[-1] == "{one}")',
            }[self.order]
        reduce_part = (
            "def reduce(numbers: list[int], signs: list[str]) -> None:\n"
            '    """Apply the operator that came last to the two last numbers."""\n'
            "    right = numbers.pop()\n    left = numbers.pop()\n"
            "    numbers.append(combine(signs.pop(), left, right))"
        )
        block.add("numbers = []")
        block.add("signs = []")
        with block.inside("for word in text.split():"):
            with block.inside("if word.isdigit():"):
                block.add("numbers.append(int(word))")
            if self.has_brackets:
                with block.inside('elif word == "(":'):
                    block.add("signs.append(word)")
                with block.inside('elif word == ")":'):
                    with block.inside('while signs[-1] != "(":'):
                        block.add("reduce(numbers, signs)")
                    block.add("signs.pop()")
            with block.inside("else:"):
                if waits:
                    with block.inside(f"while {waits}:"):
                        block.add("reduce(numbers, signs)")
                block.add("signs.append(word)")
        with block.inside("while signs:"):
            block.add("reduce(numbers, signs)")
        block.add("return numbers[0]")
        parts = [self._apply_text(naming), reduce_part]
        return self.signature.solution("stacks", block, naming, parts=parts)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        one, two = self.signs
        yield ("7",)
        yield (f"8 {one} 3",)
        yield (f"9 {two} 2",)
        yield (f"2 {two} 7 {one} 5 {two} 4",)
        while True:
            yield (self._expression(rng, rng.randint(2, 5), 2),)

    def _expression(self, rng: Random, many: int, depth: int) -> str:
        words = []
        for place in range(many):
            if place:
                words.append(rng.choice(self.signs))
            if self.has_brackets and depth and rng.random() < 0.3:
                inner = self._expression(rng, rng.randint(2, 3), depth - 1)
                words.append(f"( {inner} )")
            else:
                words.append(str(rng.choice([rng.randint(0, 9), rng.randint(0, 40)])))
        return " ".join(words)

    def problem(self, rng: Random) -> Problem:
        solutions = [self._passes(), self._recursive(), self._stacks()]
        modulus = self.modulus
        holes = specs_of(self.meanings)
        return Problem(
            family="parsing",
            spec=["operators", *holes, self.order, self.has_brackets, modulus],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=(
                Property(f"The result is from 0 to {modulus - 1}.", lambda a, r: 0 <= r < modulus),
            ),
            inputs=self.inputs,
            summary="The value of an expression with operators of its own.",
        )


def _in_depth(depth: str, test: str) -> str:
    return f"{depth}({test})" if depth else test


def draw_operators(rng: Random) -> Problem:
    meanings = (
        draw_integer(rng, [_LEFT, _RIGHT], rng.choice([1, 2, 2])),
        draw_integer(rng, [_LEFT, _RIGHT], rng.choice([1, 1, 2])),
    )
    if meanings[0].spec() == meanings[1].spec():
        raise NothingDrawn
    signs = rng.choice([("#", "@"), ("&", "|"), ("<", ">"), ("$", "%"), ("!", "?"), ("^", "~")])
    order: Order = rng.choice(["left", "right", "tight", "tight"])
    name = rng.choice(["evaluate", "calculate", "compute", "value_of_expression", "reckon"])
    signature = Signature(name, (Parameter("text", Str()),), Int())
    modulus = rng.choice([97, 100, 256, 1000, 9973])
    return Operators(signs, meanings, order, rng.random() < 0.5, modulus, signature).problem(rng)
