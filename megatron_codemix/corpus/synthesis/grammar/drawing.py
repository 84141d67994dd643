"""Draws trees from the rules: ones that say something, and no more than they need to.

A tree is refused where it says nothing: a test that nearly always or never holds, a part that
changes no value. That is tried on samples: values of the variables as they come together.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from random import Random

from megatron_codemix.corpus.synthesis.grammar.characters import (
    CHARACTER_MEASURES,
    CHARACTER_PAIR_TESTS,
    CHARACTER_TESTS,
    CHARACTERS,
    CONDITIONAL_TEXT,
)
from megatron_codemix.corpus.synthesis.grammar.code import Level
from megatron_codemix.corpus.synthesis.grammar.integer_tests import INTEGER_TESTS
from megatron_codemix.corpus.synthesis.grammar.integers import INTEGERS, MOST
from megatron_codemix.corpus.synthesis.grammar.node import Kind, Node, Rule, Variable, leaf
from megatron_codemix.corpus.synthesis.grammar.texts import MEASURES, TEXT_TESTS, TEXTS
from megatron_codemix.corpus.synthesis.values import Value

Sample = Mapping[str, Value]

_TRIES = 120
_SAMPLES = 40
_LEAST_SHARE = 0.12
"""A test holds for at least this share of samples, and fails for as many."""

AND = Rule(
    name="and",
    result="bool",
    arguments=("bool", "bool"),
    python=("{0:and} and {1:and}",),
    level=Level.AND,
    of=("{0} and {1}",),
    evaluate=lambda x, y: x and y,
)
OR = Rule(
    name="or",
    result="bool",
    arguments=("bool", "bool"),
    python=("{0:or} or {1:or}",),
    level=Level.OR,
    of=("{0} or {1}",),
    evaluate=lambda x, y: x or y,
)
_ALL = (*INTEGERS, *INTEGER_TESTS, *TEXTS, *MEASURES, *TEXT_TESTS)
_CONDITIONAL = next(rule for rule in INTEGERS if rule.name == "conditional")
_COMPARES = tuple(rule for rule in INTEGER_TESTS if rule.aspect in ("size", "division", "digits"))


class NothingDrawn(Exception):  # noqa: N818  # not an error: luck
    """Luck ran out; the caller draws another problem."""


def draw_test(
    rng: Random,
    variables: Sequence[Variable],
    size: int = 1,
    samples: Sequence[Sample] = (),
) -> Node:
    """A test of the variables, in which each of them occurs; one atom, or with size 2 two that are
    joined by "and" or "or".

    samples: values of the variables as they come together; none: each is drawn by itself. Raises
    NothingDrawn.
    """
    drawing = _Drawing(rng, variables, samples)
    return _first(lambda: drawing.test(variables, size))


def draw_integer(
    rng: Random,
    variables: Sequence[Variable],
    size: int = 1,
    samples: Sequence[Sample] = (),
) -> Node:
    """An integer from all of the variables (one or two, numbers or texts), `size` rules deep; size
    0 is one variable itself. For `samples` and errors see `draw_test`."""
    drawing = _Drawing(rng, variables, samples)
    return _first(lambda: drawing.value("int", variables, size))


def draw_text(
    rng: Random,
    variables: Sequence[Variable],
    size: int = 1,
    samples: Sequence[Sample] = (),
) -> Node:
    """A text from one variable of kind "str". For `samples` and errors see `draw_test`."""
    drawing = _Drawing(rng, variables, samples)
    return _first(lambda: drawing.value("str", variables, size))


def _first(draw: Callable[[], Node | None]) -> Node:
    for _ in range(_TRIES):
        if (node := draw()) is not None:
            return node
    raise NothingDrawn


class _Drawing:
    """Methods give None where a draw came to nothing; the caller tries again."""

    def __init__(
        self, rng: Random, variables: Sequence[Variable], samples: Sequence[Sample]
    ) -> None:
        self.rng = rng
        self.samples = samples or [
            {one.name: one.type.draw(rng, 8) for one in variables} for _ in range(_SAMPLES)
        ]

    def test(self, variables: Sequence[Variable], size: int) -> Node | None:
        if size == 2:
            rule = AND if self.rng.random() < 0.5 else OR
            firsts = seconds = variables
            if len(variables) == 2 and variables[0].kind == "char":  # one of both, one of either
                seconds = [self.rng.choice(variables)]
            first, second = self.test(firsts, 1), self.test(seconds, 1)
            if first is None or second is None or _aspects(first) & _aspects(second):
                return None
            both = Node(rule, (first, second))
            return both if self._says_something(both, [first, second]) else None
        node = self._atom(variables)
        if node is None or node.variables() != {one.name for one in variables}:
            return None
        return node if self._says_something(node, []) else None

    def value(self, kind: Kind, variables: Sequence[Variable], size: int) -> Node | None:
        if size == 0:
            one = self.rng.choice(variables)
            return leaf(one) if one.kind == kind else None
        node = self._made(kind, variables, size)
        if node is None or node.variables() != {one.name for one in variables}:
            return None
        if node.rule is not None and node.rule.name == "the character itself":
            return None
        return node if self._says_something(node, node.arguments) else None

    def _atom(self, variables: Sequence[Variable]) -> Node | None:
        """One test: of a variable, of two, or of an integer made from them."""
        rng = self.rng
        if len(variables) == 1 and variables[0].kind in ("str", "char"):
            own = variables[0].kind
            if rng.random() < (0.5 if own == "str" else 0.85):
                rules = TEXT_TESTS if own == "str" else CHARACTER_TESTS
                rule = _choice(rng, rules, "bool", (own,))
                return self._applied(rule, [leaf(variables[0])])
            measure = self.value("int", variables, 1)
            return measure and self._tested(measure)
        if len(variables) == 1:
            if rng.random() < 0.6:
                return self._tested(leaf(variables[0]))
            value = self.value("int", variables, 1)
            return None if value is None or _is_linear(value) else self._tested(value)
        if all(one.kind == "char" for one in variables):
            rule = _choice(rng, CHARACTER_PAIR_TESTS, "bool", ("char", "char"))
            return self._applied(rule, self._shuffled(rule, variables))
        if rng.random() < 0.6 and all(one.kind == "int" for one in variables):
            rule = _choice(rng, INTEGER_TESTS, "bool", ("int", "int"))
            return self._applied(rule, self._shuffled(rule, variables))
        value = self.value("int", variables, 1)
        return value and self._tested(value)

    def _tested(self, value: Node) -> Node | None:
        rules = _COMPARES if value.rule else INTEGER_TESTS
        rule = _choice(self.rng, rules, "bool", ("int",))
        if value.rule is not None and rule.aspect == value.rule.aspect:
            return None
        return self._applied(rule, [value])

    def _made(self, kind: Kind, variables: Sequence[Variable], size: int) -> Node | None:
        rng = self.rng
        own = variables[0].kind
        is_conditional = rng.random() < (0.6 if own == "char" else 0.25)
        if size >= 2 and is_conditional and kind in ("int", "str"):
            return self._conditional(kind, variables, size)
        if own == "char":
            rule = _choice(rng, (*CHARACTERS, *CHARACTER_MEASURES), kind, ("char",))
            return self._applied(rule, [leaf(variables[0])])
        if len(variables) == 1 or (size >= 2 and rng.random() < 0.5):
            wanted: Kind = kind
            if kind == "int" and all(one.kind == "str" for one in variables):
                wanted = "str" if size == 1 or rng.random() < 0.3 else "int"
            inner = self._inner(wanted, variables, size)
            rule = _choice(rng, _ALL, kind, (wanted,))
            if inner is None or (inner.rule is not None and _clash(rule, inner.rule)):
                return None
            return self._applied(rule, [inner])
        if kind == "int" and len(variables) == 2:
            rule = _choice(rng, INTEGERS, "int", ("int", "int"))
            return self._applied(rule, self._sides(rule, variables, size))
        return None

    def _inner(self, kind: Kind, variables: Sequence[Variable], size: int) -> Node | None:
        if size == 1:
            return leaf(variables[0]) if variables[0].kind == kind else None
        return self.value(kind, variables, size - 1)

    def _sides(self, rule: Rule, variables: Sequence[Variable], size: int) -> list[Node]:
        """The two variables, one of them changed if there is size for it; of texts a measure."""
        if any(one.kind == "str" for one in variables):
            return [
                (self.value("int", [one], 1) or leaf(one)) if one.kind == "str" else leaf(one)
                for one in variables[:2]
            ]
        sides = self._shuffled(rule, variables)
        if size >= 2:
            # The longer side last: that is how it can be said without doubt.
            changed = sides[1].variable
            assert changed is not None
            sides[1] = self.value("int", [changed], size - 1) or sides[1]
        return sides

    def _conditional(self, kind: Kind, variables: Sequence[Variable], size: int) -> Node | None:
        least = 1 if variables[0].kind == "char" else 0
        test = self.test(variables[:1], 1)
        first = self._branch(kind, variables, self.rng.randint(least, max(least, size - 1)))
        second = self._branch(kind, variables, self.rng.randint(least, 1))
        if test is None or first is None or second is None or first.spec() == second.spec():
            return None
        return Node(_CONDITIONAL if kind == "int" else CONDITIONAL_TEXT, (test, first, second))

    def _branch(self, kind: Kind, variables: Sequence[Variable], size: int) -> Node | None:
        """One side of a conditional; unlike other values it may be a constant."""
        if size == 0 or variables[0].kind != "char":
            return self.value(kind, variables, size)
        return self._made(kind, variables, size)

    def _shuffled(self, rule: Rule, variables: Sequence[Variable]) -> list[Node]:
        nodes = [leaf(one) for one in variables[:2]]
        if not rule.is_symmetric and self.rng.random() < 0.4:
            nodes.reverse()
        return nodes

    def _applied(self, rule: Rule, arguments: list[Node]) -> Node | None:
        """With constants that make sense, inside what integers may be; negated at times."""
        if [one.kind for one in arguments] != list(rule.arguments):
            return None
        if any(one.rule is not None and one.rule.is_outermost for one in arguments):
            return None
        constants = rule.draw(self.rng, [one.range() for one in arguments])
        if constants is None:
            return None
        is_leaf = arguments[0].rule is None
        can_turn = bool(rule.opposite) and not rule.has_own_opposite and is_leaf
        is_negated = can_turn and self.rng.random() < 0.3
        node = Node(rule, tuple(arguments), constants, is_negated=is_negated)
        low, high = node.range()
        return node if low >= -MOST and high <= MOST else None

    def _says_something(self, node: Node, parts: Sequence[Node]) -> bool:
        """Whether values vary, and are not always those of a part."""
        values = [node.evaluate(sample) for sample in self.samples]
        if node.kind == "bool":
            share = sum(values) / len(values)
            if not _LEAST_SHARE <= share <= 1 - _LEAST_SHARE:
                return False
        elif all(one == other for one, other in pairwise(values)):
            return False
        pairs = list(zip(self.samples, values, strict=True))
        return all(
            any(part.evaluate(sample) != value for sample, value in pairs)
            for part in parts
            if part.kind == node.kind
        )


def _choice(rng: Random, rules: tuple[Rule, ...], kind: Kind, arguments: tuple[Kind, ...]) -> Rule:
    fitting = [one for one in rules if one.result == kind and one.arguments == arguments]
    return rng.choices(fitting, [one.weight for one in fitting])[0]


def _clash(outer: Rule, inner: Rule) -> bool:
    if outer.is_outermost or inner.is_outermost:
        return True
    return outer.aspect == inner.aspect and outer.aspect not in ("sum", "")


def _is_linear(node: Node) -> bool:
    """Whether a comparison of it with a constant is one of the variable with another constant."""
    return node.rule is not None and node.rule.aspect in ("shift", "scale", "limit")


def _aspects(node: Node) -> set[str]:
    if node.rule is None:
        return set()
    own = {f"{node.rule.aspect}/{bool(node.arguments[0].rule)}"} if node.rule.aspect else set()
    return own.union(*(_aspects(one) for one in node.arguments if one.kind == "bool"))
