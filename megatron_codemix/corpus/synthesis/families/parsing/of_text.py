"""What the producers of this family have in common: one text as the parameter."""

from collections.abc import Sequence
from random import Random

from megatron_codemix.corpus.synthesis.grammar.node import Node
from megatron_codemix.corpus.synthesis.problem import Parameter
from megatron_codemix.corpus.synthesis.values import Str
from megatron_codemix.corpus.synthesis.writing.statement import Given

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class OfText:
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("text", Str()),)

    def given(self) -> list[Given]:
        return [Given("text", "a text")]

    def steps(self, rng: Random) -> list[str]:
        return []

    def nodes(self) -> Sequence[Node | None]:
        return []
