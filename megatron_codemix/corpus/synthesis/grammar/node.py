"""Typed expressions: one tree, read as Python, as English, as a value and as a size.

A rule is one kind of node. Its readings are written side by side in the tables of `integers.py`,
`integer_tests.py`, `texts.py` and `text_tests.py`; `evaluate` is the interpreter and never uses the
Python template's way where there is another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from operator import itemgetter
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.grammar.code import (
    Code,
    Level,
    negated,
    opposite_template,
)
from megatron_codemix.corpus.synthesis.grammar.english import Condition, Part, Subjects
from megatron_codemix.corpus.synthesis.values import Type, Value, literal

Kind = Literal["int", "bool", "str", "char"]
"""A char is a text of length one."""
Range = tuple[int, int]
"""Least and largest value of an integer, least and largest length of a text; (0, 1) of a test."""
Constants = Mapping[str, Any]


@dataclass(frozen=True)
class Helper:
    """A function that a solution may define for a rule in place of the inline form."""

    name: str
    sources: tuple[str, ...]
    """Several ways to write it; each a whole definition of `name`."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    name: str
    result: Kind
    arguments: tuple[Kind, ...]
    python: tuple[str, ...]
    """Templates of one meaning; `{0:sum}` is the first argument, `{c}` a constant's literal. The
    first is the usual one. Empty: only by the helper."""
    level: Level = Level.ATOM
    its: tuple[str, ...] = ()
    """int, str: of an item that "it" stands for: "its last digit". bool: "that <is> even" or "whose
    last digit is {c}"."""
    opposite: tuple[str, ...] = ()
    """bool: as `its`, for the negation; none: the test is not negated."""
    of: tuple[str, ...]
    """Around noun phrases: "the last digit of {0}"; bool: a clause, "{0} is even"."""
    evaluate: Callable[..., Value]
    """Of the arguments' values, then of the constants by name."""
    draw: Callable[[Random, Sequence[Range]], dict[str, Any] | None] = lambda rng, ranges: {}
    """Constants that make sense for arguments in these ranges; None where none do."""
    range: Callable[[Sequence[Range], Constants], Range] = lambda ranges, constants: (0, 1)
    helper: Helper | None = None
    aspect: str = ""
    """What a test looks at; two of one aspect are not joined, an expression not nested in its
    own."""
    weight: float = 1.0
    is_symmetric: bool = False
    """Whether the two arguments may change places; then they are drawn in their order."""
    is_outermost: bool = False
    """Whether it stands only around a variable, and in nothing else: it cannot be said
    elsewhere."""
    has_own_opposite: bool = False
    """bool: another rule says the negation as well, so it is never drawn negated."""


@dataclass(frozen=True)
class Variable:
    """A free variable of a tree."""

    name: str
    type: Type
    kind: Kind
    range: Range


@dataclass
class Naming:
    """How a tree is written in one solution: what variables are called there, which of the ways to
    write a rule is taken, and the helpers that it came to need."""

    names: Mapping[str, str]
    way: int = 0
    """Which template of each rule, modulo how many it has."""
    uses_helpers: bool = False
    helpers: dict[str, str] = field(default_factory=dict)
    """Definitions by name, in the order in which they were first needed."""

    def renamed(self, names: Mapping[str, str]) -> "Naming":
        """Other names of variables, the same helpers."""
        return Naming(names, self.way, self.uses_helpers, self.helpers)


