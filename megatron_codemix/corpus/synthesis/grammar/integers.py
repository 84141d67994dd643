"""Rules that give integers, from integers."""

from collections.abc import Sequence
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.grammar.code import Level
from megatron_codemix.corpus.synthesis.grammar.node import Constants, Helper, Range, Rule

MOST = 10**9
"""No integer of a problem is drawn to grow past it; far below what doubles hold exactly."""


def _small(low: int, high: int) -> Any:
    return lambda rng, ranges: {"c": rng.randint(low, high)}


def _divisor(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    """Between 2 and 10, and the argument can be below and above it."""
    low, high = ranges[0]
    most = min(10, max(abs(low), abs(high)) // 2)
    return {"c": rng.randint(2, most)} if most >= 2 and high - low > 3 else None


def _inner(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    """A positive number well inside the range."""
    low, high = max(ranges[0][0], -30), min(ranges[0][1], 40)
    quarter = (high - low) // 4
    if high - low <= 7:
        return None
    return {"c": max(1, rng.randint(low + quarter, high - quarter))}


def _two_inner(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    low, high = max(ranges[0][0], -30), min(ranges[0][1], 40)
    if high - low < 12:
        return None
    first = rng.randint(low + 1, (low + high) // 2)
    return {"c": first, "d": rng.randint(first + 3, high - 1)}


def _absolute(ranges: Sequence[Range]) -> Range:
    low, high = ranges[0]
    return (0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _corners(apply: Any) -> Any:
    """Range of a function that takes its extremes where the arguments take theirs."""

    def over(ranges: Sequence[Range], constants: Constants) -> Range:
        values = [apply(one, *rest, **constants) for one, *rest in _all_corners(ranges)]
        return min(values), max(values)

    return over


def _all_corners(ranges: Sequence[Range]) -> list[tuple[int, ...]]:
    corners: list[tuple[int, ...]] = [()]
    for low, high in ranges:
        corners = [(*corner, end) for corner in corners for end in (low, high)]
    return corners


def _square_range(ranges: Sequence[Range], constants: Constants) -> Range:
    low, high = _absolute(ranges)
    return low * low, high * high


def digits(number: int) -> list[int]:
    """Decimal digits without the sign, the last one first; [0] for 0."""
    found, rest = [], abs(number)
    while rest >= 10:
        rest, last = divmod(rest, 10)
        found.append(last)
    return [*found, rest]


def _digits_range(ranges: Sequence[Range], constants: Constants) -> Range:
    return 0, 9 * len(digits(_absolute(ranges)[1]))


def _several_digits(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    return {} if _absolute(ranges)[1] >= 20 else None


DIGIT_SUM = Helper(
    "digit_sum",
    (
        '''def digit_sum(number: int) -> int:
    """Sum of the decimal digits, without the sign."""
    return sum(int(digit) for digit in str(abs(number)))''',
        '''def digit_sum(number: int) -> int:
    """Add up the decimal digits of a number, ignoring its sign."""
    total = 0
    rest = abs(number)
    while rest > 0:
        total += rest % 10
        rest //= 10
    return total''',
    ),
)

CONDITIONAL = Rule(
    name="conditional",
    result="int",
    arguments=("bool", "int", "int"),
    python=("{1:or} if {0:or} else {2:or}",),
    level=Level.CONDITIONAL,
    of=("either {1} (if {0}) or {2} (otherwise)",),
    evaluate=lambda test, x, y: (y, x)[test],
    range=lambda ranges, constants: (
        min(ranges[1][0], ranges[2][0]),
        max(ranges[1][1], ranges[2][1]),
    ),
    aspect="choice",
)
INTEGERS: tuple[Rule, ...] = (
    Rule(
        name="plus constant",
        result="int",
        arguments=("int",),
        python=("{0:sum} + {c}",),
        level=Level.SUM,
        of=("{0} plus {c}", "{c} more than {0}", "the result of adding {c} to {0}"),
        evaluate=lambda x, c: x + c,
        draw=_small(1, 12),
        range=_corners(lambda x, c: x + c),
        aspect="shift",
    ),
    Rule(
        name="minus constant",
        result="int",
        arguments=("int",),
        python=("{0:sum} - {c}",),
        level=Level.SUM,
        of=("{0} minus {c}", "{c} less than {0}", "the result of taking {c} away from {0}"),
        evaluate=lambda x, c: x - c,
        draw=_small(1, 12),
        range=_corners(lambda x, c: x - c),
        aspect="shift",
    ),
    Rule(
        name="constant minus",
        result="int",
        arguments=("int",),
        python=("{c} - {0:product}",),
        level=Level.SUM,
        of=("{c} minus {0}", "the result of taking {0} away from {c}"),
        evaluate=lambda x, c: c - x,
        draw=_small(5, 60),
        range=_corners(lambda x, c: c - x),
        aspect="shift",
    ),
    Rule(
        name="twice",
        result="int",
        arguments=("int",),
        python=("2 * {0:unary}", "{0:unary} * 2"),
        level=Level.PRODUCT,
        its=("its double", "twice its value"),
        of=("twice {0}", "the double of {0}"),
        evaluate=lambda x: x + x,
        range=_corners(lambda x: x + x),
        aspect="scale",
    ),
    Rule(
        name="times",
        result="int",
        arguments=("int",),
        python=("{c} * {0:unary}", "{0:unary} * {c}"),
        level=Level.PRODUCT,
        of=("{c} times {0}", "{0} multiplied by {c}", "the product of {c} and {0}"),
        evaluate=lambda x, c: c * x,
        draw=_small(3, 9),
        range=_corners(lambda x, c: c * x),
        aspect="scale",
    ),
    Rule(
        name="negative of",
        is_outermost=True,
        result="int",
        arguments=("int",),
        python=("-{0:unary}",),
        level=Level.UNARY,
        its=("its value with the sign flipped",),
        of=("the negative of {0}", "minus one times {0}"),
        evaluate=lambda x: 0 - x,
        range=_corners(lambda x: -x),
        aspect="scale",
        weight=0.4,
    ),
    Rule(
        name="square",
        result="int",
        arguments=("int",),
        python=("{0:atom} ** 2", "{0:atom} ** 2"),
        level=Level.POWER,
        its=("its square",),
        of=("the square of {0}", "{0} squared"),
        evaluate=lambda x: x * x,
        range=_square_range,
        aspect="power",
    ),
    Rule(
        name="absolute value",
        result="int",
        arguments=("int",),
        python=("abs({0})",),
        its=("its absolute value",),
        of=("the absolute value of {0}",),
        evaluate=lambda x: x if x >= 0 else -x,
        draw=lambda rng, ranges: {} if ranges[0][0] < 0 < ranges[0][1] else None,
        range=lambda ranges, constants: _absolute(ranges),
        aspect="distance",
    ),
    Rule(
        name="distance from",
        result="int",
        arguments=("int",),
        python=("abs({0:sum} - {c})", "abs({c} - {0:product})"),
        its=("its distance from {c}", "its absolute difference from {c}"),
        of=(
            "the distance between {0} and {c}",
            "the absolute difference between {c} and {0}",
            "the distance from {c} to {0}",
        ),
        evaluate=lambda x, c: x - c if x > c else c - x,
        draw=_inner,
        range=lambda ranges, constants: (
            0,
            max(abs(ranges[0][0] - constants["c"]), abs(ranges[0][1] - constants["c"])),
        ),
        aspect="distance",
    ),
    Rule(
        name="remainder",
        result="int",
        arguments=("int",),
        python=("{0:unary} % {c}",),
        level=Level.PRODUCT,
        its=("its remainder modulo {c}", "its remainder after division by {c}"),
        of=(
            "the remainder of {0} modulo {c}",
            "the remainder when {0} is divided by {c}",
            "the remainder modulo {c} of {0}",
        ),
        evaluate=lambda x, c: x - c * divmod(x, c)[0],
        draw=_divisor,
        range=lambda ranges, constants: (0, constants["c"] - 1),
        aspect="division",
    ),
    Rule(
        name="quotient",
        result="int",
        arguments=("int",),
        python=("{0:unary} // {c}",),
        level=Level.PRODUCT,
        its=("its quotient by {c} (rounded down)",),
        of=("{0} divided by {c} and rounded down", "the quotient by {c} (rounded down) of {0}"),
        evaluate=lambda x, c: divmod(x, c)[0],
        draw=_divisor,
        range=_corners(lambda x, c: x // c),
        aspect="division",
    ),
    Rule(
        name="multiple below",
        result="int",
        arguments=("int",),
        python=("{0:unary} // {c} * {c}", "{c} * ({0:unary} // {c})"),
        level=Level.PRODUCT,
        of=(
            "the largest multiple of {c} that is not above {0}",
            "{0} rounded down to a multiple of {c}",
            "the largest multiple of {c} not above {0}",
        ),
        evaluate=lambda x, c: max(y for y in range(x - c + 1, x + 1) if y % c == 0),
        draw=_divisor,
        range=_corners(lambda x, c: x // c * c),
        aspect="division",
    ),
    Rule(
        name="at most",
        result="int",
        arguments=("int",),
        python=("min({0}, {c})", "min({c}, {0})"),
        of=("the smaller of {0} and {c}", "the smaller of {c} and {0}"),
        evaluate=lambda x, c: c if x > c else x,
        draw=_inner,
        range=lambda ranges, constants: (ranges[0][0], constants["c"]),
        aspect="limit",
    ),
    Rule(
        name="at least",
        result="int",
        arguments=("int",),
        python=("max({0}, {c})", "max({c}, {0})"),
        of=("the larger of {0} and {c}", "the larger of {c} and {0}"),
        evaluate=lambda x, c: c if x < c else x,
        draw=_inner,
        range=lambda ranges, constants: (constants["c"], ranges[0][1]),
        aspect="limit",
    ),
    Rule(
        name="clamp",
        result="int",
        arguments=("int",),
        python=("max({c}, min({0}, {d}))", "min(max({0}, {c}), {d})"),
        of=(
            "{0} limited to the range from {c} to {d}",
            "the number from {c} to {d} that is nearest to {0}",
        ),
        evaluate=lambda x, c, d: sorted((c, x, d))[1],
        draw=_two_inner,
        range=lambda ranges, constants: (constants["c"], constants["d"]),
        aspect="limit",
        weight=0.7,
    ),
    Rule(
        name="digit sum",
        result="int",
        arguments=("int",),
        python=("sum(int(digit) for digit in str(abs({0})))",),
        its=("the sum of its decimal digits",),
        of=("the sum of the decimal digits of {0}",),
        evaluate=lambda x: sum(digits(x)),
        draw=_several_digits,
        range=_digits_range,
        helper=DIGIT_SUM,
        aspect="digits",
    ),
    Rule(
        name="digit count",
        result="int",
        arguments=("int",),
        python=("len(str(abs({0})))",),
        its=("its number of decimal digits",),
        of=("the number of decimal digits of {0}",),
        evaluate=lambda x: len(digits(x)),
        draw=_several_digits,
        range=lambda ranges, constants: (1, len(digits(_absolute(ranges)[1]))),
        aspect="digits",
    ),
    Rule(
        name="last digit",
        result="int",
        arguments=("int",),
        python=("abs({0}) % 10",),
        level=Level.PRODUCT,
        its=("its last decimal digit", "its ones digit"),
        of=("the last decimal digit of {0}", "the ones digit of {0}"),
        evaluate=lambda x: digits(x)[0],
        draw=_several_digits,
        range=lambda ranges, constants: (0, 9),
        aspect="digits",
    ),
    Rule(
        name="first digit",
        result="int",
        arguments=("int",),
        python=("int(str(abs({0}))[0])",),
        its=("its first decimal digit", "its leading decimal digit"),
        of=("the first decimal digit of {0}", "the leading decimal digit of {0}"),
        evaluate=lambda x: digits(x)[-1],
        draw=_several_digits,
        range=lambda ranges, constants: (0, 9),
        aspect="digits",
    ),
    Rule(
        name="largest digit",
        result="int",
        arguments=("int",),
        python=("max(int(digit) for digit in str(abs({0})))", "int(max(str(abs({0}))))"),
        its=("its largest decimal digit",),
        of=("the largest decimal digit of {0}",),
        evaluate=lambda x: max(digits(x)),
        draw=_several_digits,
        range=lambda ranges, constants: (0, 9),
        aspect="digits",
        weight=0.6,
    ),
    Rule(
        name="sum",
        is_symmetric=True,
        result="int",
        arguments=("int", "int"),
        python=("{0:sum} + {1:product}",),
        level=Level.SUM,
        of=("{0} plus {1}", "the sum of {0} and {1}"),
        evaluate=lambda x, y: x + y,
        range=_corners(lambda x, y: x + y),
        aspect="sum",
    ),
    Rule(
        name="difference",
        result="int",
        arguments=("int", "int"),
        python=("{0:sum} - {1:product}",),
        level=Level.SUM,
        of=("{0} minus {1}", "the result of taking {1} away from {0}"),
        evaluate=lambda x, y: x - y,
        range=_corners(lambda x, y: x - y),
        aspect="sum",
    ),
    Rule(
        name="absolute difference",
        is_symmetric=True,
        result="int",
        arguments=("int", "int"),
        python=("abs({0:sum} - {1:product})",),
        of=("the absolute difference between {0} and {1}", "the distance between {0} and {1}"),
        evaluate=lambda x, y: x - y if x > y else y - x,
        range=lambda ranges, constants: (
            0,
            max(abs(ranges[0][1] - ranges[1][0]), abs(ranges[1][1] - ranges[0][0])),
        ),
        aspect="distance",
    ),
    Rule(
        name="product",
        is_symmetric=True,
        result="int",
        arguments=("int", "int"),
        python=("{0:unary} * {1:unary}",),
        level=Level.PRODUCT,
        of=("{0} times {1}", "the product of {0} and {1}"),
        evaluate=lambda x, y: x * y,
        range=_corners(lambda x, y: x * y),
        aspect="product",
    ),
    Rule(
        name="larger",
        is_symmetric=True,
        result="int",
        arguments=("int", "int"),
        python=("max({0}, {1})",),
        of=("the larger of {0} and {1}", "the maximum of {0} and {1}"),
        evaluate=lambda x, y: y if y > x else x,
        range=lambda ranges, constants: (
            max(ranges[0][0], ranges[1][0]),
            max(ranges[0][1], ranges[1][1]),
        ),
        aspect="choice",
    ),
    Rule(
        name="smaller",
        is_symmetric=True,
        result="int",
        arguments=("int", "int"),
        python=("min({0}, {1})",),
        of=("the smaller of {0} and {1}", "the minimum of {0} and {1}"),
        evaluate=lambda x, y: y if y < x else x,
        range=lambda ranges, constants: (
            min(ranges[0][0], ranges[1][0]),
            min(ranges[0][1], ranges[1][1]),
        ),
        aspect="choice",
    ),
    CONDITIONAL,
)
