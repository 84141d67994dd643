"""Rules on texts: texts from texts, integers from texts, tests of texts. Texts are ASCII."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.grammar.code import Level
from megatron_codemix.corpus.synthesis.grammar.node import Constants, Helper, Range, Rule

_VOWELS = "aeiou"
_COMMON = "aeionrstl"


def _letter(rng: Random, ranges: Sequence[Range]) -> dict[str, str]:
    return {"c": rng.choice(_COMMON)}


def _two_letters(rng: Random, ranges: Sequence[Range]) -> dict[str, str]:
    first, second = rng.sample(_COMMON, 2)
    return {"c": first, "d": second}


def _few(low: int, high: int) -> Callable[[Random, Sequence[Range]], dict[str, Any] | None]:
    return lambda rng, ranges: {"c": rng.randint(low, high)} if ranges[0][1] > high else None


def _same_length(ranges: Sequence[Range], constants: Constants) -> Range:
    return ranges[0]


def _up_to_length(ranges: Sequence[Range], constants: Constants) -> Range:
    return 0, ranges[0][1]


def _text(
    name: str,
    python: tuple[str, ...],
    its: tuple[str, ...],
    of: tuple[str, ...],
    evaluate: Callable[..., str],
    *,
    draw: Any = lambda rng, ranges: {},
    range: Any = _up_to_length,
    aspect: str,
    level: Level = Level.ATOM,
    helper: Helper | None = None,
    is_outermost: bool = False,
) -> Rule:
    return Rule(
        name=name, result="str", arguments=("str",), python=python, level=level, its=its, of=of,
        evaluate=evaluate, draw=draw, range=range, aspect=aspect, helper=helper,
        is_outermost=is_outermost,
    )  # fmt: skip


def _mapped(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join([change(one) for one in text])


def _flip(letter: str) -> str:
    return chr(ord(letter) ^ 32) if letter.isalpha() else letter


WITHOUT_VOWELS = Helper(
    "without_vowels",
    (
        '''def without_vowels(text: str) -> str:
    """The text with the letters a, e, i, o and u left out, in either case."""
    return "".join(letter for letter in text if letter.lower() not in "aeiou")''',
        '''def without_vowels(text: str) -> str:
    """Drop every vowel, upper case or lower case."""
    kept = ""
    for letter in text:
        if letter not in "aeiouAEIOU":
            kept += letter
    return kept''',
    ),
)
COUNT_VOWELS = Helper(
    "count_vowels",
    (
        '''def count_vowels(text: str) -> int:
    """Number of letters a, e, i, o and u, in either case."""
    return sum(1 for letter in text.lower() if letter in "aeiou")''',
        '''def count_vowels(text: str) -> int:
    """How many vowels a text has; case does not matter."""
    count = 0
    for letter in text:
        if letter in "aeiouAEIOU":
            count += 1
    return count''',
    ),
)

TEXTS: tuple[Rule, ...] = (
    _text(
        "upper", ("{0:atom}.upper()",), ("its upper-case form",),
        ("{0} in upper case", "the upper-case form of {0}"),
        _mapped(lambda one: chr(ord(one) - 32) if "a" <= one <= "z" else one),
        range=_same_length, aspect="case",
    ),
    _text(
        "lower", ("{0:atom}.lower()",), ("its lower-case form",),
        ("{0} in lower case", "the lower-case form of {0}"),
        _mapped(lambda one: chr(ord(one) + 32) if "A" <= one <= "Z" else one),
        range=_same_length, aspect="case",
    ),
    _text(
        "reversed", ("{0:atom}[::-1]", '"".join(reversed({0}))'), ("its mirror image",),
        ("the reversal of {0}", "the reverse of {0}"),
        lambda text: "".join(text[i] for i in range(len(text) - 1, -1, -1)),
        range=_same_length, aspect="order",
    ),
    _text(
        "sorted letters", ('"".join(sorted({0}))',), (),
        ("the characters of {0} in ascending order of their character codes",),
        lambda text: "".join(chr(code) * text.count(chr(code)) for code in range(128)),
        range=_same_length, aspect="order",
    ),
    _text(
        "first characters", ("{0:atom}[:{c}]",),
        ("its first {c} characters (all of them if there are fewer)",),
        ("the first {c} characters (all if there are fewer) of {0}",),
        lambda text, c: "".join(one for i, one in enumerate(text) if i < c),
        draw=_few(2, 4), range=lambda ranges, constants: (0, constants["c"]), aspect="part",
    ),
    _text(
        "last characters", ("{0:atom}[-{c}:]",),
        ("its last {c} characters (all of them if there are fewer)",),
        ("the last {c} characters (all if there are fewer) of {0}",),
        lambda text, c: "".join(one for i, one in enumerate(text) if i >= len(text) - c),
        draw=_few(2, 4), range=lambda ranges, constants: (0, constants["c"]), aspect="part",
    ),
    _text(
        "without first", ("{0:atom}[1:]",), ("what remains of it after its first character",),
        ("all but the first character of {0}",),
        lambda text: text.removeprefix(text[:1]), aspect="part",
    ),
    _text(
        "every second", ("{0:atom}[::2]",), (),
        ("every second character, beginning with the first, of {0}",),
        lambda text: "".join(one for i, one in enumerate(text) if i % 2 == 0), aspect="part",
    ),
    _text(
        "replace", ("{0:atom}.replace({c}, {d})",), (),
        ("{0} with every {c} replaced by {d}", "what you get by writing {d} for every {c} in {0}"),
        lambda text, c, d: d.join(text.split(c)),
        draw=_two_letters, range=_same_length, aspect="letters",
    ),
    _text(
        "without letter", ('{0:atom}.replace({c}, "")', '"".join({0:atom}.split({c}))'), (),
        ("{0} with every {c} removed", "what remains after deleting every {c} from {0}"),
        lambda text, c: "".join([one for one in text if one != c]),
        draw=_letter, aspect="letters",
    ),
    _text(
        "without vowels", (), (),
        ("what remains after deleting all vowels (a, e, i, o, u in either case) from {0}",),
        lambda text: "".join([one for one in text if one not in "AEIOUaeiou"]),
        aspect="letters", helper=WITHOUT_VOWELS,
    ),
    _text(
        "doubled", ("{0:atom} + {0:atom}", "{0:atom} * 2"), (),
        ("{0} written twice in a row", "two copies of {0} put together"), "{0}{0}".format,
        range=lambda ranges, constants: (2 * ranges[0][0], 2 * ranges[0][1]),
        aspect="more", level=Level.SUM, is_outermost=True,
    ),
    _text(
        "mirrored", ("{0:atom} + {0:atom}[::-1]",), (),
        ("{0} followed by its own reversal",),
        lambda text: "".join([*text, *reversed(text)]),
        range=lambda ranges, constants: (2 * ranges[0][0], 2 * ranges[0][1]),
        aspect="more", level=Level.SUM, is_outermost=True,
    ),
    _text(
        "with suffix", ("{0:sum} + {c}",), (),
        ("{0} followed by {c}", "the result of appending {c} to {0}"),
        lambda text, c: f"{text}{c}",
        draw=lambda rng, ranges: {"c": rng.choice(["!", "s", "-", "ed", "?", "."])},
        range=lambda ranges, constants: (ranges[0][0] + 1, ranges[0][1] + 2),
        aspect="more", level=Level.SUM, is_outermost=True,
    ),
    _text(
        "with prefix", ("{c} + {0:product}",), (),
        ("{0} with {c} put in front", "{c} followed by {0}"),
        lambda text, c: f"{c}{text}",
        draw=lambda rng, ranges: {"c": rng.choice(["#", "un", "re", "-", "@", "x"])},
        range=lambda ranges, constants: (ranges[0][0] + 1, ranges[0][1] + 2),
        aspect="more", level=Level.SUM, is_outermost=True,
    ),
)  # fmt: skip


def _measure(
    name: str,
    python: tuple[str, ...],
    its: tuple[str, ...],
    of: tuple[str, ...],
    evaluate: Callable[..., int],
    *,
    draw: Any = lambda rng, ranges: {},
    range: Any = _up_to_length,
    aspect: str,
    weight: float = 1.0,
    helper: Helper | None = None,
) -> Rule:
    return Rule(
        name=name, result="int", arguments=("str",), python=python, its=its, of=of,
        evaluate=evaluate, draw=draw, range=range, aspect=aspect, weight=weight, helper=helper,
    )  # fmt: skip


MEASURES: tuple[Rule, ...] = (
    _measure(
        "length", ("len({0})",), ("its length", "its number of characters"),
        ("the length of {0}", "the number of characters in {0}"),
        lambda text: sum(1 for _ in text), range=_same_length, aspect="length", weight=2.0,
    ),
    _measure(
        "occurrences", ("{0:atom}.count({c})",), ("its number of {c} characters",),
        ("the number of times {c} occurs in {0}",),
        lambda text, c: len([one for one in text if one == c]), draw=_letter, aspect="letters",
    ),
    _measure(
        "vowels", (), ("its number of vowels (a, e, i, o, u in either case)",),
        ("the number of vowels (a, e, i, o, u in either case) in {0}",),
        lambda text: sum(map(text.count, "aeiouAEIOU")), aspect="letters", helper=COUNT_VOWELS,
    ),
    _measure(
        "distinct characters", ("len(set({0}))",), ("its number of distinct characters",),
        ("the number of different characters in {0}",),
        lambda text: sum(text.find(one) == i for i, one in enumerate(text)), aspect="distinct",
    ),
    _measure(
        "capitals", ("sum(1 for letter in {0:or} if letter.isupper())",),
        ("its number of capital letters",), ("the number of capital letters in {0}",),
        lambda text: len([one for one in text if "A" <= one <= "Z"]), aspect="case", weight=0.6,
    ),
    _measure(
        "position of", ("{0:atom}.find({c})",),
        ("the index of its first {c} (having none counts as -1)",),
        ("the index (counted as -1 if there is none) of the first {c} in {0}",),
        lambda text, c: min((i for i, one in enumerate(text) if one == c), default=-1),
        draw=_letter, range=lambda ranges, constants: (-1, ranges[0][1] - 1), aspect="position",
        weight=0.6,
    ),
)  # fmt: skip


def _tested(
    name: str,
    python: tuple[str, ...],
    its: tuple[str, ...],
    opposite: tuple[str, ...],
    of: tuple[str, ...],
    evaluate: Callable[..., bool],
    *,
    draw: Any = lambda rng, ranges: {},
    aspect: str,
    level: Level = Level.ATOM,
    weight: float = 1.0,
) -> Rule:
    return Rule(
        name=name, result="bool", arguments=("str",), python=python, level=level, its=its,
        opposite=opposite, of=of, evaluate=evaluate, draw=draw, aspect=aspect, weight=weight,
    )  # fmt: skip


TEXT_TESTS: tuple[Rule, ...] = (
    _tested(
        "starts with", ("{0:atom}.startswith({c})", "{0:atom}[:1] == {c}"),
        ("that <begins> with {c}", "whose first character is {c}"),
        ("that <does> not begin with {c}",),
        ("{0} begins with {c}",), lambda text, c: len(text) > 0 and text[0] == c,
        draw=lambda rng, ranges: {"c": rng.choice("abcgelrst")}, aspect="start", weight=0.7,
    ),
    _tested(
        "ends with", ("{0:atom}.endswith({c})", "{0:atom}[-1:] == {c}"),
        ("that <ends> with {c}", "whose last character is {c}"), ("that <does> not end with {c}",),
        ("{0} ends with {c}",), lambda text, c: len(text) > 0 and text[len(text) - 1] == c,
        draw=lambda rng, ranges: {"c": rng.choice("aedgrnwt")}, aspect="end", weight=0.7,
    ),
    _tested(
        "contains", ("{c} in {0:sum}", "{0:atom}.count({c}) > 0", "{0:atom}.find({c}) >= 0"),
        ("that <contains> the letter {c}", "that <has> {c} somewhere in <it|them>"),
        ("that <does> not contain the letter {c}", "that <has> no {c} in <it|them>"),
        ("{0} contains the letter {c}",), lambda text, c: any(one == c for one in text),
        draw=_letter, aspect="letters", level=Level.COMPARE, weight=1.3,
    ),
    _tested(
        "palindrome", ("{0:atom} == {0:atom}[::-1]",),
        ("that <reads> the same forwards and backwards", "that <is> <a palindrome|palindromes>"),
        ("that <is> not <a palindrome|palindromes>",), ("{0} is a palindrome",),
        lambda text: all(text[i] == text[len(text) - 1 - i] for i in range(len(text) // 2)),
        aspect="order", level=Level.COMPARE, weight=0.7,
    ),
    _tested(
        "starts with vowel", ('{0:atom}[:1].lower() in ("a", "e", "i", "o", "u")',),
        ("that <begins> with a vowel (a, e, i, o or u in either case)",),
        ("that <does> not begin with a vowel (a, e, i, o or u in either case)",),
        ("{0} begins with a vowel (a, e, i, o or u in either case)",),
        lambda text: len(text) > 0 and text[0] in "AEIOUaeiou", aspect="start",
        level=Level.COMPARE,
    ),
    _tested(
        "has capital",
        ("any(letter.isupper() for letter in {0:or})", "{0:atom} != {0:atom}.lower()"),
        ("that <contains> at least one capital letter",), ("that <contains> no capital letter",),
        ("{0} contains a capital letter",), lambda text: sum("A" <= one <= "Z" for one in text) > 0,
        aspect="case", weight=0.6,
    ),
    _tested(
        "repeats", ("len(set({0})) != len({0})",),
        ("that <contains> some character more than once",), ("whose characters are all different",),
        ("some character occurs more than once in {0}",),
        lambda text: any(text.count(one) > 1 for one in text),
        aspect="distinct", level=Level.COMPARE,
    ),
    _tested(
        "same ends", ("{0:atom}[:1] == {0:atom}[-1:]",),
        ("whose first and last characters are equal (or that <is> empty)",),
        ("whose first and last characters differ",),
        ("the first and last characters of {0} are equal (or it is empty)",),
        lambda text: not text or text[0] == text[len(text) - 1],
        aspect="end", level=Level.COMPARE, weight=0.7,
    ),
    _tested(
        "before letter", ("{0:sum} < {c}", "{c} > {0:sum}"),
        ("that <comes> before {c} in character-code order",),
        ("that <does> not come before {c} in character-code order",),
        ("{0} comes before {c} in character-code order",),
        lambda text, c: sorted([text, c])[0] != c,
        draw=lambda rng, ranges: {"c": rng.choice("bcdefghmnpqrs")},
        aspect="start", level=Level.COMPARE, weight=0.4,
    ),
)  # fmt: skip