@dataclass(frozen=True)
class Node:
    """A rule with arguments; or, without a rule, a variable."""

    rule: Rule | None
    arguments: tuple["Node", ...] = ()
    constants: Constants = field(default_factory=dict)
    variable: Variable | None = None
    is_negated: bool = False

    @property
    def kind(self) -> Kind:
        return self._variable().kind if self.rule is None else self.rule.result

    def _variable(self) -> Variable:
        assert self.variable is not None
        return self.variable

    def range(self) -> Range:
        if self.rule is None:
            return self._variable().range
        return self.rule.range([one.range() for one in self.arguments], self.constants)

    def size(self) -> int:
        return 1 + sum(one.size() for one in self.arguments) if self.rule else 0

    def depth(self) -> int:
        return 1 + max((one.depth() for one in self.arguments), default=0) if self.rule else 0

    def spec(self) -> Any:
        """JSON that decides the tree."""
        if self.rule is None:
            return self._variable().name
        return [
            ("not " if self.is_negated else "") + self.rule.name,
            *(one.spec() for one in self.arguments),
            *([dict(self.constants)] if self.constants else []),
        ]

    def variables(self) -> set[str]:
        if self.rule is None:
            return {self._variable().name}
        return set().union(*(one.variables() for one in self.arguments))

    def rules(self) -> set[str]:
        """Names of all rules in the tree."""
        if self.rule is None:
            return set()
        return {self.rule.name}.union(*(one.rules() for one in self.arguments))

    def evaluate(self, environment: Mapping[str, Value]) -> Value:
        """The value by the grammar's own interpreter."""
        return self._reading(environment)

    @cached_property
    def _reading(self) -> Callable[[Mapping[str, Value]], Value]:
        """The interpreter of this tree: a closure around those of its arguments. Trees are read
        millions of times, and closures take half the time of a walk over nodes."""
        if self.rule is None:
            return itemgetter(self._variable().name)
        apply: Callable[..., Value] = self.rule.evaluate
        if self.constants:
            apply = partial(apply, **self.constants)
        if self.is_negated:
            positive = apply
            apply = lambda *values: not positive(*values)  # noqa: E731  # needs no name
        readings = [one._reading for one in self.arguments]
        if len(readings) == 1:
            (only,) = readings
            return lambda environment: apply(only(environment))
        if len(readings) == 2:
            first, second = readings
            return lambda environment: apply(first(environment), second(environment))
        return lambda environment: apply(*[one(environment) for one in readings])

    def notes(self) -> set[str]:
        """What to say once of a tree so that its values are beyond doubt."""
        if self.rule is None:
            return set()
        said = set().union(*(one.notes() for one in self.arguments))
        is_signed = any(one.kind == "int" and one.range()[0] < 0 for one in self.arguments)
        note = next((text for text, names in _NOTES if self.rule.name in names), None)
        return said | {note} if is_signed and note else said

    def python(self, naming: Naming) -> Code:
        if self.rule is None:
            return Code(naming.names[self._variable().name], Level.ATOM)
        rule = self.rule
        arguments = [one.python(naming) for one in self.arguments]
        constants = {name: literal(value) for name, value in self.constants.items()}
        if rule.helper is not None and (naming.uses_helpers or not rule.python):
            sources = rule.helper.sources
            naming.helpers.setdefault(rule.helper.name, sources[naming.way % len(sources)])
            given = ", ".join([*(one.text for one in arguments), *constants.values()])
            code = Code(f"{rule.helper.name}({given})", Level.ATOM)
        else:
            template = rule.python[naming.way % len(rule.python)]
            if "abs({0})" in template and self.arguments[0].range()[0] >= 0:
                template = template.replace("str(abs({0}))", "str({0})")
                template = template.replace("abs({0})", "{0:unary}")
            turned = opposite_template(template)
            code = Code(
                template.format(*arguments, **constants),
                rule.level,
                turned.format(*arguments, **constants) if turned else "",
            )
        return negated(code) if self.is_negated else code

    def phrase(self, rng: Random, subjects: Subjects, *, is_inner: bool = False) -> str:
        """A noun phrase: "its last digit", "the sum of the two numbers"; `is_inner`: one that stays
        together inside another."""
        if self.rule is None:
            return subjects[self._variable().name].phrase
        constants = {name: _in_words(value) for name, value in self.constants.items()}
        if self._is_of_it(subjects) and self.rule.its:
            return rng.choice(self.rule.its).format(**constants)
        arguments = [
            one.condition(rng, subjects).clause()
            if one.kind == "bool"
            else one.phrase(rng, subjects, is_inner=True)
            for one in self.arguments
        ]
        templates = self._templates(subjects)
        if is_inner:
            templates = [one for one in templates if one.startswith("the ")] or templates
        return rng.choice(templates).format(*arguments, **constants)

    def _templates(self, subjects: Subjects) -> Sequence[str]:
        """Around an argument of several words only such as leave no doubt where it ends: "the
        square of {0}", not "{0} squared"; of a test, which begins with it, any."""
        assert self.rule is not None
        is_long = any(not one._is_short(subjects) for one in self.arguments if one.kind != "bool")
        if not is_long or self.rule.result == "bool" or self.rule.name == "conditional":
            return self.rule.of
        last = f"{{{len(self.arguments) - 1}}}"
        fitting = [one for one in self.rule.of if one.endswith(last) or " away from " in one]
        return fitting or self.rule.of

    def _is_short(self, subjects: Subjects) -> bool:
        """Whether the phrase is one that nothing behind it is taken for a part of."""
        if self.rule is None:
            return not subjects[self._variable().name].is_long()
        return bool(self.rule.its) and self._is_of_it(subjects)

    def condition(self, rng: Random, subjects: Subjects) -> Condition:
        """A test in words; of any other kind of node there is none."""
        assert self.rule is not None
        assert self.rule.result == "bool", self.rule.name
        if self.rule.name in ("and", "or"):
            first, second = (one.condition(rng, subjects) for one in self.arguments)
            assert len(first.parts) == 1, "nested joins are not phrased"
            word: Literal["and", "or"] = "and" if self.rule.name == "and" else "or"
            return Condition((*first.parts, *second.parts), word)
        constants = {name: _in_words(value) for name, value in self.constants.items()}
        variable = self.arguments[0].variable if len(self.arguments) == 1 else None
        templates: Sequence[str] = self.rule.opposite if self.is_negated else self.rule.its
        if variable is not None and subjects[variable.name].is_long():
            verbs = [one for one in templates if one.startswith("that ")]
            templates = verbs or (templates if self.is_negated else ())
        if variable is not None and templates:
            kind, _, text = rng.choice(templates).format(**constants).partition(" ")
            assert kind in ("that", "whose"), (self.rule.name, kind)
            subject = "" if self._is_of_it(subjects) else subjects[variable.name].phrase
            return Condition((Part(kind, text, subject),))  # type: ignore[arg-type]  # asserted
        assert not self.is_negated, f"{self.rule.name}: only tests of one item are negated"
        arguments = [one.phrase(rng, subjects) for one in self.arguments]
        text = rng.choice(self._templates(subjects)).format(*arguments, **constants)
        return Condition((_as_possessive(text),))

    def opposite(self) -> "Node | None":
        """The negation of a test of one variable, where it can be said; else None."""
        if self.rule is None or not self.rule.opposite or self.arguments[0].rule is not None:
            return None
        return replace(self, is_negated=not self.is_negated)

    def _is_of_it(self, subjects: Subjects) -> bool:
        """Whether the one argument is the item that "it" stands for."""
        if len(self.arguments) != 1:
            return False
        variable = self.arguments[0].variable
        return variable is not None and subjects[variable.name].is_pronoun_clear


def _as_possessive(text: str) -> Part:
    """ "its square ends in 6" can also stand behind "whose"."""
    if text.startswith("its ") and " its " not in text[4:]:
        return Part("whose", text[4:])
    return Part("when", text)


def _in_words(value: Any) -> str:
    return f"`{literal(value)}`" if isinstance(value, str) else str(value)


_NOTES = (
    (
        "The sign of a number is not one of its digits",
        ("digit sum", "digit count", "first digit", "largest digit", "palindromic"),
    ),
    (
        "Remainders are never negative, as with Python's `%`",
        ("remainder", "remainder is"),
    ),
    (
        "Rounding down is towards minus infinity, as with Python's `//`",
        ("quotient", "multiple below"),
    ),
)
"""Sentences, and the rules that need them where an argument can be negative."""


def leaf(variable: Variable) -> Node:
    return Node(None, variable=variable)
