"""What most producers of this family have in common: one parameter, no steps."""

from collections.abc import Iterator, Sequence
from random import Random

from megatron_codemix.corpus.synthesis.grammar.node import Node
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int
from megatron_codemix.corpus.synthesis.writing.statement import Given


class OfOneNumber:
    """Parameters and inputs of a producer that is about one positive integer."""

    parameter = "number"
    largest = 240

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.parameter, Int(1, self.largest)),)

    def given(self) -> list[Given]:
        return [Given(self.parameter, "a positive integer")]

    def steps(self, rng: Random) -> list[str]:
        return []

    def nodes(self) -> Sequence[Node | None]:
        return []

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """1, a prime, a power, a square of a prime, then those with many divisors and any."""
        yield from ((one,) for one in (1, 2, 13, 64, 49, 97))
        while True:
            factor = rng.choice([1, 1, 2, 6, 12, 30])
            yield (factor * rng.randint(1, self.largest // factor),)
