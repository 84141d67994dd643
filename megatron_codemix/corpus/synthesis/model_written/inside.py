"""What runs in the sandbox: one program on all inputs, and no other in the same process.

This file is sent there as source text, with the modules that it imports. Results go out as source
text, to be compared outside: the program that runs here might change any comparison.
"""

import ast
import io
import json
import math
import sys
from typing import Any

from megatron_codemix.corpus.synthesis.verification.inside import mutants
from megatron_codemix.corpus.synthesis.verification.inside.instrument import (
    MOST_INTEGER,
    Ticks,
    instrument,
)

SOLUTION_TICKS = 50_000
_MAX_TEXT = 2_000
_NO_VALUE = "gives no plain value"

Result = tuple[bool, str]
"""Whether there is a value; its source text, or what was wrong."""


def results_of(tree: ast.Module, name: str, calls: list[str]) -> list[Result]:
    ticks = Ticks()
    ticks.left = SOLUTION_TICKS
    names: dict[str, Any] = {"__name__": "solution", **ticks.names(), "_plus_": mutants.plus}
    try:
        exec(compile(tree, "<solution>", "exec"), names)
        function = names[name]
    except BaseException as error:
        return [(False, f"does not load: {type(error).__name__}")] * len(calls)
    return [_result(function, ticks, call) for call in calls]


def _result(function: Any, ticks: Ticks, call: str) -> Result:
    arguments = ast.literal_eval(f"({call},)") if call else ()
    ticks.left = SOLUTION_TICKS
    try:
        value = function(*arguments)
        if call and arguments != ast.literal_eval(f"({call},)"):
            return False, "changes its arguments"
        text = literal(value)
    except BaseException as error:
        return False, str(error) if isinstance(error, NoValueError) else type(error).__name__
    return (True, text) if len(text) <= _MAX_TEXT else (False, _NO_VALUE)


class NoValueError(ValueError):
    """Something that source text cannot say."""


def literal(value: Any) -> str:
    """Source text of a plain value: strings in double quotes where they are ASCII, sets in order.
    Raises NoValueError."""
    kind = type(value)
    if value is None or kind is bool:
        return repr(value)
    if kind is int and -MOST_INTEGER < value < MOST_INTEGER:
        return repr(value)
    if kind is float and math.isfinite(value):
        return repr(value)
    if kind is str:
        return json.dumps(value) if value.isascii() else repr(value)
    if kind is list:
        return f"[{', '.join(map(literal, value))}]"
    if kind is tuple:
        inside = ", ".join(map(literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if kind is set:
        return f"{{{', '.join(sorted(map(literal, value)))}}}" if value else "set()"
    if kind is dict:
        pairs = (f"{literal(key)}: {literal(one)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise NoValueError(_NO_VALUE)


def main() -> None:
    """`ticks`: whether they are to be put into the program."""
    sys.setrecursionlimit(1_000)
    job = json.loads(sys.stdin.buffer.read())
    output, sys.stdout = sys.stdout, io.StringIO()
    tree = ast.parse(job["source"])
    results = results_of(instrument(tree) if job["ticks"] else tree, job["name"], job["calls"])
    output.write(json.dumps(results))
    output.flush()
