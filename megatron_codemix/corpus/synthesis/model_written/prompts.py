"""What the model is asked: for an exercise, and, by somebody who has seen only that, for a
solution."""

PREAMBLE = (
    "You are an experienced teacher of programming who writes small exercises in Python. You "
    "answer with one JSON object and nothing else."
)
OPENING = "JSON object:"
"""Where a model without turns goes on."""
MAX_DOCUMENT_CHARACTERS = 2_000
"""Of a document: enough for its subject, whatever its length."""

_EXERCISE = """Write a programming exercise on a subject that the document below suggests: its \
data, its rules, what it describes. The exercise is complete in itself; whoever solves it has not \
seen the document.

Answer with a JSON object with these fields:
- "name": the name of one function, in snake_case;
- "statement": what the function takes and returns, in plain English. Give the name of the \
function and of each parameter with its type. Decide every case: empty input, ties, nothing found;
- "solution": a Python module that defines the function with type hints. Its result depends on \
its arguments alone, which it does not change: no input, output, files, clock or random numbers. \
Only the standard library;
- "inputs": at least 12 strings, each with the arguments of one call as Python source, such as \
"[3, 1, 2], 'abc'". Small ones, edge cases first, so different that an error would show.

The document:
<<<
{document}
>>>"""

_SOLUTION = """Solve this exercise.

{statement}

Answer with a JSON object with one field, "solution": a Python module that defines `{name}` with \
type hints. Its result depends on its arguments alone, which it does not change. Only the standard \
library."""


def exercise_question(document: str) -> str:
    """From the first part of a document, cut at the end of a line where there is one."""
    text = document.strip()
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        text = text[:MAX_DOCUMENT_CHARACTERS]
        text = text[: text.rfind("\n") + 1].rstrip() or text
    return _EXERCISE.format(document=text)


def solution_question(statement: str, name: str) -> str:
    """The solution that was written with the statement is not shown."""
    return _SOLUTION.format(statement=statement.strip(), name=name)
