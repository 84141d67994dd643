"""Translated problems as documents, in several shapes; each can be run as it stands (`recheck`)."""

import json
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.translation.forms import JsonValue, TypeForm
from megatron_codemix.corpus.synthesis.translation.line_breaks import broken
from megatron_codemix.corpus.synthesis.translation.literals import holds_keyed_arrays, literal
from megatron_codemix.corpus.synthesis.translation.translate import Translation

_TEXT_WIDTH = 80
_TAG = re.compile(r"@(?:param|returns) .*")
_PRIMITIVE = ("int", "bool", "str")


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """`tests`: arguments and result of each, in the JSON of `forms`."""

    title: str
    statement: str
    """In the terms of JavaScript."""
    python_statement: str
    python_solution: str
    translation: Translation
    tests: Sequence[tuple[Sequence[JsonValue], JsonValue]]


@dataclass(frozen=True)
class Shape:
    name: str
    weight: float
    write: Callable[[Exercise, Random], str]


def write_document(exercise: Exercise, rng: Random) -> tuple[str, str]:
    """The name of a shape that the generator draws, and the text."""
    shapes = SHAPES
    if holds_keyed_arrays(exercise.translation.returns):
        shapes = tuple(one for one in SHAPES if one.name in _WITHOUT_COMPARISON)
    shape = rng.choices(shapes, [one.weight for one in shapes])[0]
    return shape.name, shape.write(exercise, rng)


def _call(exercise: Exercise, arguments: Sequence[JsonValue]) -> str:
    forms = exercise.translation.parameters
    written = [literal(form, one) for form, one in zip(forms, arguments, strict=True)]
    return f"{exercise.translation.entry}({', '.join(written)})"


def _expected(exercise: Exercise, result: JsonValue) -> str:
    return literal(exercise.translation.returns, result)


def _shortest(exercise: Exercise, most: int) -> list[tuple[Sequence[JsonValue], JsonValue]]:
    def length(test: tuple[Sequence[JsonValue], JsonValue]) -> tuple[int, str]:
        text = json.dumps(test)
        return len(text), text

    return sorted(exercise.tests, key=length)[:most]


def _assertions(exercise: Exercise, most: int) -> str:
    """Lines with `assert` of Node; strict equality where the result is no object."""
    form: TypeForm = exercise.translation.returns
    name = "strictEqual" if form in _PRIMITIVE else "deepStrictEqual"
    lines = [
        f"assert.{name}({_call(exercise, arguments)}, {_expected(exercise, result)});"
        for arguments, result in _shortest(exercise, most)
    ]
    return "\n".join(line for one in lines for line in broken(one))


def _filled(text: str, prefix: str) -> str:
    """Paragraphs wrapped, each line with the prefix."""
    width = _TEXT_WIDTH - len(prefix)
    blocks = [
        textwrap.fill(one, width, break_long_words=False, break_on_hyphens=False)
        for one in text.split("\n")
    ]
    lines = "\n".join(blocks).split("\n")
    return "\n".join(f"{prefix}{line}".rstrip() for line in lines)


def _documented(exercise: Exercise, rng: Random) -> str:
    """The statement and examples in the function's own comment."""
    text = exercise.translation.text
    start = text.rindex("/**", 0, text.index(f"\nfunction {exercise.translation.entry}("))
    body = text[start:]
    tags = "\n".join(
        line for line in body[: body.index("*/")].split("\n") if line.startswith(" * @")
    )
    examples = [
        f" * {_call(exercise, arguments)}; // {_expected(exercise, result)}"
        for arguments, result in _shortest(exercise, rng.randint(2, 4))
    ]
    statement = _filled(exercise.statement.replace("*/", "* /"), " * ")
    comment = "\n".join(["/**", statement, " *", tags, " *", " * @example", *examples, " */"])
    return text[:start] + comment + body[body.index("*/") + 2 :]


def _exercise(exercise: Exercise, rng: Random) -> str:
    """Markdown: statement, solution, tests."""
    heads = rng.choice([("Solution", "Tests"), ("A solution", "Checks"), ("Answer", "Test cases")])
    tests = _assertions(exercise, rng.randint(3, 6))
    return (
        f"# {exercise.title}\n\n{exercise.statement}\n\n## {heads[0]}\n\n```javascript\n"
        f"{exercise.translation.text}```\n\n## {heads[1]}\n\n```javascript\n"
        f'const assert = require("node:assert");\n\n{tests}\n```\n'
    )


def _module(exercise: Exercise, rng: Random) -> str:
    """A file with its tests below."""
    tests = _assertions(exercise, rng.randint(4, 8))
    return (
        f"{_filled(exercise.statement, '// ')}\n\n"
        f'const assert = require("node:assert");\n\n{exercise.translation.text}\n{tests}\n'
    )


def _question(exercise: Exercise, rng: Random) -> str:
    """Question and answer."""
    shown = " and ".join(
        f"`{_call(exercise, arguments)}` gives `{_expected(exercise, result)}`"
        for arguments, result in _shortest(exercise, 2)
    )
    marks = rng.choice([("Question", "Answer"), ("Task", "Solution"), ("Q", "A")])
    return (
        f"**{marks[0]}:** {exercise.statement}\n\n**{marks[1]}:**\n\n```javascript\n"
        f"{exercise.translation.text}```\n\nFor example, {shown}.\n"
    )


def _both_languages(exercise: Exercise, rng: Random) -> str:
    """The Python solution, then this one."""
    between = rng.choice(
        [
            "The same in JavaScript:",
            "Translated into JavaScript:",
            "In JavaScript this becomes:",
        ]
    )
    return (
        f"## {exercise.title}\n\n{exercise.python_statement}\n\nIn Python:\n\n```python\n"
        f"{exercise.python_solution.strip()}\n```\n\n{between}\n\n```javascript\n"
        f"{exercise.translation.text}```\n"
    )


def _script(exercise: Exercise, rng: Random) -> str:
    """Code, and calls whose results are printed; what they print stands behind them."""
    is_plain = exercise.translation.returns in _PRIMITIVE
    lines = []
    for arguments, result in _shortest(exercise, rng.randint(3, 5)):
        call = _call(exercise, arguments)
        printed = result if isinstance(result, str) else json.dumps(result, separators=(",", ":"))
        if is_plain and printed.strip() == printed != "" and printed.isprintable():
            lines.append(f"console.log({call}); // {printed}")
    body = "\n".join(lines)
    tail = f"\n{body}\n" if body else ""
    return f"{_filled(exercise.statement, '// ')}\n\n{exercise.translation.text}{tail}"


SHAPES: tuple[Shape, ...] = (
    Shape("documented", 2.0, _documented),
    Shape("exercise", 2.0, _exercise),
    Shape("module", 1.5, _module),
    Shape("question", 1.0, _question),
    Shape("both languages", 1.5, _both_languages),
    Shape("script", 1.0, _script),
)
_WITHOUT_COMPARISON = ("both languages",)
