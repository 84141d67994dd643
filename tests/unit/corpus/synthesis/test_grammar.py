"""The readings of one tree agree: what Python makes of its source is what the interpreter says."""

import ast
import re
from random import Random

import pytest

from megatron_codemix.corpus.synthesis.grammar.characters import (
    CHARACTER_MEASURES,
    CHARACTER_PAIR_TESTS,
    CHARACTER_TESTS,
    CHARACTERS,
)
from megatron_codemix.corpus.synthesis.grammar.code import Code, Level, negated
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
    draw_text,
)
from megatron_codemix.corpus.synthesis.grammar.english import Condition, Part, Subject
from megatron_codemix.corpus.synthesis.grammar.integer_tests import INTEGER_TESTS
from megatron_codemix.corpus.synthesis.grammar.integers import INTEGERS
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Rule, Variable, leaf
from megatron_codemix.corpus.synthesis.grammar.texts import MEASURES, TEXT_TESTS, TEXTS
from megatron_codemix.corpus.synthesis.values import Int, Str, same

RULES = (
    *INTEGERS, *INTEGER_TESTS, *TEXTS, *MEASURES, *TEXT_TESTS, *CHARACTERS, *CHARACTER_TESTS,
    *CHARACTER_MEASURES, *CHARACTER_PAIR_TESTS,
)  # fmt: skip
NUMBER = Variable("x", Int(-60, 250), "int", (-60, 250))
OTHER = Variable("y", Int(-60, 250), "int", (-60, 250))
WORD = Variable("s", Str(), "str", (0, 8))
LETTER = Variable("c", Str(1, 1, "aeioBTxyz 059-"), "char", (1, 1))
VARIABLES = {"int": [NUMBER, OTHER], "str": [WORD, WORD], "char": [LETTER, LETTER]}


def python_value(node: Node, naming: Naming, values: dict[str, object]) -> object:
    """What the rendered source gives, in a fresh namespace with the helpers that it asked for."""
    source = node.python(naming).text
    names: dict[str, object] = dict(values)
    exec("\n\n".join(naming.helpers.values()), names)
    return eval(source, names)


def of_rule(rule: Rule, rng: Random) -> Node | None:
    """The rule around variables; a test as an argument is `x` even, a text `s` itself."""
    even = next(one for one in INTEGER_TESTS if one.name == "even")
    arguments = []
    seen = {"int": 0, "str": 0, "char": 0}
    for kind in rule.arguments:
        if kind == "bool":
            arguments.append(Node(even, (leaf(NUMBER),)))
        else:
            arguments.append(leaf(VARIABLES[kind][seen[kind]]))
            seen[kind] = min(1, seen[kind] + 1)
    constants = rule.draw(rng, [one.range() for one in arguments])
    return None if constants is None else Node(rule, tuple(arguments), constants)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.arguments[0]} {rule.name}")
def test_each_rule_means_the_same_in_python_and_to_the_interpreter(rule: Rule) -> None:
    rng = Random(rule.name)
    tried = 0
    for _ in range(12):
        node = of_rule(rule, rng)
        if node is None:
            continue
        turned = [node] if not rule.opposite else [node, node.opposite()]
        for one in turned:
            assert one is not None
            for way in range(max(2, len(rule.python))):
                for uses_helpers in (False, True):
                    names = {"x": "x", "y": "y", "s": "s", "c": "c"}
                    for _ in range(8):
                        values = {
                            v.name: v.type.draw(rng, 8) for v in (NUMBER, OTHER, WORD, LETTER)
                        }
                        naming = Naming(names, way, uses_helpers)
                        expected = one.evaluate(values)
                        assert same(python_value(one, naming, values), expected), (values, way)
                        tried += 1
                        if one.kind == "int":
                            low, high = one.range()
                            assert low <= expected <= high
    assert tried > 50


