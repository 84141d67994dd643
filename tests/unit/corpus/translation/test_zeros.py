"""-0, which JavaScript makes of products, negations and quotients: nothing gives it, and care is
taken only where it could be seen. `$result` of the engine refuses it (`test_engine`)."""

import pytest

from megatron_codemix.corpus.synthesis.translation.engine import Engine, Ran
from megatron_codemix.corpus.synthesis.translation.javascript import (
    Case,
    Task,
    program_of,
    translate_all,
)
from megatron_codemix.corpus.synthesis.translation.translate import Draft, Translation

VALUES = (-4, -1, 0, 1, 4)
SHOWN = {
    "a product": ("a * b", "a * b + 0"),
    "a product of three": ("a * b * a", "a * b * a + 0"),
    "a negation": ("-a", "0 - a"),
    "a negated product": ("-(a * b)", "0 - (a * b)"),
    "a negative factor": ("-3 * a", "0 - 3 * a"),
    "a quotient": ("a // (b or 3)", "Math.floor(a / (b || 3)) + 0"),
    "a remainder": ("a % (b or 3)", "mod(a, b || 3)"),
    "a power of a negation": ("(-a) ** 3", "(0 - a) ** 3"),
    "a sum of products": ("a * b + -a", "a * b + 0 + -a"),
    "a difference of products": ("a * b - a * a", "a * b + 0 - a * a"),
    "the lower of two": ("min(0, -a)", "Math.min(0, 0 - a)"),
    "read from text": (
        "int('-' + str(abs(a)))",
        'Number.parseInt("-" + String(Math.abs(a)), 10) + 0',
    ),
}
UNSEEN = {
    "a square": ("a * a", "a * a"),
    "what cannot be negative": ("abs(a) * abs(b)", "Math.abs(a) * Math.abs(b)"),
    "what cannot be zero": ("-abs(a) - 1", "-Math.abs(a) - 1"),
    "by something positive": ("a // 3", "Math.floor(a / 3)"),
    "added": ("7 + a * b", "7 + a * b"),
    "an addend on the left": ("a * b + a", "a * b + a"),
    "subtracted": ("a - a * b", "a - a * b"),
    "compared": ("int(a * b == 0)", "Number(a * b === 0)"),
    "in a sum": ("sum(-x for x in [a, b])", "[a, b].reduce((total, x) => total + -x, 0)"),
    "an index": ("[1, 2, 3, 4, 5][-a]", "[1, 2, 3, 4, 5].at(-a)"),
    "its distance from zero": ("abs(a * b)", "Math.abs(a * b)"),
    "the higher of two": ("max(0, a * b)", "Math.max(0, a * b)"),
    "as text": ("len(str(-a))", "String(-a).length"),
}


def program(expression: str) -> str:
    return f"def solve(a: int, b: int) -> int:\n    return {expression}\n"


@pytest.mark.parametrize("expression", [*SHOWN.values(), *UNSEEN.values()], ids=[*SHOWN, *UNSEEN])
def test_what_could_be_seen_is_made_zero(
    expression: tuple[str, str], javascript_engine: Engine
) -> None:
    """Without inputs that say how it is: as it is written, and against CPython."""
    python, javascript = expression
    draft = Draft(program(python), "solve")
    written = draft.finished()
    assert f"  return {javascript};\n" in written.text
    cases = [Case(f"{a}, {b}", str(eval(python, {"a": a, "b": b}))) for a in VALUES for b in VALUES]
    programs = [program_of(one, cases) for one in (written, draft.checked)]
    for ran in javascript_engine.run(programs):
        assert isinstance(ran, Ran), ran
        assert list(map(str, ran.results)) == [one.expected for one in cases]


def augmented(engine: Engine, *factors: int) -> str:
    source = "def solve(a: int, b: int) -> int:\n    a *= b\n    return a\n"
    cases = [Case(f"{a}, 0", "0") for a in factors]
    [found] = translate_all([Task(source, "solve", cases, {})], engine)
    assert isinstance(found, Translation), found
    return found.text


def test_a_place_that_never_gave_it_is_plain(javascript_engine: Engine) -> None:
    assert "  a *= b;\n" in augmented(javascript_engine, *range(8))
    assert "  a = a * b + 0;\n" in augmented(javascript_engine, *range(7))
    assert "  a = a * b + 0;\n" in augmented(javascript_engine, *range(-1, 8))


def test_a_function_of_the_same_name_sees_it(javascript_engine: Engine) -> None:
    source = (
        "def abs(n: int) -> int:\n    return n\n\n\n"
        "def solve(a: int, b: int) -> int:\n    return abs(a * b)\n"
    )
    [ran] = javascript_engine.run(
        [program_of(Draft(source, "solve").finished(), [Case("0, -3", "0")])]
    )
    assert ran == Ran([0], {})
