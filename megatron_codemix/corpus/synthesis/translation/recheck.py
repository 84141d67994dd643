"""Runs translated documents again, from their records alone: the solution on its tests, then the
text as it stands.

What a reader could try in a document is tried: code is run, assertions hold, printed lines are what
the comments behind them say, and so are examples in comments and "`f(1)` gives `2`".
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.translation.engine import Engine, Failed, Program, Ran
from megatron_codemix.corpus.synthesis.translation.javascript import (
    Case,
    Unlike,
    arguments_of,
    compared,
)

_FENCE = re.compile(r"^```javascript\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PRINTED = re.compile(r"^console\.log\(.*\); // (.*)$", re.MULTILINE)
_EXAMPLE = re.compile(r"^ \* (\w+\(.*\)); // (.*)$", re.MULTILINE)
_SAID = re.compile(r"`(\w+\([^`]*\))` gives `([^`]*)`")

_SURROUNDINGS = """
const $printed = [];
const $shown = (value) => (Object.is(value, -0) ? "-0" : String(value));
const console = { log: (value) => $printed.push($shown(value)) };
// As `node:assert` compares: -0 is not 0.
const $same = (a, b) => {
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") {
    return Object.is(a, b);
  }
  if (a.constructor !== b.constructor) {
    return false;
  }
  if (a instanceof Set) {
    return a.size === b.size && [...a].every((one) => b.has(one));
  }
  if (a instanceof Map) {
    return a.size === b.size && [...a].every(([key, one]) => b.has(key) && $same(one, b.get(key)));
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => $same(a[key], b[key]));
};
const $assert = (holds) => {
  if (!holds) {
    throw new Error("an assertion does not hold");
  }
};
const require = (name) => {
  $assert(name === "node:assert");
  return {
    strictEqual: (a, b) => $assert(Object.is(a, b)),
    deepStrictEqual: (a, b) => $assert($same(a, b)),
  };
};
"""


def recheck_all(documents: Sequence[Document], engine: Engine) -> list[str | None]:
    """For each document None, or what is wrong with it."""
    solutions = engine.run([_solution(one.metadata) for one in documents])
    texts = engine.run([_text(one) for one in documents])
    found: list[str | None] = []
    for document, solution, text in zip(documents, solutions, texts, strict=True):
        metadata = document.metadata
        outcome = compared(_solution(metadata), _cases(metadata), solution)
        if isinstance(outcome, Unlike):
            found.append(f"{outcome.reason}: {outcome.detail}")
        else:
            found.append(_text_problem(document, text))
    return found


def _cases(metadata: Mapping[str, Any]) -> list[Case]:
    return [Case(one["arguments"], one["expected"]) for one in metadata["tests"]]


def _solution(metadata: Mapping[str, Any]) -> Program:
    interface = metadata["interface"]
    parameters = tuple(interface["parameters"])
    return Program(
        text=metadata["solutions"][0]["source"],
        entry=interface["entry"],
        exports=tuple(interface["exports"]),
        parameters=parameters,
        returns=interface["returns"],
        calls=[arguments_of(parameters, case.arguments) for case in _cases(metadata)],
    )


def _text(document: Document) -> Program:
    """A program whose one result is the lines that the text prints; it throws where an example of
    the text is wrong."""
    text = document.text
    fenced = _FENCE.findall(text)
    code = "\n".join(fenced) if fenced else text
    examples = [*_EXAMPLE.findall(text), *_SAID.findall(text)]
    checks = [f"$assert($same({call}, {result}));" for call, result in examples]
    lines = [_SURROUNDINGS, code, *checks, "const $lines = () => $printed;"]
    return Program("\n".join(lines), "$lines", ("$lines",), (), ["list", "str"], [[]])


def _text_problem(document: Document, ran: Ran | Failed) -> str | None:
    if isinstance(ran, Failed):
        return f"the document itself: {ran.reason}"
    said = _PRINTED.findall(document.text)
    if ran.results[0] != said:
        return f"the document itself: it prints {json.dumps(ran.results[0])}, and says {said}"
    return None
