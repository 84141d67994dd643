"""An exercise as a model wrote it: read, and looked at before anything of it runs."""

import ast
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from megatron_codemix.corpus.synthesis.model_written.imports import module_by_the_way
from megatron_codemix.corpus.synthesis.model_written.inside import NoValueError, literal
from megatron_codemix.corpus.synthesis.model_written.json_in_text import UnreadableError, object_in

LEAST_INPUTS = 5
MOST_INPUTS = 40
_MAX_STATEMENT = 4_000
_MAX_SOLUTION = 8_000
_MAX_ARGUMENTS = 2_000
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_FOREIGN_CALLS = {
    "open", "input", "print", "exec", "eval", "compile", "__import__", "exit", "quit", "globals",
    "id", "hash", "breakpoint", "vars", "locals",
}  # fmt: skip


@dataclass(frozen=True)
class Exercise:
    """A statement, a solution and inputs: source text of arguments, as between the brackets of a
    call."""

    name: str
    statement: str
    solution: str
    inputs: tuple[str, ...]


def read_exercise(reply: str) -> Exercise:
    """Raises UnreadableError with what is wrong."""
    value = object_in(reply, "name", "statement", "solution", "inputs")
    name = value["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name.strip().removesuffix("()")):
        raise UnreadableError("no name of a function")
    name = name.strip().removesuffix("()")
    statement = value["statement"]
    if not isinstance(statement, str) or not 20 <= len(statement.strip()) <= _MAX_STATEMENT:
        raise UnreadableError("no statement, or a very long one")
    solution = checked_solution(value["solution"], name)
    inputs = value["inputs"]
    if not isinstance(inputs, list):
        raise UnreadableError("no list of inputs")
    parameters = parameters_of(solution, name)
    written = [_arguments(one, name, parameters) for one in inputs[: 4 * MOST_INPUTS]]
    distinct = tuple(dict.fromkeys(one for one in written if one is not None))[:MOST_INPUTS]
    if len(distinct) < LEAST_INPUTS:
        raise UnreadableError("few inputs")
    return Exercise(name, statement.strip(), solution, distinct)


def read_solution(reply: str, name: str) -> str:
    """Of the second request. A module without an object around it is taken too. Raises
    UnreadableError."""
    try:
        source = object_in(reply, "solution")["solution"]
    except UnreadableError:
        if not _FENCE.match(reply):
            raise
        source = reply
    return checked_solution(source, name)


def checked_solution(source: Any, name: str) -> str:
    """A module that defines the function with plain parameters, and uses nothing that makes its
    result depend on more than its arguments. Raises UnreadableError."""
    if not isinstance(source, str) or len(source) > _MAX_SOLUTION:
        raise UnreadableError("no solution, or a very long one")
    fenced = _FENCE.match(source)
    text = textwrap.dedent(fenced[1] if fenced else source).strip("\n") + "\n"
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError("the solution is no Python") from error
    if (route := module_by_the_way(tree)) is not None:
        raise UnreadableError(f"the solution uses {route}")
    for node in ast.walk(tree):
        if (foreign := _foreign(node)) is not None:
            raise UnreadableError(f"the solution uses {foreign}")
    parameters_of(text, name)
    return text


def _foreign(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id=called)) if called in _FOREIGN_CALLS:
            return called
        case ast.Global() | ast.AsyncFunctionDef():
            return "`global`" if isinstance(node, ast.Global) else "`async def`"
    return None


def parameters_of(source: str, name: str) -> list[str]:
    """Raises UnreadableError where the module does not define the function, or not plainly."""
    functions = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    if not functions:
        raise UnreadableError("the solution does not define the function")
    arguments = functions[-1].args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        raise UnreadableError("the function has odd parameters")
    return [one.arg for one in arguments.args]


def _arguments(given: Any, name: str, parameters: list[str]) -> str | None:
    """Arguments of one call in one notation; None where they do not fit the parameters.

    Asked for is source text. Taken are also the text of a whole call, and in JSON a list of
    arguments or an object by parameters where there are several; of a single parameter anything
    but a text is the value itself, a list of one item too.
    """
    if isinstance(given, str):
        values = _from_source(given, name, parameters)
        if not values and len(parameters) == 1 and _is_plain_text(given):
            values = [given]
    elif isinstance(given, dict) and set(given) == set(parameters) and len(parameters) > 1:
        values = [given[one] for one in parameters]
    elif isinstance(given, list) and len(given) == len(parameters) > 1:
        values = given
    else:
        values = [given]
    if values is None or len(values) != len(parameters):
        return None
    try:
        text = ", ".join(map(literal, values))
    except (NoValueError, RecursionError):
        return None
    return text if len(text) <= _MAX_ARGUMENTS else None


def _is_plain_text(text: str) -> bool:
    """Words, rather than source text with an error in it."""
    return not any(letter in text for letter in "()[]{}'\"=")


def _from_source(text: str, name: str, parameters: list[str]) -> list[Any] | None:
    bare = text.strip().strip("`")
    if bare.startswith(f"{name}(") and bare.endswith(")"):
        bare = bare[len(name) + 1 : -1]
    try:
        call = ast.parse(f"f({bare})", mode="eval").body
        assert isinstance(call, ast.Call)
        values = [ast.literal_eval(one) for one in call.args]
        named = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, AssertionError):
        return None
    if len(values) == 1 and len(parameters) > 1 and isinstance(values[0], tuple | list):
        values = list(values[0])
    rest = parameters[len(values) :]
    if set(named) <= set(rest):
        values += [named[one] for one in rest if one in named]
    return values
