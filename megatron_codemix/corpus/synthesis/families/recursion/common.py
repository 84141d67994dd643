"""What the frames of recursion share: reducing modulo, modules, problems."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module

MODULI = (97, 100, 101, 128, 256, 500, 997, 1000)


def reduced(node: Node, naming: Naming, modulus: int) -> str:
    """The expression modulo the modulus, unless it is below it anyway."""
    code = node.python(naming)
    low, high = node.range()
    return f"{code}" if low >= 0 and high < modulus else f"{code:unary} % {modulus}"


def solution(
    style: str, signature: str, block: Block, naming: Naming, parts: Sequence[str] = ()
) -> Solution:
    return Solution(style, module([*naming.helpers.values(), *parts, function(signature, block)]))


def problem(
    *,
    spec: Any,
    name: str,
    parameters: tuple[Parameter, ...],
    returns: Type,
    statement: Callable[[Random], str],
    solutions: tuple[Solution, ...],
    oracle: Callable[..., Value],
    inputs: Callable[[Random], Iterator[Arguments]],
    summary: str,
) -> Problem:
    return Problem(
        family="recursion",
        spec=spec,
        name=name,
        parameters=parameters,
        returns=returns,
        statement=statement,
        solutions=solutions,
        oracle=oracle,
        properties=(),
        inputs=inputs,
        summary=summary,
    )


def notes_of(*nodes: Node | None) -> list[str]:
    return sorted(set().union(*(one.notes() for one in nodes if one is not None)))
