"""What frames write again and again: several lines at once, a whole solution from its block."""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.grammar.drawing import AND, OR, NothingDrawn, draw_test
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Parameter, Solution
from megatron_codemix.corpus.synthesis.values import Int, Observed, Type
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module


@dataclass(frozen=True)
class Signature:
    """Of the function that a problem asks for."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: Type

    def text(self) -> str:
        inside = ", ".join(one.python() for one in self.parameters)
        return f"def {self.name}({inside}) -> {self.returns.python()}:"

    def block(self) -> Block:
        """An empty body in which the parameters' names are taken."""
        return Block([one.name for one in self.parameters])

    def solution(
        self,
        style: str,
        block: Block,
        naming: Naming,
        *,
        parts: Sequence[str] = (),
        imports: Sequence[str] = (),
    ) -> Solution:
        """The module: helpers of the grammar, then `parts`, then the function."""
        text = function(self.text(), block)
        return Solution(style, module([*naming.helpers.values(), *parts, text], imports))


def add_lines(block: Block, text: str) -> None:
    """Statements written as one indented text; each line goes where the block stands."""
    for line in textwrap.dedent(text).strip("\n").split("\n"):
        block.add(line.rstrip())


def notes_of(nodes: Iterable[Node | None]) -> list[str]:
    """What must be said once so that the values of these trees are beyond doubt, in fixed order."""
    return sorted(set().union(*(node.notes() for node in nodes if node is not None)))


def specs_of(nodes: Iterable[Node | None]) -> list[object]:
    return [node and node.spec() for node in nodes]


def shuffled_solutions(rng: Random, solutions: Sequence[Solution]) -> tuple[Solution, ...]:
    """The solutions with another one as the reference: each algorithm is it now and then."""
    ordered = list(solutions)
    rng.shuffle(ordered)
    return tuple(ordered)


def observed_variable(
    name: str, rows: Iterable[Mapping[str, int]], low: int, high: int, *, least: int = 12
) -> Variable:
    """The variable with the values that rows of random inputs gave it; `low` and `high` bound what
    any row can. NothingDrawn: too few were seen, or too much the same, to say what tests mean."""
    values = tuple(row[name] for row in rows)
    if len(values) < least or len(set(values)) < 4:
        raise NothingDrawn
    assert all(low <= one <= high for one in values), (name, low, high, values)
    return Variable(name, Observed(Int(low, high), values), "int", (low, high))


def tells_apart(node: Node, rows: Sequence[Mapping[str, int]]) -> bool:
    """Whether no part of the tree is idle on these rows: tests go both ways on at least a tenth,
    integers vary and now and then differ from what they are made of."""
    if node.rule is None:
        return True
    values = [node.evaluate(row) for row in rows]
    if node.kind == "bool":
        if not 0.1 <= sum(values) / len(values) <= 0.9:
            return False
    elif len(set(values)) < 2:
        return False
    for part in node.arguments:
        if part.kind == node.kind and [part.evaluate(row) for row in rows] == values:
            return False
    return all(tells_apart(part, rows) for part in node.arguments)


def drawn_telling(draw: Callable[[], Node], rows: Sequence[Mapping[str, int]]) -> Node:
    """The first of some draws that says something on these rows. Raises NothingDrawn."""
    for _ in range(10):
        node = draw()
        if tells_apart(node, rows):
            return node
    raise NothingDrawn


def draw_joined(rng: Random, one: Variable, other: Variable) -> Node:
    """A test of each of two variables, joined by "and" or "or". Raises NothingDrawn."""
    parts = (draw_test(rng, [one], 1), draw_test(rng, [other], 1))
    return Node(rng.choice([AND, OR]), parts)
