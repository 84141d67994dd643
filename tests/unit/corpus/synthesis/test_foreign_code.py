"""Shapes around code that no template wrote: each runs as it stands, or is not chosen for it."""

from random import Random

import pytest

from megatron_codemix.corpus.synthesis.documents.renaming import is_renamable, renamed
from megatron_codemix.corpus.synthesis.documents.shapes import SHAPES, Exercise
from megatron_codemix.corpus.synthesis.model_written.record import unfit_shapes
from megatron_codemix.corpus.synthesis.problem import Solution
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.corpus.synthesis.verification.inside.documents import recheck

PLAIN = "def total(xs):\n    return sum(xs)\n"
TESTS = [("[]", "0"), ("[1]", "1"), ("[1, 2]", "3"), ("[5, -5, 7]", "7")]
STATEMENT = "Write `total(xs)`, the sum of a list."
NAMES = [one.name for one in SHAPES]
ALL = set(NAMES)

# the first solution, the second, the shapes that do not hold them
CODE: dict[str, tuple[str, str, set[str]]] = {
    "a comment behind the head": (
        "def total(xs) -> int:  # note: a sum\n    n = 0\n    for x in xs:\n        n += x\n"
        "    return n\n", PLAIN, set(),
    ),
    "a head of many lines": (
        "def total(\n    xs,  # of numbers:\n) -> int:\n    return sum(xs)\n", PLAIN, set(),
    ),
    "a space behind the name": ("def total (xs):\n    return sum(xs)\n", PLAIN, set()),
    "two spaces of indentation": ("def total(xs):\n  return sum(xs)\n", PLAIN, set()),
    "tabs": ("def total(xs):\n\treturn sum(xs)\n", PLAIN, set()),
    "one line": ("def total(xs): return sum(xs)\n", PLAIN, {"docstring"}),
    "a method of the name": (
        PLAIN, "class Sum(list):\n    def total(self): return sum(self)\n\n\n"
        "def total(xs):\n    return Sum(xs).total()\n", {"two ways"},
    ),
    "a helper of one name": (
        "def helper(x, y):\n    return x + y\n\n\ndef total(xs):\n    n = 0\n    for x in xs:\n"
        "        n = helper(n, x)\n    return n\n",
        "def helper(xs):\n    return sum(xs)\n\n\ndef total(xs):\n    return helper(xs)\n",
        {"two ways"},
    ),
    "an import from the future": (
        f"from __future__ import annotations\n\n\n{PLAIN}", PLAIN, {"two ways", "tests first"},
    ),
    "a parameter of the name": (PLAIN, "def total(total):\n    return sum(total)\n", {"two ways"}),
    "recursion, and the name as a value": (
        PLAIN, "def total(xs):\n    parts = map(total, [])\n    if not xs:\n"
        "        return sum(parts)\n    return xs[0] + total(xs[1:])  # ä total(\n", set(),
    ),
    "the name in a string": (
        PLAIN, 'def total(xs):\n    assert len("total(") == 6, "ä"; return sum(xs)\n', set(),
    ),
}  # fmt: skip


def written(
    shape: str, first: str, second: str, statement: str = STATEMENT
) -> list[tuple[Exercise, str]]:
    """By a dozen seeds; empty where the shape does not hold them."""
    one = Exercise(
        name="total", summary="", statement=statement,
        solutions=[Solution("loop", first), Solution("sum", second)],
        tests=[ProblemTest(*test) for test in TESTS],
    )  # fmt: skip
    found = next(each for each in SHAPES if each.name == shape)
    if not found.fits(one) or shape in unfit_shapes(one.solutions, one.name):
        return []
    return [(one, found.write(one, Random(n))) for n in range(12)]


@pytest.mark.parametrize("shape", NAMES)
@pytest.mark.parametrize("name", CODE)
def test_a_shape_that_takes_foreign_code_runs(name: str, shape: str) -> None:
    first, second, unfit = CODE[name]
    texts = written(shape, first, second)
    assert bool(texts) == (shape not in unfit)
    for _, text in texts:
        assert recheck({"solutions": [], "text": text}) == {"error": None}, text


def test_both_ways_are_in_the_document_and_a_wrong_one_is_noticed() -> None:
    """The check of the test above can fail for each of the two."""
    for _, text in written("two ways", PLAIN, CODE["a space behind the name"][0]):
        for place in ("def total", "def total_again"):
            start = text.index(place)
            broken = text[:start] + text[start:].replace("return sum(xs)", "return 9", 1)
            assert recheck({"solutions": [], "text": broken})["error"] is not None


STATEMENTS = [
    'The sum of a list, in """quotes"""',
    'What `total` gives is a "sum"',
    'Four quotes """" and more, `total`.\n\nIt ends in "two"',
    "A path C:\\new\\x, and the sum.",
]


@pytest.mark.parametrize("shape", ["docstring", "tested module", "module", "script"])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_quotes_and_backslashes_of_a_statement_are_kept(statement: str, shape: str) -> None:
    for _, text in written(shape, PLAIN, PLAIN, statement):
        assert recheck({"solutions": [], "text": text}) == {"error": None}, text
        names: dict[str, object] = {"print": lambda *values: None}
        exec(text, names)
        if shape in ("docstring", "tested module"):
            docstring = names["total"].__doc__ if shape == "docstring" else names["__doc__"]
            assert str(docstring).startswith(statement.split("\n")[0])


def test_results_of_many_lines_are_not_printed_in_a_script() -> None:
    one = Exercise(
        name="lines", summary="", statement="Lines of `lines(xs)`.",
        solutions=[Solution("join", "def lines(xs):\n    return '\\n'.join(xs)\n")] * 2,
        tests=[ProblemTest("['a']", '"a"'), ProblemTest("['a', 'b']", '"a\\nb"')],
    )  # fmt: skip
    [script] = [each for each in SHAPES if each.name == "script"]
    for seed in range(12):
        text = script.write(one, Random(seed))
        assert "print(lines(['a']))  # a" in text
        assert recheck({"solutions": [], "text": text}) == {"error": None}, text


def test_only_the_function_is_renamed() -> None:
    source = "def count(s, c):\n    return s.count(c) if s else count('', c)  # count(\n"
    assert is_renamable(source, "count", "count_again")
    assert renamed(source, "count", "count_again") == (
        "def count_again(s, c):\n    return s.count(c) if s else count_again('', c)  # count(\n"
    )
    assert not is_renamable("def f(x):\n    f = 1\n    return f\n", "f", "f_again")
    assert not is_renamable("def f(f_again):\n    return f_again\n", "f", "f_again")
