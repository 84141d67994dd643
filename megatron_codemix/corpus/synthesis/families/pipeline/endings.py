"""What is returned of the elements that are left: numbers, tests, elements, lists."""

from random import Random
from typing import Any, Protocol

from megatron_codemix.corpus.synthesis.families.pipeline.flow import (
    Flow,
    Items,
    Writer,
)
from megatron_codemix.corpus.synthesis.families.pipeline.stages import (
    Environment,
    Subjects,
)
from megatron_codemix.corpus.synthesis.values import Type, Value

SETTLED = ("kept", "values", "results", "remaining")
"""Names for the list of what is left, where an ending needs one."""


class Ending(Protocol):
    @property
    def returns(self) -> Type:
        """The function's annotation."""

    def spec(self) -> Any:
        """JSON that decides the ending."""

    def apply(self, values: list[Value], environment: Environment) -> Value:
        """The interpreter's reading."""

    def say(self, rng: Random, items: Items, nouns: str, others: Subjects) -> str:
        """A noun phrase behind "return"; `nouns` are the elements in question, with article."""

    def write(self, writer: Writer, flow: Flow) -> None:
        """The statements up to `return`."""

    def names(self) -> tuple[str, ...]:
        """Words that a function's name may begin with."""
