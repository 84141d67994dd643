"""The prime factors of a number, with how often they occur."""

import functools
from dataclasses import dataclass
from math import gcd
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.number_theory.plain import OfOneNumber
from megatron_codemix.corpus.synthesis.families.pieces import add_lines
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Range


@dataclass(frozen=True)
class PrimeFactors(OfOneNumber):
    repeats: bool
    """Whether a prime comes as often as it divides the number."""

    largest = 360

    def subject(self) -> str:
        return "prime_factors"

    def title(self) -> str:
        return "What the prime factors of a number come to."

    def spec(self) -> Any:
        return ["prime factors", self.repeats]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        if self.repeats:
            return [
                rng.choice(
                    [
                        "write `number` as a product of primes; a prime that occurs several times "
                        "counts as that many factors",
                        "the prime factors of `number` are the primes whose product it is, a "
                        "repeated one as often as it occurs",
                    ]
                ),
                "1 has no prime factors",
                "the position of a factor says where it stands when all are sorted in ascending "
                "order: the first has position 0",
            ][: 3 if "k" in used else 2]
        return [
            rng.choice(
                [
                    "the prime factors of `number` are the different primes that divide it; 1 has "
                    "none",
                    "consider the primes by which `number` can be divided, each once; for 1 there "
                    "are none",
                ]
            ),
            "the exponent of a prime factor says how many times in a row `number` can be divided "
            "by it",
        ][: 2 if "k" in used else 1]

    def words(self) -> RowWords:
        return RowWords("prime factor", "prime factors", "in ascending order")

    def subjects(self) -> dict[str, Subject]:
        second = "its position" if self.repeats else "its exponent"
        return {"p": Subject("the factor"), "k": Subject(second)}

    def bounds(self) -> dict[str, Range]:
        return {"p": (2, self.largest), "k": (0, 10)}

    def rows(self, number: int) -> list[Row]:
        primes = [p for p in _primes(self.largest) if gcd(p, number) == p]
        if self.repeats:
            factors = [p for p in primes for k in range(1, 10) if number % p**k == 0]
            return [{"p": p, "k": place} for place, p in enumerate(factors)]
        powers = [(p, sum(number % p**k == 0 for k in range(1, 11))) for p in primes]
        return [{"p": p, "k": k} for p, k in powers if k]

    def styles(self) -> tuple[str, ...]:
        return ("trial division", "counting", "recursive")

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"factor", "factors", "exponent", "position", "primes"}
        if style == "recursive":
            self._smallest(body)
        else:
            head = "while rest > 1" if style == "counting" else "while factor * factor <= rest"
            add_lines(
                block,
                f"""
                factors = []
                rest = number
                factor = 2
                {head}:
                    if rest % factor == 0:
                        factors.append(factor)
                        rest //= factor
                    else:
                        factor += 1
                """,
            )
            if style != "counting":
                add_lines(block, "if rest > 1:\n    factors.append(rest)")
        if self.repeats:
            if "k" in body.used:
                source = "position, factor in enumerate(factors)"
                return Rows(source, {"p": "factor", "k": "position"})
            return Rows("factor in factors", {"p": "factor"})
        return self._once(style, body)

    def _once(self, style: str, body: Body) -> Rows:
        """Each prime once, with its exponent where it is asked for."""
        block = body.block
        if style == "counting":
            add_lines(
                block,
                """
                counts = {}
                for one in factors:
                    counts[one] = counts.get(one, 0) + 1
                """,
            )
            if "k" not in body.used:
                return Rows("factor in counts", {"p": "factor"})
            names = {"p": "factor", "k": "exponent"}
            return Rows("factor, exponent in counts.items()", names)
        block.add("primes = sorted(set(factors))")
        return Rows("factor in primes", {"p": "factor", "k": "factors.count(factor)"})

    def _smallest(self, body: Body) -> None:
        body.parts.append(
            "def smallest_factor(number: int) -> int:\n"
            '    """The least divisor above 1."""\n'
            "    return min(d for d in range(2, number + 1) if number % d == 0)"
        )
        body.parts.append(
            "def factorised(number: int) -> list[int]:\n"
            '    """All prime factors, the smallest first."""\n'
            "    if number == 1:\n        return []\n"
            "    factor = smallest_factor(number)\n"
            "    return [factor] + factorised(number // factor)"
        )
        body.block.add("factors = factorised(number)")


@functools.cache
def _primes(last: int) -> tuple[int, ...]:
    """Those up to `last`: what is no product."""
    products = {a * b for a in range(2, last // 2 + 1) for b in range(2, last // a + 1)}
    return tuple(sorted(set(range(2, last + 1)) - products))


def draw_factors(rng: Random) -> tuple[Producer, str]:
    return PrimeFactors(rng.random() < 0.4), "p"
