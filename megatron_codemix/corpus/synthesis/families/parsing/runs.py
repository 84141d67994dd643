"""A text of letters with numbers, such as "a3bc12", each of which says how often a letter
counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.parsing.of_text import LETTERS, OfText
from megatron_codemix.corpus.synthesis.families.pieces import add_lines
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Range
from megatron_codemix.corpus.synthesis.problem import Arguments


@dataclass(frozen=True)
class Runs(OfText):
    number_first: bool
    """Whether the number stands in front of its letter."""
    may_lack: bool
    """Whether a letter without number counts once."""

    def subject(self) -> str:
        return "runs"

    def title(self) -> str:
        return "What the runs of a run-length encoded text come to."

    def spec(self) -> Any:
        return ["runs", self.number_first, self.may_lack]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        side = "in front of" if self.number_first else "behind"
        example = "`3ab` or `12x`" if self.number_first else "`a3b` or `x12`"
        if not self.may_lack:
            example = "`3a2b` or `12x`" if self.number_first else "`a3b2` or `x12`"
        said = [
            rng.choice(
                [
                    f"`text` is a compressed text like {example}: {side} each lower-case letter "
                    "stands a positive number that says how often it is repeated",
                    f"a run-length code such as {example} consists of lower-case letters, {side} "
                    "each of which a positive number gives the count of its repetitions",
                ]
            )
        ]
        if self.may_lack:
            said.append("if a letter has no number, it counts once")
        said.append(
            "each letter together with its number is a run; the empty text has no runs, and two "
            "runs in a row may have the same letter"
        )
        if "a" in used:
            said.append("the rank of a letter is its place in the alphabet: 1 for a, 26 for z")
        return said

    def words(self) -> RowWords:
        return RowWords("run", "runs", "from left to right")

    def subjects(self) -> dict[str, Subject]:
        return {"n": Subject("its count"), "a": Subject("the rank of its letter")}

    def bounds(self) -> dict[str, Range]:
        return {"n": (1, 40), "a": (1, 26)}

    def rows(self, text: str) -> list[Row]:
        rows = []
        for place, letter in enumerate(text):
            if not letter.isalpha():
                continue
            before = text[:place].rstrip("0123456789")
            behind = text[place + 1 :].lstrip("0123456789")
            digits = text[len(before) : place]
            if not self.number_first:
                digits = text[place + 1 : len(text) - len(behind)]
            rows.append({"n": int(digits or "1"), "a": LETTERS.find(letter) + 1})
        return rows

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ("",)
        yield ("1a" if self.number_first else "a1",)
        yield ("12z" if self.number_first else "z12",)
        while True:
            runs = []
            for _ in range(rng.randint(2, 6)):
                number = str(rng.choice([rng.randint(1, 9), rng.randint(1, 40)]))
                if self.may_lack and rng.random() < 0.3:
                    number = ""
                letter = rng.choice(LETTERS[: rng.choice([6, 26])])
                runs.append(number + letter if self.number_first else letter + number)
            yield ("".join(runs),)

    def styles(self) -> tuple[str, ...]:
        return ("scanner", "index", "recursive")

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"letter", "count", "rank", "runs", "digits"}
        read = "int(digits)" if not self.may_lack else "int(digits) if digits else 1"
        if style == "scanner":
            self._scan(body, read)
        elif style == "index":
            self._index(body, read)
        else:
            self._recursive(body, read)
        names = {"n": "count", "a": "rank"}
        if "a" not in body.used:
            return Rows("_, count in runs", names)
        alphabet = f'"{LETTERS}"'
        if "n" not in body.used:
            block.add(f"ranks = [{alphabet}.find(letter) + 1 for letter, _ in runs]")
            return Rows("rank in ranks", names)
        block.add(f"alphabet = {alphabet}")
        block.add("rows = [(alphabet.find(letter) + 1, count) for letter, count in runs]")
        return Rows("rank, count in rows", names)

    def _scan(self, body: Body, read: str) -> None:
        if self.number_first:
            text = f"""
            runs = []
            digits = ""
            for letter in text:
                if letter.isdigit():
                    digits += letter
                else:
                    runs.append((letter, {read}))
                    digits = ""
            """
        else:
            text = f"""
            runs = []
            digits = ""
            for letter in reversed(text):
                if letter.isdigit():
                    digits = letter + digits
                else:
                    runs.append((letter, {read}))
                    digits = ""
            runs = runs[::-1]
            """
        add_lines(body.block, text)

    def _index(self, body: Body, read: str) -> None:
        number = """
                start = place
                while place < len(text) and text[place].isdigit():
                    place += 1
                digits = text[start:place]"""
        letter = """
                letter = text[place]
                place += 1"""
        parts = number + letter if self.number_first else letter + number
        add_lines(
            body.block,
            f"""
            runs = []
            place = 0
            while place < len(text):{parts}
                runs.append((letter, {read}))
            """,
        )

    def _recursive(self, body: Body, read: str) -> None:
        lines = ['    if text == "":', "        return []"]
        if self.number_first:
            lines += [
                "    end = 0",
                "    while text[end].isdigit():",
                "        end += 1",
                "    letter = text[end]",
                "    digits = text[:end]",
                f"    return [(letter, {read})] + runs_of(text[end + 1 :])",
            ]
        else:
            lines += [
                "    end = 1",
                "    while end < len(text) and text[end].isdigit():",
                "        end += 1",
                "    digits = text[1:end]",
                f"    return [(text[0], {read})] + runs_of(text[end:])",
            ]
        body.parts.append("def runs_of(text: str) -> list[tuple[str, int]]:\n" + "\n".join(lines))
        body.block.add("runs = runs_of(text)")


def draw_runs(rng: Random) -> tuple[Producer, str]:
    return Runs(rng.random() < 0.5, rng.random() < 0.5), ""
