"""Programs of words for a stack of numbers, some of the words with meanings of their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.parsing.of_text import OfText
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments
from megatron_codemix.corpus.synthesis.values import Int

MODULUS = 1000
"""Numbers on the stack are kept below it, so that no program makes them large."""
_HIGH = MODULUS - 1
TOP = Variable("b", Int(0, 60), "int", (0, _HIGH))
SECOND = Variable("a", Int(0, 60), "int", (0, _HIGH))
_EXTRA = {
    "dup": "`dup` puts a copy of the top number on the stack",
    "drop": "`drop` removes the top number",
    "swap": "`swap` exchanges the two top numbers",
    "over": "`over` puts a copy of the number below the top one on the stack",
}
_NEEDS = {"dup": 1, "drop": 1, "swap": 2, "over": 2}


@dataclass(frozen=True)
class Stack(OfText):
    unary: str
    """A word that replaces the top number."""
    unary_node: Node
    binary: str
    """A word that replaces the two top numbers by one."""
    binary_node: Node
    extra: tuple[str, ...]
    """Further words, of those in `_EXTRA`."""

    def subject(self) -> str:
        return "stack"

    def title(self) -> str:
        return "What a program for a stack of numbers leaves behind."

    def spec(self) -> Any:
        return ["stack", *specs_of(self.nodes()), list(self.extra)]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        unary = self.unary_node.phrase(rng, {"b": Subject("the top number")})
        two = {"b": Subject("the second"), "a": Subject("the first")}
        binary = self.binary_node.phrase(rng, two)
        return [
            rng.choice(
                [
                    "`text` is a program for a stack, which is empty at first: words separated by "
                    "single spaces (none in an empty text), carried out from left to right",
                    "the words of `text`, separated by single spaces, are carried out one after "
                    "the other and work on a stack of numbers that is empty at the start (an empty "
                    "text does nothing)",
                ]
            ),
            "a number (0 to 99) is put on top of the stack",
            f"`{self.unary}` replaces the top number by {unary}",
            f"`{self.binary}` removes the two top numbers, of which the lower one is called the "
            f"first and the top one the second, and puts this in their place: {binary}",
            *(_EXTRA[one] for one in self.extra),
            f"results of `{self.unary}` and `{self.binary}` are reduced to their remainder modulo "
            f"{MODULUS} (never negative)",
            "a word for which there are too few numbers on the stack does nothing",
        ]

    def words(self) -> RowWords:
        where = "left on the stack"
        return RowWords("number", "numbers", "from the bottom to the top", where, where)

    def subjects(self) -> dict[str, Subject]:
        return {"x": Subject("the number")}

    def bounds(self) -> dict[str, Range]:
        return {"x": (0, _HIGH)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.unary_node, self.binary_node]

    def rows(self, text: str) -> list[Row]:
        """With the stack as nested pairs, (top, rest)."""
        stack: Any = None
        for word in text.split(" ") if text else []:
            stack = self._after(stack, word)
        numbers = []
        while stack is not None:
            number, stack = stack
            numbers.append({"x": number})
        return numbers[::-1]

    def _after(self, stack: Any, word: str) -> Any:
        if word.isdigit():
            return int(word), stack
        if stack is None:
            return None
        top, rest = stack
        if word == self.unary:
            return self.unary_node.evaluate({"b": top}) % MODULUS, rest
        if word == "dup":
            return top, stack
        if word == "drop":
            return rest
        if rest is None:
            return stack
        below, others = rest
        if word == self.binary:
            return self.binary_node.evaluate({"a": below, "b": top}) % MODULUS, others
        return (below, (top, others)) if word == "swap" else (below, stack)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ("",)
        yield (self.binary,)
        yield (f"5 {self.unary}",)
        yield (f"7 3 {self.binary}",)
        while True:
            words = [str(rng.randint(0, 99)) for _ in range(rng.choice([0, 1, 2, 2, 3]))]
            for _ in range(rng.randint(3, 9)):
                kinds = [str(rng.randint(0, 40)), str(rng.randint(0, 99)), self.unary, self.binary]
                words.append(rng.choice([*kinds, *self.extra]))
            yield (" ".join(words),)

    def styles(self) -> tuple[str, ...]:
        return ("loop", "functions", "counter")

    def _codes(self, body: Body, below: str, top: str) -> tuple[str, str]:
        naming = body.naming.renamed({"a": below, "b": top})
        unary, binary = self.unary_node.python(naming), self.binary_node.python(naming)
        return f"{unary:product} % {MODULUS}", f"{binary:product} % {MODULUS}"

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"word", "words", "stack", "number", "top", "below"}
        if style == "loop":
            self._loop(body)
        elif style == "functions":
            self._functions(body)
        else:
            self._slices(body)
        return Rows("number in stack", {"x": "number"})

    def _loop(self, body: Body) -> None:
        unary, binary = self._codes(body, "below", "top")
        block = body.block
        block.add("stack = []")
        with block.inside("for word in text.split():"):
            with block.inside("if word.isdigit():"):
                block.add("stack.append(int(word))")
            with block.inside(f'elif word == "{self.unary}" and stack:'):
                block.add("top = stack.pop()")
                block.add(f"stack.append({unary})")
            with block.inside(f'elif word == "{self.binary}" and len(stack) >= 2:'):
                block.add("top = stack.pop()")
                block.add("below = stack.pop()")
                block.add(f"stack.append({binary})")
            bodies = {
                "dup": ["stack.append(stack[-1])"],
                "drop": ["stack.pop()"],
                "swap": ["top = stack.pop()", "below = stack.pop()", "stack.append(top)",
                         "stack.append(below)"],
                "over": ["stack.append(stack[-2])"],
            }  # fmt: skip
            for word in self.extra:
                test = "stack" if _NEEDS[word] == 1 else "len(stack) >= 2"
                with block.inside(f'elif word == "{word}" and {test}:'):
                    add_lines(block, "\n".join(bodies[word]))

    def _functions(self, body: Body) -> None:
        """A function for each word of its own."""
        unary, binary = self._codes(body, "below", "top")
        body.parts.append(f"def {self.unary}(top: int) -> int:\n    return {unary}")
        body.parts.append(f"def {self.binary}(below: int, top: int) -> int:\n    return {binary}")
        block = body.block
        block.add("stack = []")
        with block.inside("for word in text.split():"):
            with block.inside("if word.isdigit():"):
                block.add("stack.append(int(word))")
                block.add("continue")
            with block.inside("if not stack:"):
                block.add("continue")
            with block.inside(f'if word == "{self.unary}":'):
                block.add(f"stack[-1] = {self.unary}(stack[-1])")
            bodies = {
                "dup": "stack.append(stack[-1])",
                "drop": "stack.pop()",
                "swap": "last = stack.pop()\nstack.insert(len(stack) - 1, last)",
                "over": "stack.append(stack[-2])",
            }
            for word in self.extra:
                test = "" if _NEEDS[word] == 1 else " and len(stack) > 1"
                with block.inside(f'elif word == "{word}"{test}:'):
                    add_lines(block, bodies[word])
            with block.inside(f'elif word == "{self.binary}" and len(stack) > 1:'):
                block.add("last = stack.pop()")
                block.add(f"stack[-1] = {self.binary}(stack[-1], last)")

    def _slices(self, body: Body) -> None:
        """Makes a new list with each word."""
        unary, binary = self._codes(body, "stack[-2]", "stack[-1]")
        block = body.block
        block.add("stack = []")
        with block.inside("for word in text.split():"):
            block.add("size = len(stack)")
            with block.inside("if word.isdigit():"):
                block.add("stack = stack + [int(word)]")
            with block.inside(f'elif word == "{self.unary}" and size > 0:'):
                block.add(f"stack = stack[:-1] + [{unary}]")
            with block.inside(f'elif word == "{self.binary}" and size > 1:'):
                block.add(f"stack = stack[:-2] + [{binary}]")
            bodies = {"dup": "stack + stack[-1:]", "drop": "stack[:-1]",
                      "swap": "stack[:-2] + [stack[-1], stack[-2]]",
                      "over": "stack + [stack[-2]]"}  # fmt: skip
            for word in self.extra:
                with block.inside(f'elif word == "{word}" and size > {_NEEDS[word] - 1}:'):
                    block.add(f"stack = {bodies[word]}")


def draw_stack(rng: Random) -> tuple[Producer, str]:
    unary = draw_integer(rng, [TOP], rng.choice([1, 1, 2]))
    binary = draw_integer(rng, [SECOND, TOP], rng.choice([1, 1, 2]))
    if max(binary.range()[1], unary.range()[1]) < 50:
        raise NothingDrawn
    names = rng.choice([("bump", "mix"), ("turn", "join"), ("twist", "fold"), ("tick", "melt"),
                        ("grow", "merge"), ("flip", "blend")])  # fmt: skip
    extra = rng.sample(list(_EXTRA), rng.choice([0, 1, 1, 2]))
    return Stack(names[0], unary, names[1], binary, tuple(extra)), "x"
