"""Problems of two halves: an algorithm finds rows (a producer), a summary makes the result of
them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any, Protocol

from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    notes_of,
    observed_variable,
    shuffled_solutions,
)
from megatron_codemix.corpus.synthesis.families.summary import RowWords, Summary, draw_summary
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Range
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Row = dict[str, int]
_SAMPLES = 14


@dataclass
class Body:
    """A solution that is being written."""

    block: Block
    naming: Naming
    used: set[str]
    """Variables of rows that the summary reads."""
    parts: list[str] = field(default_factory=list)
    """Definitions in front of the function."""
    imports: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rows:
    """Where a solution has its rows: what a `for` iterates over, and the variables' names."""

    source: str
    names: dict[str, str]


class Producer(Protocol):
    """Finds rows in the arguments."""

    def subject(self) -> str:
        """What names of functions end in: "divisors"."""

    def title(self) -> str:
        """A sentence that says what it is about, for docstrings."""

    def spec(self) -> Any:
        """JSON, a list; its first element names the producer."""

    def parameters(self) -> tuple[Parameter, ...]: ...

    def given(self) -> list[Given]: ...

    def model(self, rng: Random, used: set[str]) -> list[str]:
        """Sentences; `used`: variables of rows that the summary reads."""

    def steps(self, rng: Random) -> list[str]: ...

    def words(self) -> RowWords: ...

    def subjects(self) -> dict[str, Subject]:
        """Of the variables of a row, in the summary's words."""

    def bounds(self) -> dict[str, Range]:
        """Variables of a row, with a sound range each; those to draw from."""

    def nodes(self) -> Sequence[Node | None]:
        """The holes, for notes."""

    def rows(self, *arguments: Value) -> list[Row]:
        """The oracle's way."""

    def styles(self) -> tuple[str, ...]: ...

    def write(self, style: str, body: Body) -> Rows: ...

    def inputs(self, rng: Random) -> Iterator[Arguments]: ...


@dataclass(frozen=True)
class Found:
    family: str
    producer: Producer
    summary: Summary
    signature: Signature

    def oracle(self, *arguments: Value) -> Value:
        return self.summary.apply(self.producer.rows(*arguments))

    def statement(self, rng: Random) -> str:
        maker = self.producer
        model, steps = maker.model(rng, self.summary.variables()), maker.steps(rng)
        result = self.summary.say(rng, maker.words(), maker.subjects())
        task = Task(
            name=self.signature.name,
            given=maker.given(),
            model=model,
            steps=steps,
            result=result,
            notes=notes_of([*maker.nodes(), *self.summary.nodes()]),
        )
        return phrased(rng, task)

    def solution(self, style: str, number: int) -> Solution:
        naming = Naming({}, number, uses_helpers=number > 0)
        body = Body(self.signature.block(), naming, self.summary.variables())
        rows = self.producer.write(style, body)
        body.block.names |= set(rows.names.values())
        names = naming.renamed(rows.names)
        self.summary.write(body.block, names, rows.source, is_loop=number % 2 == 1)
        return self.signature.solution(
            style, body.block, naming, parts=body.parts, imports=body.imports
        )

    def problem(self, rng: Random) -> Problem:
        solutions = [
            self.solution(style, number) for number, style in enumerate(self.producer.styles())
        ]
        return Problem(
            family=self.family,
            spec=[*self.producer.spec(), self.summary.spec()],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=(),
            inputs=self.producer.inputs,
            summary=self.producer.title(),
        )


def draw_found(
    rng: Random, family: str, producer: Producer, without: Sequence[str] = (), required: str = ""
) -> Problem:
    """A summary of one or two of the variables that the producer's rows have; `required` is one
    that it must use, lest the work on it be idle. Raises NothingDrawn."""
    samples = [producer.rows(*one) for one in islice(producer.inputs(rng), 3, 3 + _SAMPLES)]
    seen = [row for rows in samples for row in rows]
    bounds = producer.bounds()
    names = list(bounds)
    if len(names) > 1:
        names = rng.sample(names, 1 if rng.random() < 0.35 else 2)
    if required and required not in names:
        names[0] = required
    variables = [observed_variable(name, seen, *bounds[name]) for name in names]
    summary = draw_summary(rng, variables, samples, without)
    if required and required not in summary.variables():
        raise NothingDrawn
    name = f"{summary.head()}_{producer.subject()}"
    signature = Signature(name, producer.parameters(), summary.returns)
    return Found(family, producer, summary, signature).problem(rng)
