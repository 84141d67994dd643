"""Shapes of documents. Each takes an exercise and gives text that shows statement, code and
tests."""

import ast
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.documents.parts import (
    assertion,
    by_length,
    call,
    commented,
    examples,
    filled,
    holds_docstring,
    in_triple_quotes,
    test_function,
    test_functions,
    title,
    with_docstring,
)
from megatron_codemix.corpus.synthesis.documents.renaming import (
    has_future_import,
    is_renamable,
    renamed,
)
from megatron_codemix.corpus.synthesis.problem import Solution
from megatron_codemix.corpus.synthesis.verification.batch import Test
from megatron_codemix.corpus.synthesis.writing.source import wrapped

_TEXT_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Exercise:
    name: str
    summary: str
    statement: str
    solutions: Sequence[Solution]
    tests: Sequence[Test]


@dataclass(frozen=True)
class Shape:
    name: str
    weight: float
    write: Callable[[Exercise, Random], str]
    fits: Callable[[Exercise], bool] = lambda exercise: True


def drawn_shape(exercise: Exercise, rng: Random, without: Collection[str] = ()) -> Shape:
    """One of those that fit; none of the names that are left out."""
    fitting = [one for one in SHAPES if one.fits(exercise) and one.name not in without]
    return rng.choices(fitting, [one.weight for one in fitting])[0]


def _doctests(exercise: Exercise, tests: Sequence[Test]) -> list[str]:
    """Lines of an interactive session; results as Python shows them."""
    lines = []
    for test in tests:
        typed = wrapped(f"        {call(exercise.name, test)}").split(
            "\n"
        )  # as far in as it stands
        lines += [
            f"{'...' if number else '>>>'} {line.removeprefix('        ')}"
            for number, line in enumerate(typed)
        ]
        shown = repr(ast.literal_eval(test.expected))
        lines += [shown] if shown != "None" else []
    return lines


def _is_shown_plainly(test: Test) -> bool:
    """Whether Python shows the result in words that are known beforehand and fit a line: not so for
    records, sets and dictionaries, whose order is no part of what was verified."""
    if "{" in test.expected or len(test.expected) > 70:
        return False
    try:
        ast.literal_eval(test.expected)
    except ValueError:
        return False
    return True


def _docstring(exercise: Exercise, rng: Random) -> str:
    """A function whose docstring is the statement, with doctests."""
    plain = [one for one in exercise.tests if _is_shown_plainly(one)]
    session = _doctests(exercise, examples(rng, plain, rng.randint(2, 4))) if plain else []
    text = filled(exercise.statement, _TEXT_WIDTH)
    docstring = "\n\n".join([text, "\n".join(session)] if session else [text])
    return with_docstring(rng.choice(exercise.solutions), exercise.name, docstring)


def _exercise(exercise: Exercise, rng: Random) -> str:
    """Markdown: statement, solution, tests."""
    shown = by_length(exercise.tests)[: rng.randint(3, 6)]
    code = rng.choice(exercise.solutions).source.strip()
    tests = "\n".join(assertion(exercise.name, test) for test in shown)
    heads = rng.choice([("Solution", "Tests"), ("A solution", "Checks"), ("Answer", "Test cases")])
    return (
        f"# {title(exercise.name)}\n\n{exercise.statement}\n\n## {heads[0]}\n\n```python\n{code}\n"
        f"```\n\n## {heads[1]}\n\n```python\n{tests}\n```\n"
    )


def _holds_docstring(exercise: Exercise) -> bool:
    return all(holds_docstring(one.source, exercise.name) for one in exercise.solutions)


def _starts_anywhere(exercise: Exercise) -> bool:
    """An import from `__future__` has to be at the beginning of all code."""
    return not any(has_future_import(one.source) for one in exercise.solutions)


def _can_be_compared(exercise: Exercise) -> bool:
    """Whether any two solutions can stand in one module. Two classes of one name in one document
    would be told apart by nobody."""
    sources = [one.source for one in exercise.solutions]
    if any(line.startswith("class ") for source in sources for line in source.split("\n")):
        return False
    name, again = exercise.name, f"{exercise.name}_again"
    if not all(is_renamable(source, name, again) for source in sources):
        return False
    return _starts_anywhere(exercise)


