"""The digits of a number in some base, with their positions."""

from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.number_theory.plain import OfOneNumber
from megatron_codemix.corpus.synthesis.families.pieces import add_lines
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Range


@dataclass(frozen=True)
class Digits(OfOneNumber):
    base: int
    from_left: bool

    largest = 50_000

    def subject(self) -> str:
        return f"base_{self.base}_digits" if self.base != 10 else "digits"

    def title(self) -> str:
        return f"What the digits of a number in base {self.base} come to."

    def spec(self) -> Any:
        return ["digits", self.base, self.from_left]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        order = (
            "the leading digit comes first"
            if self.from_left
            else "the ones digit comes first, the leading digit last"
        )
        return [
            rng.choice(
                [
                    f"write `number` in base {self.base}, without leading zeros; {order}",
                    f"look at the digits that `number` has in base {self.base} (there are no "
                    f"leading zeros); {order}",
                ]
            ),
            "the position of a digit counts the digits in front of it in this order, so the first "
            "one has position 0",
        ][: 2 if "k" in used else 1]

    def words(self) -> RowWords:
        return RowWords("digit", "digits", "in this order")

    def subjects(self) -> dict[str, Subject]:
        return {"d": Subject("the digit"), "k": Subject("its position")}

    def bounds(self) -> dict[str, Range]:
        return {"d": (0, self.base - 1), "k": (0, 15)}

    def rows(self, number: int) -> list[Row]:
        powers = [self.base**k for k in range(16) if self.base**k <= number]
        digits = [number // power % self.base for power in powers]
        if self.from_left:
            digits.reverse()
        return [{"d": digit, "k": place} for place, digit in enumerate(digits)]

    def styles(self) -> tuple[str, ...]:
        return ("division", "powers", "recursive")

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"digit", "digits", "position", "rest"}
        if style == "division":
            append = "digits.insert(0, digit)" if self.from_left else "digits.append(digit)"
            add_lines(
                block,
                f"""
                digits = []
                rest = number
                while rest > 0:
                    rest, digit = divmod(rest, {self.base})
                    {append}
                """,
            )
        elif style == "powers":
            add_lines(
                block,
                f"""
                power = 1
                while power * {self.base} <= number:
                    power *= {self.base}
                digits = []
                rest = number
                while power > 0:
                    digits.append(rest // power)
                    rest %= power
                    power //= {self.base}
                """,
            )
            if not self.from_left:
                block.add("digits = digits[::-1]")
        else:
            rest = f"digits_of(number // {self.base})"
            both = f"{rest} + [number % {self.base}]"
            if not self.from_left:
                both = f"[number % {self.base}] + {rest}"
            body.parts.append(
                "def digits_of(number: int) -> list[int]:\n"
                f"    if number < {self.base}:\n        return [number]\n    return {both}"
            )
            block.add("digits = digits_of(number)")
        if "k" in body.used:
            return Rows("position, digit in enumerate(digits)", {"d": "digit", "k": "position"})
        return Rows("digit in digits", {"d": "digit"})


def draw_digits(rng: Random) -> tuple[Producer, str]:
    return Digits(rng.choice([10, 5, 6, 7, 8, 9, 12, 16, 20]), rng.random() < 0.5), "d"
