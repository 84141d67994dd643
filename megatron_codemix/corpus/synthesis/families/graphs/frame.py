"""What the frames of graphs share: signatures, solutions as modules, the problem around them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.graphs.network import Network
from megatron_codemix.corpus.synthesis.grammar.node import Naming
from megatron_codemix.corpus.synthesis.problem import (
    Arguments,
    Parameter,
    Problem,
    Property,
    Solution,
)
from megatron_codemix.corpus.synthesis.values import Int, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

FAMILY = "graphs"


@dataclass(frozen=True)
class Frame:
    """A problem on a network: name, what it takes besides the network, and what it returns."""

    network: Network
    name: str
    returns: Type
    extra: tuple[str, ...] = ()
    """Names of further parameters, each the number of a place."""

    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.network.parameters(), *(Parameter(name, Int()) for name in self.extra))

    def block(self) -> Block:
        theme = self.network.theme
        own = {"first", "second", theme.place, theme.weight, self.network.size_name, theme.links}
        return Block({*own, *self.extra, self.name})

    def solution(self, style: str, block: Block, naming: Naming) -> Solution:
        parameters = ", ".join(one.python() for one in self.parameters())
        signature = f"def {self.name}({parameters}) -> {self.returns.python()}:"
        return Solution(style, module([*naming.helpers.values(), function(signature, block)]))

    def statement(
        self, rng: Random, *, model: Sequence[str], result: str, notes: Sequence[str]
    ) -> str:
        theme = self.network.theme
        places = [Given(name, f"the number of {theme.a_place}") for name in self.extra]
        return phrased(
            rng,
            Task(
                name=self.name,
                given=[*self.network.given(), *places],
                model=[*self.network.model(rng), *model],
                result=result,
                notes=notes,
            ),
        )

    def problem(
        self,
        *,
        spec: Any,
        statement: Callable[[Random], str],
        solutions: tuple[Solution, ...],
        oracle: Callable[..., Value],
        summary: str,
        properties: tuple[Property, ...] = (),
        inputs: Callable[[Random], Iterator[Arguments]] | None = None,
    ) -> Problem:
        return Problem(
            family=FAMILY,
            spec=spec,
            name=self.name,
            parameters=self.parameters(),
            returns=self.returns,
            statement=statement,
            solutions=solutions,
            oracle=oracle,
            properties=properties,
            inputs=inputs or self.inputs,
            summary=summary,
        )

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        for size, edges in self.network.graphs(rng):
            yield size, edges, *(rng.randrange(size) for _ in self.extra)