def _two_ways(exercise: Exercise, rng: Random) -> str:
    """Markdown: statement, examples, two solutions and that they agree."""
    first, second = rng.sample(list(exercise.solutions), 2)
    shown = examples(rng, exercise.tests, 3)
    listed = "\n".join(
        f"- `{call(exercise.name, test)}` returns `{test.expected}`" for test in shown
    )
    other = renamed(second.source, exercise.name, f"{exercise.name}_again")
    checks = "\n".join(
        line
        for test in by_length(exercise.tests)[:4]
        for line in (
            assertion(exercise.name, test),
            assertion(f"{exercise.name}_again", test),
        )
    )
    between = rng.choice(
        [
            f"The same in another way ({second.style}):",
            f"And once more, written in the {second.style} style:",
            "A second solution that does not look like the first:",
        ]
    )
    return (
        f"## {title(exercise.name)}\n\n{exercise.statement}\n\nExamples:\n\n{listed}\n\n"
        f"One way to write it ({first.style}):\n\n```python\n{first.source.strip()}\n```\n\n"
        f"{between}\n\n```python\n{other.strip()}\n```\n\nBoth give the same results:\n\n"
        f"```python\n{checks}\n```\n"
    )


def _module(exercise: Exercise, rng: Random) -> str:
    """A plain module: short docstring, code, asserts below."""
    solution = rng.choice(exercise.solutions)
    lines = "\n".join(
        assertion(exercise.name, test) for test in exercise.tests[: rng.randint(4, 8)]
    )
    head = f'"""{exercise.summary}"""' if exercise.summary else ""
    text = commented(filled(exercise.statement, _TEXT_WIDTH))
    above = "\n\n".join(part for part in (head, text) if part)
    return f"{above}\n\n\n{solution.source.strip()}\n\n\n{lines}\n"


def _tested_module(exercise: Exercise, rng: Random) -> str:
    """A module with its tests in functions, as test runners find them."""
    solution = rng.choice(exercise.solutions)
    text = filled(exercise.statement, _TEXT_WIDTH)
    tests = test_functions(exercise.name, exercise.tests, rng)
    return f'"""{in_triple_quotes(text)}\n"""\n\n\n{solution.source.strip()}\n\n\n{tests}\n'


def _tests_first(exercise: Exercise, rng: Random) -> str:
    """Markdown: what the function has to do is shown by tests first, then said, then written."""
    shown = by_length(exercise.tests)[: rng.randint(3, 5)]
    tests = test_function(exercise.name, shown, exercise.name)
    code = rng.choice(exercise.solutions).source.strip()
    start = rng.choice(
        [
            "These tests should pass:",
            "We begin with the tests:",
            "The following test describes the function we want:",
        ]
    )
    middle = rng.choice(["What it says in words:", "In words:", "The specification:"])
    end = rng.choice(["This passes them:", "An implementation:", "Here is code that does it:"])
    return (
        f"{start}\n\n```python\n{tests}\n```\n\n{middle}\n\n{exercise.statement}\n\n{end}\n\n"
        f"```python\n{code}\n```\n"
    )


def _question(exercise: Exercise, rng: Random) -> str:
    """Question and answer."""
    shown = examples(rng, exercise.tests, 2)
    code = rng.choice(exercise.solutions).source.strip()
    such = " and ".join(f"`{call(exercise.name, one)}` gives `{one.expected}`" for one in shown)
    marks = rng.choice([("Question", "Answer"), ("Task", "Solution"), ("Q", "A")])
    return (
        f"**{marks[0]}:** {exercise.statement}\n\n**{marks[1]}:**\n\n```python\n{code}\n```\n\n"
        f"For example, {such}.\n"
    )


def _script(exercise: Exercise, rng: Random) -> str:
    """Comments, code, and calls whose results stand in comments behind them."""
    solution = rng.choice(exercise.solutions)
    text = commented(filled(exercise.statement, _TEXT_WIDTH))
    plain = [one for one in exercise.tests if _is_shown_plainly(one)]
    lines = [
        line
        for test in (examples(rng, plain, rng.randint(3, 5)) if plain else [])
        if len(line := f"print({call(exercise.name, test)})  # {_printed(test.expected)}") <= 110
        and line.isprintable()
    ]
    parts = [text, solution.source.strip(), *(["\n".join(lines)] if lines else [])]
    return "\n\n\n".join(parts) + "\n"


def _printed(expected: str) -> str:
    """What `print` shows of a value given as source text."""
    value = ast.literal_eval(expected)
    return str(value) if value != "" else "an empty line"


SHAPES: tuple[Shape, ...] = (
    Shape("docstring", 2.5, _docstring, _holds_docstring),
    Shape("exercise", 2.0, _exercise),
    Shape("two ways", 1.2, _two_ways, _can_be_compared),
    Shape("module", 1.2, _module),
    Shape("tested module", 1.3, _tested_module),
    Shape("tests first", 0.9, _tests_first, _starts_anywhere),
    Shape("question", 1.0, _question),
    Shape("script", 0.8, _script),
)
