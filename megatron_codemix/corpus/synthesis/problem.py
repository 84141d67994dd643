"""A problem: statement, solutions in several styles, an oracle that none of them shares code
with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from megatron_codemix.corpus.synthesis.values import Type, Value

Arguments = tuple[Value, ...]


@dataclass(frozen=True)
class Parameter:
    name: str
    type: Type

    def python(self) -> str:
        return f"{self.name}: {self.type.python()}"


@dataclass(frozen=True)
class Solution:
    """A whole module in the restricted Python of `restricted.py`: imports, helpers, the
    function."""

    style: str
    """"loop", "comprehension", "functional", "helpers", "recursive", "class", or what else tells it
    from the others."""
    source: str


@dataclass(frozen=True)
class Property:
    """What must hold of every result, whatever the oracle says; a second line of defence."""

    text: str
    """In English, a sentence: "The result is sorted in ascending order."."""
    check: Callable[[Arguments, Value], bool]


@dataclass(frozen=True)
class Problem:
    """`spec` decides the problem: two with one spec are the same one."""

    family: str
    spec: Any
    """JSON. Words that only dress the problem (nouns, names) need not be in it."""
    name: str
    """The function's."""
    parameters: tuple[Parameter, ...]
    returns: Type
    statement: Callable[[Random], str]
    """Phrased anew by the generator each time; says all that decides the answer. Paragraphs and
    lists in Markdown; code in backquotes."""
    solutions: tuple[Solution, ...]
    """At least two styles; the first is the reference."""
    oracle: Callable[..., Value]
    """The right answer by another way: an interpreter of the tree, or another algorithm. Never the
    rendered text. Must not change its arguments."""
    properties: tuple[Property, ...]
    inputs: Callable[[Random], Iterator[Arguments]]
    """Edge cases first, then random ones without end."""
    summary: str = ""
    """One sentence in the style of a docstring's first line, ending in a full stop."""

    def signature(self) -> str:
        parameters = ", ".join(one.python() for one in self.parameters)
        return f"def {self.name}({parameters}) -> {self.returns.python()}:"


class Family(Protocol):
    name: str

    def draw(self, rng: Random) -> Problem | None:
        """A problem, a function of the generator alone; None where the draw led nowhere."""
