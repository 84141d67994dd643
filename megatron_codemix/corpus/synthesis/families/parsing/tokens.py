"""The numbers in a text of letters, digits and signs."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.parsing.of_text import OfText
from megatron_codemix.corpus.synthesis.families.pieces import add_lines
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Range
from megatron_codemix.corpus.synthesis.problem import Arguments


@dataclass(frozen=True)
class Tokens(OfText):
    is_signed: bool
    """Whether a minus directly in front of a number belongs to it."""

    def subject(self) -> str:
        return "numbers_in_text"

    def title(self) -> str:
        return "What the numbers in a text come to."

    def spec(self) -> Any:
        return ["tokens", self.is_signed]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        said = [
            rng.choice(
                [
                    "`text` is made of lower-case letters, digits, spaces and minus signs",
                    "in `text` there are lower-case letters, digits, spaces and minus signs in any "
                    "order",
                ]
            ),
            rng.choice(
                [
                    "each group of digits that is as long as possible is read as a decimal number "
                    "(leading zeros do not matter)",
                    "digits that follow directly on one another form one decimal number, which is "
                    "as long as possible and may have leading zeros",
                ]
            ),
        ]
        if self.is_signed:
            said.append("if a minus sign stands directly in front of it, the number is negative")
        else:
            said.append("minus signs only separate, so that no number is negative")
        if "i" in used:
            said.append(
                "the position of a number is the index of its first digit in the text (from 0)"
            )
        return said

    def words(self) -> RowWords:
        return RowWords("number", "numbers", "from left to right", "in the text", "in the text")

    def subjects(self) -> dict[str, Subject]:
        return {"x": Subject("the number"), "i": Subject("its position")}

    def bounds(self) -> dict[str, Range]:
        return {"x": (-999 if self.is_signed else 0, 999), "i": (0, 40)}

    def rows(self, text: str) -> list[Row]:
        rows = []
        for place, letter in enumerate(text):
            if letter.isdigit() and not text[:place][-1:].isdigit():
                rest = text[place:]
                number = int(rest[: len(rest) - len(rest.lstrip("0123456789"))])
                is_negative = self.is_signed and text[:place].endswith("-")
                rows.append({"x": -number if is_negative else number, "i": place})
        return rows

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ("",)
        yield ("abc - x",)
        yield ("7-07a12",)
        while True:
            pieces = []
            for _ in range(rng.randint(3, 8)):
                letters = "".join(rng.choice("abkxz ") for _ in range(rng.randint(0, 3)))
                number = str(rng.choice([rng.randint(0, 12), rng.randint(0, 99), 1]))
                pieces.append(letters + rng.choice(["", "", "-"]) + number)
            text = "".join(pieces)[: rng.randint(6, 28)]
            if "--" not in text and max((len(one) for one in self._groups(text)), default=0) <= 3:
                yield (text,)

    def _groups(self, text: str) -> list[str]:
        return "".join(one if one.isdigit() else " " for one in text).split()

    def styles(self) -> tuple[str, ...]:
        return ("scanner", "index", "split") if self.is_signed else ("split", "index", "scanner")

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"number", "numbers", "position", "place", "digits"}
        if style == "index" or "i" in body.used:
            self._index(style, body)
            number = "number" if "x" in body.used else "_"
            position = "position" if "i" in body.used else "_"
            return Rows(f"{number}, {position} in numbers", {"x": "number", "i": "position"})
        self._scan(style, body)
        return Rows("number in numbers", {"x": "number"})

    def _index(self, style: str, body: Body) -> None:
        """Numbers with the places of their first digits."""
        value = "int(text[start:place])"
        if self.is_signed:
            body.parts.append(
                "def number_at(text: str, start: int, end: int) -> int:\n"
                '    """The number in this part; negative behind a minus sign."""\n'
                '    is_negative = start > 0 and text[start - 1] == "-"\n'
                "    number = int(text[start:end])\n"
                "    return -number if is_negative else number"
            )
            value = "number_at(text, start, place)"
        if style == "index":
            text = f"""
            numbers = []
            place = 0
            while place < len(text):
                start = place
                while place < len(text) and text[place].isdigit():
                    place += 1
                if start < place:
                    numbers.append(({value}, start))
                else:
                    place += 1
            """
        elif style == "scanner":
            text = f"""
            numbers = []
            start = -1
            for place in range(len(text) + 1):
                is_digit = place < len(text) and text[place].isdigit()
                if is_digit and start < 0:
                    start = place
                if not is_digit and start >= 0:
                    numbers.append(({value}, start))
                    start = -1
            """
        else:
            text = f"""
            starts = [
                place
                for place in range(len(text))
                if text[place].isdigit() and (place == 0 or not text[place - 1].isdigit())
            ]
            padded = text + " "
            numbers = []
            for start in starts:
                place = start
                while padded[place].isdigit():
                    place += 1
                numbers.append(({value}, start))
            """
        add_lines(body.block, text)

    def _scan(self, style: str, body: Body) -> None:
        if style == "split":
            kept = 'letter.isdigit() or letter == "-"' if self.is_signed else "letter.isdigit()"
            body.block.add(f'spaced = "".join(letter if {kept} else " " for letter in text)')
            if self.is_signed:
                body.block.add('pieces = spaced.replace("-", " -").replace("- ", " ").split()')
                body.block.add('numbers = [int(piece) for piece in pieces if piece != "-"]')
            else:
                body.block.add("numbers = [int(piece) for piece in spaced.split()]")
            return
        if not self.is_signed:
            text = """
            numbers = []
            digits = ""
            for letter in text + " ":
                if letter.isdigit():
                    digits += letter
                else:
                    if digits:
                        numbers.append(int(digits))
                    digits = ""
            """
        else:
            text = """
            numbers = []
            digits = ""
            sign = 1
            for letter in text + " ":
                if letter.isdigit():
                    digits += letter
                else:
                    if digits:
                        numbers.append(sign * int(digits))
                    digits = ""
                    sign = -1 if letter == "-" else 1
            """
        add_lines(body.block, text)


def draw_tokens(rng: Random) -> tuple[Producer, str]:
    return Tokens(rng.random() < 0.5), "x"
