"""Rules on single characters: tests, what a character becomes, where it stands in the alphabet."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.grammar.code import Level
from megatron_codemix.corpus.synthesis.grammar.integers import CONDITIONAL
from megatron_codemix.corpus.synthesis.grammar.node import Constants, Helper, Range, Rule

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"

LETTER_VALUE = Helper(
    "letter_value",
    (
        '''def letter_value(letter: str) -> int:
    """Place in the alphabet, 1 for a or A; 0 for what is no letter."""
    return "abcdefghijklmnopqrstuvwxyz".find(letter.lower()) + 1''',
        '''def letter_value(letter: str) -> int:
    """1 for a, 2 for b and so on, in either case; everything else is 0."""
    for place, one in enumerate("abcdefghijklmnopqrstuvwxyz"):
        if letter.lower() == one:
            return place + 1
    return 0''',
    ),
)


def _tested(
    name: str,
    python: tuple[str, ...],
    its: tuple[str, ...],
    opposite: tuple[str, ...],
    of: tuple[str, ...],
    evaluate: Callable[..., bool],
    *,
    draw: Any = lambda rng, ranges: {},
    level: Level = Level.ATOM,
    aspect: str = "class",
    weight: float = 1.0,
) -> Rule:
    return Rule(
        name=name, result="bool", arguments=("char",), python=python, level=level, its=its,
        opposite=opposite, of=of, evaluate=evaluate, draw=draw, aspect=aspect, weight=weight,
    )  # fmt: skip


def _some_letters(rng: Random, ranges: Sequence[Range]) -> dict[str, str]:
    return {"c": "".join(sorted(rng.sample("abcdelmnorstwy", 4)))}


CHARACTER_PAIR_TESTS: tuple[Rule, ...] = (
    Rule(
        name="same character",
        result="bool",
        arguments=("char", "char"),
        python=("{0:sum} == {1:sum}",),
        level=Level.COMPARE,
        of=("{0} and {1} are equal", "{0} equals {1}"),
        evaluate=lambda one, other: not (one < other or other < one),
        is_symmetric=True,
        aspect="equal",
    ),
    Rule(
        name="different characters",
        result="bool",
        arguments=("char", "char"),
        python=("{0:sum} != {1:sum}",),
        level=Level.COMPARE,
        of=("{0} and {1} are different", "{0} is not equal to {1}"),
        evaluate=lambda one, other: one < other or other < one,
        is_symmetric=True,
        aspect="equal",
    ),
    Rule(
        name="same letter",
        result="bool",
        arguments=("char", "char"),
        python=("{0:atom}.lower() == {1:atom}.lower()", "{0:atom}.upper() == {1:atom}.upper()"),
        level=Level.COMPARE,
        of=("{0} and {1} are equal apart from their case",),
        evaluate=lambda one, other: other in (one, _flipped(one)),
        is_symmetric=True,
        aspect="equal",
    ),
    Rule(
        name="character before other",
        result="bool",
        arguments=("char", "char"),
        python=("{0:sum} < {1:sum}", "{1:sum} > {0:sum}"),
        level=Level.COMPARE,
        of=("{0} comes before {1} in the order of character codes",),
        evaluate=lambda one, other: ord(other) - ord(one) > 0,
        aspect="order",
    ),
)


def _flipped(one: str) -> str:
    if "a" <= one <= "z":
        return chr(ord(one) - 32)
    return chr(ord(one) + 32) if "A" <= one <= "Z" else one


CHARACTER_TESTS: tuple[Rule, ...] = (
    _tested(
        "vowel", ('{0:atom}.lower() in "aeiou"', '{0:atom} in "aeiouAEIOU"'),
        ("that <is> <a vowel|vowels> (a, e, i, o, u in either case)",),
        ("that <is> not <a vowel|vowels> (a, e, i, o, u in either case)",),
        ("{0} is a vowel (a, e, i, o, u in either case)",),
        lambda one: one in list("AEIOUaeiou"), level=Level.COMPARE, weight=1.6,
    ),
    _tested(
        "digit", ("{0:atom}.isdigit()",), ("that <is> <a digit|digits>",),
        ("that <is> not <a digit|digits>",), ("{0} is a digit",),
        lambda one: "0" <= one <= "9",
    ),
    _tested(
        "letter", ("{0:atom}.isalpha()",), ("that <is> <a letter|letters>",),
        ("that <is> not <a letter|letters>",), ("{0} is a letter",),
        lambda one: "a" <= one <= "z" or "A" <= one <= "Z",
    ),
    _tested(
        "capital", ("{0:atom}.isupper()",),
        ("that <is> <a capital letter|capital letters>",),
        ("that <is> not <a capital letter|capital letters>",), ("{0} is a capital letter",),
        lambda one: "A" <= one <= "Z",
    ),
    _tested(
        "small letter", ("{0:atom}.islower()",),
        ("that <is> <a lower-case letter|lower-case letters>",),
        ("that <is> not <a lower-case letter|lower-case letters>",),
        ("{0} is a lower-case letter",), lambda one: "a" <= one <= "z",
    ),
    _tested(
        "one of", ("{0} in {c}",), ("that <is> one of the characters in {c}",),
        ("that <is> none of the characters in {c}",), ("{0} is one of the characters in {c}",),
        lambda one, c: c.count(one) == 1, draw=_some_letters, level=Level.COMPARE, aspect="set",
    ),
    _tested(
        "before", ("{0:sum} < {c}", "{c} > {0:sum}"),
        ("that <comes> before {c} in the order of character codes",),
        ("that <does> not come before {c} in the order of character codes",),
        ("{0} comes before {c} in the order of character codes",),
        lambda one, c: ord(one) - ord(c) < 0,
        draw=lambda rng, ranges: {"c": rng.choice("defghklmnopr")}, level=Level.COMPARE,
        aspect="order", weight=0.6,
    ),
    _tested(
        "space", ('{0} == " "',), ("that <is> <a space|spaces>",),
        ("that <is> not <a space|spaces>",), ("{0} is a space",),
        lambda one: ord(one) == 32, level=Level.COMPARE, weight=0.5,
    ),
)  # fmt: skip


def _made(
    name: str,
    python: tuple[str, ...],
    its: tuple[str, ...],
    of: tuple[str, ...],
    evaluate: Callable[..., str],
    *,
    draw: Any = lambda rng, ranges: {},
    level: Level = Level.ATOM,
    longest: int = 1,
    weight: float = 1.0,
) -> Rule:
    def lengths(ranges: Sequence[Range], constants: Constants) -> Range:
        return 0 if longest == 0 else 1, max(1, longest)

    return Rule(
        name=name, result="str", arguments=("char",), python=python, level=level, its=its, of=of,
        evaluate=evaluate, draw=draw, range=lengths, aspect="made", weight=weight,
    )  # fmt: skip


CHARACTERS: tuple[Rule, ...] = (
    _made(
        "the character itself", ("{0}",), ("itself",), ("{0} itself",), lambda one: one, weight=1.5,
    ),
    _made(
        "character in upper case", ("{0:atom}.upper()",), ("its upper-case form",),
        ("{0} in upper case",), lambda one: _flipped(one) if "a" <= one <= "z" else one,
    ),
    _made(
        "character in lower case", ("{0:atom}.lower()",), ("its lower-case form",),
        ("{0} in lower case",), lambda one: _flipped(one) if "A" <= one <= "Z" else one,
    ),
    _made(
        "character in the other case", ("{0:atom}.swapcase()",),
        ("its form in the other case (itself if it is no letter)",),
        ("{0} in the other case (itself if it is no letter)",), _flipped, weight=0.7,
    ),
    _made(
        "character twice", ("{0:atom} + {0:atom}", "{0:atom} * 2"), ("two copies of it",),
        ("two copies of {0}",), "{0}{0}".format, level=Level.SUM, longest=2,
    ),
    _made(
        "fixed character", ("{c}",), ("{c}",), ("{c}",), lambda one, c: str(c),
        draw=lambda rng, ranges: {"c": rng.choice(["*", "-", "_", "#", "x", "?", "."])},
    ),
    _made(
        "nothing", ('""',), ("nothing (the empty text)",), ("nothing (the empty text)",),
        lambda one: "", longest=0, weight=0.6,
    ),
    _made(
        "character with mark", ("{0:sum} + {c}",), ("it followed by {c}",),
        ("{0} followed by {c}",),
        lambda one, c: f"{one}{c}",
        draw=lambda rng, ranges: {"c": rng.choice(["-", "'", "1", "+"])}, level=Level.SUM,
        longest=2,
    ),
)  # fmt: skip

CHARACTER_MEASURES: tuple[Rule, ...] = (
    Rule(
        name="letter value",
        result="int",
        arguments=("char",),
        python=(),
        its=("its place in the alphabet (1 for a, in either case; 0 for what is no letter)",),
        of=("the place in the alphabet (1 for a, in either case; 0 for what is no letter) of {0}",),
        evaluate=lambda one: dict(zip(_ALPHABET, range(1, 27), strict=True)).get(one.lower(), 0),
        range=lambda ranges, constants: (0, 26),
        helper=LETTER_VALUE,
        aspect="alphabet",
    ),
    Rule(
        name="digit value",
        result="int",
        arguments=("char",),
        python=("int({0}) if {0:atom}.isdigit() else 0",),
        level=Level.CONDITIONAL,
        its=("its value as a digit (0 for what is no digit)",),
        of=("the value as a digit (0 for what is no digit) of {0}",),
        evaluate=lambda one: "0123456789".find(one) if one.isdecimal() else 0,
        range=lambda ranges, constants: (0, 9),
        aspect="digits",
        weight=0.7,
    ),
)
CONDITIONAL_TEXT = replace(CONDITIONAL, result="str", arguments=("bool", "str", "str"))
