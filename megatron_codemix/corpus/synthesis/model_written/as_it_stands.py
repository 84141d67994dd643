"""Whether a document with a model's code in it runs, and says what is so.

The text runs in one process, which may say that something is wrong with it. That nothing is wrong
it cannot say: what the document claims (assertions, examples, doctests, printed lines) is read
here, and compared here with what its code gives in another process.
"""

import ast
import doctest
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from megatron_codemix.corpus.synthesis.model_written.trial import (
    NoAnswerError,
    agrees,
    output_of,
    run_program,
)
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.corpus.synthesis.verification.inside.documents import (
    PRINTED,
    code_of,
    examples_in,
)
from megatron_codemix.sandbox.sandbox import Sandbox

_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Claim:
    """That a function of the document gives something."""

    function: str
    arguments: str
    """Source text, as between the brackets of the call."""
    expected: str
    """Source text of the value, or what is printed of it."""
    is_printed: bool = False

    def holds(self, result: tuple[bool, str]) -> bool:
        if not self.is_printed:
            return agrees(self.expected, result)
        is_value, text = result
        try:
            return is_value and (str(ast.literal_eval(text)) or "an empty line") == self.expected
        except _ERRORS:
            return False


def document_problem(
    sandbox: Sandbox, text: str, name: str, tests: Sequence[ProblemTest]
) -> str | None:
    """What is wrong with a document about the function; None where nothing is."""
    try:
        if (said := _said_by_itself(sandbox, text)) is not None:
            return said
        claims = [Claim(name, one.arguments, one.expected) for one in tests]
        claims += claims_in(text, name)
        for function in dict.fromkeys(one.function for one in claims):
            own = [one for one in claims if one.function == function]
            results = run_program(sandbox, code_of(text), function, [one.arguments for one in own])
            for claim, result in zip(own, results, strict=True):
                if not claim.holds(result):
                    given = f"{function}({claim.arguments})"
                    return f"{given} gives {result[1]}, and {claim.expected} is said"
    except NoAnswerError as error:
        return str(error)
    except _ERRORS as error:
        return f"it cannot be read: {type(error).__name__}"
    return None


def _said_by_itself(sandbox: Sandbox, text: str) -> str | None:
    """By a process in the document's own hands: a complaint is believed, and nothing else."""
    job = {"problems": [{"solutions": [], "text": text}]}
    match output_of(sandbox, "documents", job):
        case [{"error": None}]:
            return None
        case [{"error": str(wrong)}]:
            return wrong
    raise NoAnswerError("no answer that can be read")


def claims_in(text: str, name: str) -> list[Claim]:
    """Those of the forms that documents have. Raises SyntaxError, ValueError, RecursionError."""
    code = code_of(text)
    tree = ast.parse(code)
    found = [(call, _parsed(value), False) for call, value in examples_in(text)]
    found += [(call, value, True) for call, value in PRINTED.findall(code)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        found += _asserted(body if isinstance(body, list) else [])
        if isinstance(node, ast.FunctionDef | ast.Module) and (docs := ast.get_docstring(node)):
            found += [
                (one.source.strip(), _parsed(one.want.strip() or "None"), False)
                for one in doctest.DocTestParser().get_examples(docs)
            ]
    claims = (_claim(call, value, name, is_printed) for call, value, is_printed in found)
    return [one for one in claims if one is not None]


def _asserted(body: list[ast.stmt]) -> Iterator[tuple[str, Any, bool]]:
    """`assert f(1) == 2`, or the same with a `result` between."""
    for before, statement in pairwise([None, *body]):
        match statement, before:
            case ast.Assert(test=ast.Compare(ast.Call() as call, [_], [value])), _:
                yield ast.unparse(call), value, False
            case (
                ast.Assert(test=ast.Compare(ast.Name(id=one), [_], [value])),
                ast.Assign(targets=[ast.Name(id=other)], value=ast.Call() as call),
            ) if one == other:
                yield ast.unparse(call), value, False


def _parsed(source: str) -> ast.expr | None:
    try:
        return ast.parse(source, mode="eval").body
    except _ERRORS:
        return None


def _claim(call: str, value: Any, name: str, is_printed: bool) -> Claim | None:
    """None where it is not about the function, or of another form than ours."""
    match _parsed(call):
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in (
            name,
            f"{name}_again",
        ):
            try:
                for one in arguments:
                    ast.literal_eval(one)
                if not is_printed:
                    ast.literal_eval(value)
            except _ERRORS:
                return None
            text = ", ".join(map(ast.unparse, arguments))
            return Claim(function, text, value if is_printed else ast.unparse(value), is_printed)
    return None
