"""Rules that test integers."""

from collections.abc import Sequence
from random import Random

from megatron_codemix.corpus.synthesis.grammar.code import Level
from megatron_codemix.corpus.synthesis.grammar.integers import digits
from megatron_codemix.corpus.synthesis.grammar.node import Helper, Range, Rule


def _divisor(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    low, high = ranges[0]
    most = min(9, (high - low) // 2)
    return {"c": rng.randint(3, most)} if most >= 3 else None


def _divisor_and_remainder(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    drawn = _divisor(rng, ranges)
    return drawn and {**drawn, "d": rng.randint(1, drawn["c"] - 1)}


def _inner(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    low, high = max(ranges[0][0], -30), min(ranges[0][1], 60)
    if high - low < 2:
        return None
    fifth = max(1, (high - low) // 5)
    return {"c": rng.randint(low + fifth, max(low + fifth, high - fifth))}


def _two_inner(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    low, high = max(ranges[0][0], -30), min(ranges[0][1], 60)
    if high - low < 6:
        return None
    first = rng.randint(low + 1, (low + high) // 2)
    return {"c": first, "d": rng.randint(first + 2, high - 1)}


def _both_signs(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    return {} if ranges[0][0] < 0 < ranges[0][1] else None


def _wide(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    return {} if ranges[0][1] - ranges[0][0] >= 3 else None


def _digit(rng: Random, ranges: Sequence[Range]) -> dict[str, int] | None:
    return {"c": rng.randint(0, 9)} if ranges[0][1] >= 20 else None


def _few(rng: Random, ranges: Sequence[Range]) -> dict[str, int]:
    return {"c": rng.randint(2, 9)}


def _compared(
    sign: str, its: tuple[str, ...], opposite: tuple[str, ...], of: tuple[str, ...], weight: float
) -> Rule:
    def compare(x: int, c: int) -> bool:
        difference = x - c
        return {"<": difference < 0, ">": difference > 0, "==": difference == 0}[sign]

    return Rule(
        name=f"{sign} constant",
        result="bool",
        arguments=("int",),
        python=(f"{{0:sum}} {sign} {{c}}",),
        level=Level.COMPARE,
        its=its,
        opposite=opposite,
        of=of,
        evaluate=compare,
        draw=_inner,
        aspect="size",
        weight=weight,
        has_own_opposite=True,
    )


def _is_prime(number: int) -> bool:
    return number > 1 and sum(number % divisor == 0 for divisor in range(1, number + 1)) == 2


IS_PRIME = Helper(
    "is_prime",
    (
        '''def is_prime(number: int) -> bool:
    """Whether a number has exactly two divisors, 1 and itself."""
    if number < 2:
        return False
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True''',
        '''def is_prime(number: int) -> bool:
    """Tell whether a number is prime; numbers below 2 are not."""
    return number > 1 and all(number % divisor != 0 for divisor in range(2, number))''',
    ),
)
IS_SQUARE = Helper(
    "is_square",
    (
        '''def is_square(number: int) -> bool:
    """Whether a number is the square of an integer."""
    root = 0
    while root * root < number:
        root += 1
    return root * root == number''',
        '''def is_square(number: int) -> bool:
    """Tell whether some integer, multiplied by itself, gives the number."""
    return any(root * root == number for root in range(number + 1))''',
    ),
)

INTEGER_TESTS: tuple[Rule, ...] = (
    Rule(
        name="even",
        result="bool",
        arguments=("int",),
        python=("{0:unary} % 2 == 0",),
        level=Level.COMPARE,
        its=("that <is> even", "that <is> divisible by 2"),
        opposite=("that <is> odd", "that <is> not even"),
        of=("{0} is even",),
        evaluate=lambda x: divmod(x, 2)[1] == 0,
        draw=_wide,
        aspect="division",
        weight=1.5,
    ),
    Rule(
        name="multiple",
        result="bool",
        arguments=("int",),
        python=("{0:unary} % {c} == 0",),
        level=Level.COMPARE,
        its=("that <is> <a multiple|multiples> of {c}", "that <is> divisible by {c}"),
        opposite=("that <is> not divisible by {c}", "that <is> not <a multiple|multiples> of {c}"),
        of=("{0} is a multiple of {c}", "{0} is divisible by {c}"),
        evaluate=lambda x, c: x == c * (x // c),
        draw=_divisor,
        aspect="division",
    ),
    Rule(
        name="remainder is",
        result="bool",
        arguments=("int",),
        python=("{0:unary} % {c} == {d}",),
        level=Level.COMPARE,
        its=("that <leaves> a remainder of {d} when divided by {c}",),
        opposite=("that <does> not leave a remainder of {d} when divided by {c}",),
        of=("{0} leaves a remainder of {d} when divided by {c}",),
        evaluate=lambda x, c, d: (x - d) % c == 0,
        draw=_divisor_and_remainder,
        aspect="division",
        weight=0.7,
    ),
    _compared(
        ">",
        ("that <is> greater than {c}", "that <is> above {c}", "that <exceeds> {c}"),
        ("that <is> at most {c}", "that <does> not exceed {c}"),
        ("{0} is greater than {c}", "{0} is more than {c}", "{0} exceeds {c}"),
        1.2,
    ),
    _compared(
        "<",
        ("that <is> less than {c}", "that <is> below {c}"),
        ("that <is> at least {c}", "that <is> not below {c}"),
        ("{0} is less than {c}", "{0} is below {c}"),
        1.2,
    ),
    _compared(
        "==",
        ("that <is> equal to {c}",),
        ("that <is> not equal to {c}",),
        ("{0} is exactly {c}", "{0} equals {c}"),
        0.3,
    ),
    Rule(
        name="between",
        result="bool",
        arguments=("int",),
        python=("{c} <= {0:sum} <= {d}",),
        level=Level.COMPARE,
        its=(
            "that <lies> between {c} and {d} inclusive",
            "that <is> at least {c} and at most {d}",
        ),
        opposite=("that <lies> outside the range from {c} to {d}",),
        of=("{0} lies between {c} and {d} inclusive", "{0} is from {c} to {d} (both included)"),
        evaluate=lambda x, c, d: not (x < c or x > d),
        draw=_two_inner,
        aspect="size",
    ),
    Rule(
        name="positive",
        result="bool",
        arguments=("int",),
        python=("{0:sum} > 0",),
        level=Level.COMPARE,
        its=("that <is> positive", "that <is> above zero"),
        opposite=("that <is> not positive",),
        of=("{0} is positive",),
        evaluate=lambda x: abs(x) == x and x != 0,
        draw=_both_signs,
        aspect="size",
    ),
    Rule(
        name="negative",
        result="bool",
        arguments=("int",),
        python=("{0:sum} < 0",),
        level=Level.COMPARE,
        its=("that <is> negative", "that <is> below zero"),
        opposite=("that <is> not negative",),
        of=("{0} is negative",),
        evaluate=lambda x: abs(x) != x,
        draw=_both_signs,
        aspect="size",
    ),
    Rule(
        name="ends in",
        result="bool",
        arguments=("int",),
        python=("abs({0}) % 10 == {c}", 'str({0}).endswith("{c}")'),
        level=Level.COMPARE,
        its=("whose last decimal digit is {c}", "that <ends> in the digit {c}"),
        opposite=("whose last decimal digit is not {c}", "that <does> not end in the digit {c}"),
        of=("the last decimal digit of {0} is {c}",),
        evaluate=lambda x, c: digits(x)[0] == c,
        draw=_digit,
        aspect="digits",
    ),
    Rule(
        name="has digit",
        result="bool",
        arguments=("int",),
        python=('"{c}" in str({0})',),
        level=Level.COMPARE,
        its=(
            "that <contains> the digit {c}",
            "that <is> written with at least one digit {c}",
        ),
        opposite=(
            "that <does> not contain the digit {c}",
            "that <is> written without the digit {c}",
        ),
        of=("the decimal digits of {0} include {c}",),
        evaluate=lambda x, c: c in digits(x),
        draw=_digit,
        aspect="digits",
    ),
    Rule(
        name="palindromic",
        result="bool",
        arguments=("int",),
        python=("str(abs({0})) == str(abs({0}))[::-1]",),
        level=Level.COMPARE,
        its=("whose decimal digits read the same in both directions",),
        opposite=("whose decimal digits change when they are read backwards",),
        of=("the decimal digits of {0} read the same in both directions",),
        evaluate=lambda x: digits(x) == digits(x)[::-1],
        draw=lambda rng, ranges: {} if ranges[0][1] >= 100 else None,
        aspect="digits",
        weight=0.5,
    ),
    Rule(
        name="several digits",
        result="bool",
        arguments=("int",),
        python=("abs({0}) >= 10", "len(str(abs({0}))) > 1"),
        level=Level.COMPARE,
        its=("that <has> at least two decimal digits",),
        opposite=("that <has> a single decimal digit",),
        of=("{0} has at least two decimal digits",),
        evaluate=lambda x: len(digits(x)) != 1,
        draw=lambda rng, ranges: {} if ranges[0][1] >= 20 else None,
        aspect="size",
        weight=0.5,
    ),
    Rule(
        name="prime",
        result="bool",
        arguments=("int",),
        python=(),
        its=("that <is> prime", "that <is> <a prime number|prime numbers>"),
        opposite=("that <is> not prime",),
        of=("{0} is a prime number",),
        evaluate=_is_prime,
        draw=lambda rng, ranges: {} if 10 <= ranges[0][1] <= 2000 else None,
        helper=IS_PRIME,
        aspect="division",
        weight=0.4,
    ),
    Rule(
        name="square number",
        result="bool",
        arguments=("int",),
        python=(),
        its=("that <is> <a perfect square|perfect squares>",),
        opposite=("that <is> not <a perfect square|perfect squares>",),
        of=("{0} is a perfect square",),
        evaluate=lambda x: any(y * y == x for y in range(abs(x) + 1)),
        draw=lambda rng, ranges: {} if 10 <= ranges[0][1] <= 2000 else None,
        helper=IS_SQUARE,
        aspect="power",
        weight=0.3,
    ),
    Rule(
        name="less than other",
        result="bool",
        arguments=("int", "int"),
        python=("{0:sum} < {1:sum}", "{1:sum} > {0:sum}"),
        level=Level.COMPARE,
        of=("{0} is less than {1}", "{1} is greater than {0}"),
        evaluate=lambda x, y: y - x > 0,
        aspect="order",
        weight=1.5,
    ),
    Rule(
        name="equal to other",
        is_symmetric=True,
        result="bool",
        arguments=("int", "int"),
        python=("{0:sum} == {1:sum}",),
        level=Level.COMPARE,
        of=("{0} equals {1}", "{0} and {1} are equal"),
        evaluate=lambda x, y: not (x < y or x > y),
        aspect="order",
        weight=0.4,
    ),
    Rule(
        name="same parity",
        is_symmetric=True,
        result="bool",
        arguments=("int", "int"),
        python=("{0:unary} % 2 == {1:unary} % 2", "({0:sum} + {1:product}) % 2 == 0"),
        level=Level.COMPARE,
        of=("{0} and {1} are both even or both odd", "the sum of {0} and {1} is even"),
        evaluate=lambda x, y: (x - y) % 2 == 0,
        aspect="division",
    ),
    Rule(
        name="close",
        is_symmetric=True,
        result="bool",
        arguments=("int", "int"),
        python=("abs({0:sum} - {1:product}) <= {c}",),
        level=Level.COMPARE,
        of=("{0} and {1} differ by at most {c}", "the distance between {0} and {1} is at most {c}"),
        evaluate=lambda x, y, c: y - c <= x <= y + c,
        draw=_few,
        aspect="distance",
    ),
    Rule(
        name="sum multiple",
        is_symmetric=True,
        result="bool",
        arguments=("int", "int"),
        python=("({0:sum} + {1:product}) % {c} == 0",),
        level=Level.COMPARE,
        of=("{0} plus {1} is divisible by {c}", "the sum of {0} and {1} is a multiple of {c}"),
        evaluate=lambda x, y, c: divmod(x + y, c)[1] == 0,
        draw=lambda rng, ranges: {"c": rng.randint(3, 7)},
        aspect="division",
    ),
    Rule(
        name="sum above",
        is_symmetric=True,
        result="bool",
        arguments=("int", "int"),
        python=("{0:sum} + {1:product} > {c}",),
        level=Level.COMPARE,
        of=("{0} plus {1} is more than {c}", "the sum of {0} and {1} exceeds {c}"),
        evaluate=lambda x, y, c: x > c - y,
        draw=lambda rng, ranges: {"c": rng.randint(1, max(2, (ranges[0][1] + ranges[1][1]) // 3))},
        aspect="size",
    ),
)