SUBJECTS = [
    {"x": Subject("the number", True), "y": Subject("`y`"), "s": Subject("the word", True),
     "c": Subject("the character", True)},
    {"x": Subject("the first"), "y": Subject("the second"), "s": Subject("`word`"),
     "c": Subject("`c`")},
]  # fmt: skip


def drawn(seed: int) -> Node | None:
    rng = Random(seed)
    variables = rng.choice([[NUMBER], [NUMBER, OTHER], [WORD], [LETTER]])
    try:
        if variables == [WORD] and rng.random() < 0.4:
            return draw_text(rng, variables, rng.randint(1, 2))
        if rng.random() < 0.5:
            return draw_test(rng, variables, rng.randint(1, 2))
        return draw_integer(rng, variables, rng.randint(1, 2))
    except NothingDrawn:
        return None


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_drawn_trees_agree_with_their_source_however_it_is_written(start: int) -> None:
    nodes = [node for seed in range(start, start + 100) if (node := drawn(seed)) is not None]
    assert len(nodes) > 80
    for node in nodes:
        rng = Random(str(node.spec()))
        for way in (0, 1):
            for _ in range(5):
                values = {v.name: v.type.draw(rng, 8) for v in (NUMBER, OTHER, WORD, LETTER)}
                naming = Naming({name: name for name in values}, way, way == 1)
                assert same(python_value(node, naming, values), node.evaluate(values)), node.spec()


def test_drawn_trees_have_words_without_leftovers() -> None:
    for seed in range(600):
        node = drawn(seed)
        if node is None:
            continue
        for subjects in SUBJECTS:
            if node.kind == "bool":
                condition = node.condition(Random(seed), subjects)
                texts = [condition.clause()]
                texts += [condition.relative(is_plural=one) for one in (False, True)]
            else:
                texts = [node.phrase(Random(seed), subjects)]
            for text in texts:
                assert not set("<>{}|_") & set(text.replace("`_`", "").replace('"_"', "")), text
                assert "  " not in text
                assert text.strip()


def test_the_source_has_no_needless_parentheses_and_no_double_signs() -> None:
    for seed in range(600):
        node = drawn(seed)
        if node is None:
            continue
        for way in (0, 1):
            names = {"x": "x", "y": "y", "s": "s", "c": "c"}
            text = node.python(Naming(names, way)).text
            assert not re.search(r"\(\(([^()]*)\)\)", text), text
            for wrong in ("- -", "+ -", "+ 0", "* 1 ", "not not", "x + x", "x - x"):
                assert wrong not in text, text
            stripped = ast.unparse(ast.parse(text))
            assert text.count("(") <= stripped.count("(") + 3, (text, stripped)


def test_a_seed_decides_the_tree() -> None:
    for seed in range(60):
        one, other = drawn(seed), drawn(seed)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.spec() == other.spec()


@pytest.mark.parametrize(
    ("code", "opposite"),
    [
        (Code("x > 3", Level.COMPARE, "x <= 3"), "x <= 3"),
        (Code("not ready", Level.NOT), "ready"),
        (Code("is_prime(x)", Level.ATOM), "not is_prime(x)"),
        (Code("x > 3 and y", Level.AND), "not (x > 3 and y)"),
        (Code("2 <= x <= 5", Level.COMPARE), "not 2 <= x <= 5"),
    ],
)
def test_the_opposite_of_a_test_is_written_as_one_would(code: Code, opposite: str) -> None:
    assert negated(code).text == opposite


@pytest.mark.parametrize(
    ("first", "second", "clause"),
    [
        ("<is> not a square", "<is> even", "it is not a square or it is even"),
        ("<contains> no digit", "<contains> an a", "it contains no digit or it contains an a"),
        ("<is> written without 3", "<is> odd", "it is written without 3 or it is odd"),
        ("<is> even", "<is> not prime", "it is even or not prime"),
    ],
)
def test_behind_a_negation_nothing_is_left_out(first: str, second: str, clause: str) -> None:
    condition = Condition((Part("that", first), Part("that", second)), "or")
    assert condition.clause() == clause
