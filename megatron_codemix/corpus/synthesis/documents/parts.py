"""Pieces that several shapes share: tests as code, examples, docstrings, titles."""

import ast
import io
import textwrap
import tokenize
from collections.abc import Sequence
from random import Random

from megatron_codemix.corpus.synthesis.problem import Solution
from megatron_codemix.corpus.synthesis.verification.batch import Test
from megatron_codemix.corpus.synthesis.writing.source import WIDTH, wrapped

_INDENT = "    "
_SHOWN = 130
"""Arguments of more characters are no example for a reader."""


def by_length(tests: Sequence[Test]) -> list[Test]:
    """The shortest first: what a reader looks at first."""
    return sorted(tests, key=lambda one: (len(one.arguments) + len(one.expected), one.arguments))


def examples(rng: Random, tests: Sequence[Test], most: int) -> list[Test]:
    """A few tests to show: the shortest one, then such as say more, with different results where
    there are any; in the order of length."""
    first, *rest = by_length(tests)
    chosen = [first]
    shown = [one for one in rest if len(one.arguments) <= _SHOWN] or rest[:1]
    rng.shuffle(shown)
    for is_new in (True, False):
        for test in shown:
            seen = {one.expected for one in chosen}
            if len(chosen) < most and test not in chosen and (test.expected not in seen) == is_new:
                chosen.append(test)
    return by_length(chosen)


def call(name: str, test: Test) -> str:
    return f"{name}({test.arguments})"


def assertion(name: str, test: Test) -> str:
    """`assert f(1) == 2`, with `is` for what is one of a kind; broken where it is long."""
    sign = "is" if test.expected in ("True", "False", "None") else "=="
    line = f"assert {call(name, test)} {sign} {test.expected}"
    if len(line) <= WIDTH - len(_INDENT):
        return line
    statements = (f"result = {call(name, test)}", f"assert result {sign} {test.expected}")
    return "\n".join(
        part.removeprefix(_INDENT)  # broken as inside a function, where most of them stand
        for one in statements
        for part in wrapped(f"{_INDENT}{one}").split("\n")
    )


def test_function(name: str, tests: Sequence[Test], title: str) -> str:
    lines = [line for test in tests for line in assertion(name, test).split("\n")]
    return "\n".join([f"def test_{title}() -> None:", *(f"    {line}" for line in lines)])


def test_functions(name: str, tests: Sequence[Test], rng: Random) -> str:
    """One function for all tests, or the edge cases apart."""
    if len(tests) < 4 or rng.random() < 0.4:
        return test_function(name, tests, name)
    parts = [
        test_function(name, tests[:2], f"{name}_edge_cases"),
        test_function(name, tests[2:], name),
    ]
    return "\n\n\n".join(parts)


def filled(statement: str, width: int) -> str:
    """The statement with its paragraphs and list items wrapped."""
    blocks = []
    for line in statement.split("\n"):
        head = line[: len(line) - len(line.lstrip("- 0123456789."))] if _is_item(line) else ""
        blocks.append(
            textwrap.fill(
                line,
                width,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(blocks)


def _is_item(line: str) -> bool:
    return line.startswith("- ") or line.partition(". ")[0].isdecimal()


def with_docstring(solution: Solution, name: str, docstring: str) -> str:
    """The module with this docstring in the function called `name`, see `holds_docstring`."""
    lines = solution.source.split("\n")
    place = _docstring_place(solution.source, name)
    assert place is not None, f"{name} holds no docstring"
    end, indent = place
    text = in_triple_quotes(docstring)
    inside = "\n".join(f"{indent}{line}" if line else "" for line in text.split("\n"))
    if "\n" in docstring:
        closing = f'\n{indent}"""'
    else:
        closing = '"""'
        inside = f'{inside[:-1]}\\"' if inside.endswith('"') else inside
    quoted = f'{indent}"""{inside.lstrip()}'
    return "\n".join([*lines[:end], f"{quoted}{closing}", *lines[end:]])


def holds_docstring(source: str, name: str) -> bool:
    """Whether there is a place for one: a body with lines of its own."""
    return _docstring_place(source, name) is not None


def _docstring_place(source: str, name: str) -> tuple[int, str] | None:
    """How many lines there are up to the end of the head, and the indentation of the body."""
    functions = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    if not functions:
        return None
    head, first = functions[-1], functions[-1].body[0]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    end = next(
        one.end[0] for one in tokens if one.type == tokenize.NEWLINE and one.start[0] >= head.lineno
    )
    if first.lineno <= end:
        return None
    line = source.split("\n")[first.lineno - 1].encode()
    return end, line[: first.col_offset].decode()


def in_triple_quotes(text: str) -> str:
    """As it stands between triple quotes: backslashes doubled, no end of the quotes within."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def title(name: str) -> str:
    """`count_even_words` as "Count even words"."""
    return name.replace("_", " ").capitalize()


def commented(text: str) -> str:
    """Each line a comment."""
    return "\n".join(f"# {line}" if line else "#" for line in text.split("\n"))
