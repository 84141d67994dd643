"""Runs written documents again inside the sandbox: solutions on tests, then the text as it stands.

What a reader could try in a document is tried: code is executed, `test_` functions are called,
doctests are run, printed lines are compared with the comments behind them, and "`f(1)` gives `2`"
is checked.
"""

import contextlib
import io
import json
import re
import sys
from typing import Any

from megatron_codemix.corpus.synthesis.verification.inside.harness import judge, same

_FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^print\((.*)\)  # (.*)$", re.MULTILINE)
"""What is printed, and what is said to come of it."""
_EXAMPLES = re.compile(r"^(?:- `|For example, `).*$", re.MULTILINE)
_SAID = re.compile(r"`([a-z_0-9]+\([^`]*\))` (?:gives|returns) `([^`]*)`")


def recheck(problem: dict[str, Any]) -> dict[str, Any]:
    """{"error": None or what is wrong}."""
    if problem["solutions"]:
        verdict = judge({**problem, "seed": 0, "mutants": 0})
        if verdict["error"] is not None:
            return {"error": verdict["error"]}
    try:
        wrong = _text_problem(problem["text"])
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"
    return {"error": wrong and f"the document itself: {wrong}"}


def code_of(text: str) -> str:
    """What is between fences; all of it where there are none."""
    fenced = _FENCE.findall(text)
    return "\n\n".join(fenced) if fenced else text


def examples_in(text: str) -> list[tuple[str, str]]:
    """Calls in words, and what they are said to give."""
    return _SAID.findall("\n".join(_EXAMPLES.findall(text)))


def _text_problem(text: str) -> str | None:
    code = code_of(text)
    names: dict[str, Any] = {"__name__": "document"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<document>", "exec"), names)
    expected = [shown for _, shown in PRINTED.findall(code)]
    lines = printed.getvalue().split("\n")[:-1]
    shown = [line if line else "an empty line" for line in lines]
    if shown != expected:
        return f"it prints {shown}, and says {expected}"
    for name, value in list(names.items()):
        if name.startswith("test_") and callable(value):
            value()
    for call, result in examples_in(text):
        if not same(eval(call, names), eval(result, names)):
            return f"{call} is not {result}"
    return _doctest_problem(names)


def _doctest_problem(names: dict[str, Any]) -> str | None:
    docstrings = {
        name: docstring
        for name, value in list(names.items())
        if callable(value)
        and isinstance(docstring := getattr(value, "__doc__", None), str)
        and ">>>" in docstring
    }
    if not docstrings:
        return None
    import doctest  # brings pdb and unittest, which take longer than most documents

    parser, said = doctest.DocTestParser(), io.StringIO()
    runner = doctest.DocTestRunner(verbose=False)
    for name, docstring in docstrings.items():
        case = parser.get_doctest(docstring, dict(names), name, None, None)
        runner.run(case, out=said.write)
    return f"doctest: {said.getvalue()[:300]}" if runner.summarize(verbose=False).failed else None


def main() -> None:
    sys.setrecursionlimit(1_000)
    job = json.loads(sys.stdin.buffer.read())
    output, sys.stdout = sys.stdout, io.StringIO()
    verdicts = [recheck(problem) for problem in job["problems"]]
    output.write(json.dumps(verdicts))
    output.flush()
