"""A plan: a search for the best or for all of something, solved from small to large."""

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, Literal, Protocol

from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    notes_of,
    shuffled_solutions,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Maybe, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Aim = Literal["least", "most", "count"]
_SAMPLES = 16


class Plan(Protocol):
    def name(self) -> str: ...

    def title(self) -> str: ...

    def spec(self) -> Any: ...

    def parameters(self) -> tuple[Parameter, ...]: ...

    def returns(self) -> Type: ...

    def given(self) -> list[Given]: ...

    def model(self, rng: Random) -> list[str]: ...

    def result(self, rng: Random) -> str:
        """Behind "return"."""

    def nodes(self) -> Sequence[Node | None]: ...

    def oracle(self, *arguments: Value) -> Value:
        """By trying everything."""

    def styles(self) -> tuple[str, ...]: ...

    def write(self, style: str, block: Block, naming: Naming) -> None: ...

    def inputs(self, rng: Random) -> Iterator[Arguments]: ...


def planned(rng: Random, family: str, plan: Plan) -> Problem:
    """The problem. NothingDrawn: answers are nearly always the same."""
    results = [str(plan.oracle(*one)) for one in islice(plan.inputs(rng), 3, 3 + _SAMPLES)]
    if max(results.count(one) for one in set(results)) > 0.6 * len(results):
        raise NothingDrawn
    signature = Signature(plan.name(), plan.parameters(), plan.returns())

    def statement(rng: Random) -> str:
        task = Task(
            name=signature.name,
            given=plan.given(),
            model=plan.model(rng),
            result=plan.result(rng),
            notes=notes_of(plan.nodes()),
        )
        return phrased(rng, task)

    solutions: list[Solution] = []
    for number, style in enumerate(plan.styles()):
        block, naming = signature.block(), Naming({}, number, uses_helpers=number > 0)
        plan.write(style, block, naming)
        solutions.append(signature.solution(style, block, naming))
    ordered = shuffled_solutions(rng, solutions)
    if ordered[0].style == "recursive":
        # Without its memory of what is known it gives the same, only later: no test can show that
        # the condition on it is needed, so another one is the reference.
        ordered = (*ordered[1:], ordered[0])
    return Problem(
        family=family,
        spec=plan.spec(),
        name=signature.name,
        parameters=signature.parameters,
        returns=signature.returns,
        statement=statement,
        solutions=ordered,
        oracle=plan.oracle,
        properties=(),
        inputs=plan.inputs,
        summary=plan.title(),
    )


def type_of(aim: Aim) -> Type:
    """A number of ways; or the best total, None where there is no way."""
    return Int() if aim == "count" else Maybe(Int())


def settled(aim: Aim, totals: Sequence[int]) -> int | None:
    """What the aim makes of the totals of all ways."""
    if aim == "count":
        return len(totals)
    ordered = sorted(totals)
    return ordered[0 if aim == "least" else -1] if ordered else None


def best_of(aim: Aim) -> str:
    """The function that picks the better one."""
    return "min" if aim == "least" else "max"


def aim_words(rng: Random, aim: Aim, ways: str, total: str) -> str:
    """Behind "return": `ways`, a plural, with what makes them ways; `total` of one way."""
    if aim == "count":
        return rng.choice([f"the number of different {ways}", f"how many different {ways} there "
                           "are"])  # fmt: skip
    word = rng.choice(["smallest", "least possible"] if aim == "least" else
                      ["largest", "greatest possible"])  # fmt: skip
    return f"the {word} {total} over all {ways}, or `None` if there are none"
