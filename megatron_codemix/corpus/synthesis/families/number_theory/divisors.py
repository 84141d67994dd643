"""The divisors of a number, each perhaps with its partner."""

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
class Divisors(OfOneNumber):
    is_proper: bool
    """Without the number itself."""

    def subject(self) -> str:
        return "proper_divisors" if self.is_proper else "divisors"

    def title(self) -> str:
        return "What the divisors of a number come to."

    def spec(self) -> Any:
        return ["divisors", self.is_proper]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        said = rng.choice(
            [
                "a divisor of `number` is a positive integer that divides it without remainder; 1 "
                "and `number` are among them",
                "the divisors of `number` are all integers from 1 to `number` by which it can be "
                "divided without remainder",
            ]
        )
        if self.is_proper:
            said = rng.choice(
                [
                    "a proper divisor of `number` is a positive integer less than `number` that "
                    "divides it without remainder; 1 has no proper divisors",
                    "the proper divisors of `number` are its positive divisors without `number` "
                    "itself, so that 1 has none",
                ]
            )
        if "q" not in used:
            return [said]
        return [said, "the partner of a divisor is `number` divided by it"]

    def words(self) -> RowWords:
        noun = "proper divisor" if self.is_proper else "divisor"
        return RowWords(noun, f"{noun}s", "in ascending order")

    def subjects(self) -> dict[str, Subject]:
        return {"d": Subject("the divisor"), "q": Subject("its partner")}

    def bounds(self) -> dict[str, Range]:
        return {"d": (1, self.largest), "q": (1, self.largest)}

    def rows(self, number: int) -> list[Row]:
        found = [d for d in range(1, number + 1) if gcd(d, number) == d]
        return [{"d": d, "q": number // d} for d in found if not (self.is_proper and d == number)]

    def styles(self) -> tuple[str, ...]:
        return ("trial", "square root", "factors")

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"divisor", "partner", "divisors"}
        last = "number" if self.is_proper else "number + 1"
        if style == "trial":
            block.add(f"divisors = [d for d in range(1, {last}) if number % d == 0]")
        elif style == "square root":
            add_lines(
                block,
                """
                small = []
                large = []
                candidate = 1
                while candidate * candidate <= number:
                    if number % candidate == 0:
                        small.append(candidate)
                        if candidate * candidate < number:
                            large.append(number // candidate)
                    candidate += 1
                divisors = small + large[::-1]
                """,
            )
            if self.is_proper:
                block.add("divisors = [one for one in divisors if one < number]")
        else:
            add_lines(
                block,
                """
                divisors = [1]
                rest = number
                factor = 2
                while rest > 1:
                    known = list(divisors)
                    power = 1
                    while rest % factor == 0:
                        rest //= factor
                        power *= factor
                        divisors.extend([one * power for one in known])
                    factor += 1
                divisors.sort()
                """,
            )
            if self.is_proper:
                block.add("divisors.pop()")
        if "q" not in body.used:
            return Rows("divisor in divisors", {"d": "divisor"})
        names = {"d": "divisor", "q": "partner"}
        if "d" not in body.used:
            block.add("partners = [number // divisor for divisor in divisors]")
            return Rows("partner in partners", names)
        block.add("pairs = [(divisor, number // divisor) for divisor in divisors]")
        return Rows("divisor, partner in pairs", names)


def draw_divisors(rng: Random) -> tuple[Producer, str]:
    return Divisors(rng.random() < 0.4), ""
