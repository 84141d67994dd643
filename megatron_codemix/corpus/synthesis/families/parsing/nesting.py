"""Letters inside brackets: how deep each of them lies."""

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
class Nesting(OfText):
    opening: str
    closing: str
    ignores_extra: bool
    """Whether there may be closing brackets that close nothing."""
    per_bracket: bool
    """Whether rows are the pairs of brackets, not the letters."""

    def subject(self) -> str:
        return "brackets" if self.per_bracket else "nested_letters"

    def title(self) -> str:
        return "What letters in nested brackets come to."

    def spec(self) -> Any:
        return ["nesting", self.opening, self.ignores_extra, self.per_bracket]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        o, c = self.opening, self.closing
        said = [f"`text` consists of lower-case letters and the brackets `{o}` and `{c}`"]
        if self.ignores_extra:
            said.append(
                f"every `{o}` is closed by a later `{c}`, but there may be further `{c}` that "
                "close nothing, which are ignored"
            )
        else:
            said.append(
                rng.choice(
                    [
                        f"the brackets are balanced: each `{o}` is closed by one later `{c}`, and "
                        f"no `{c}` comes without an open `{o}`",
                        "the brackets are always properly nested and closed",
                    ]
                )
            )
        if self.per_bracket:
            said.append(
                "the depth of a bracket pair is the number of pairs around it plus 1; its span is "
                "the number of characters strictly between its two brackets"
            )
            return said
        said.append(
            "the depth of a letter is the number of bracket pairs around it"
            if rng.random() < 0.5
            else "a letter outside all brackets has depth 0, and each pair of brackets around it "
            "adds 1"
        )
        if "a" in used:
            said.append("the rank of a letter is its place in the alphabet: 1 for a, 26 for z")
        return said

    def words(self) -> RowWords:
        if self.per_bracket:
            order = "in the order of their closing brackets"
            return RowWords("bracket pair", "bracket pairs", order)
        return RowWords("letter", "letters", "from left to right")

    def subjects(self) -> dict[str, Subject]:
        second = Subject("its span") if self.per_bracket else Subject("its rank")
        return {"d": Subject("its depth"), "a": second}

    def bounds(self) -> dict[str, Range]:
        return {"d": (0, 12), "a": (0, 40)}

    def rows(self, text: str) -> list[Row]:
        """By matching each closing bracket with the nearest open one before it."""
        partner: dict[int, int] = {}
        for place, letter in enumerate(text):
            if letter == self.closing:
                still_open = [
                    i for i in range(place) if text[i] == self.opening and i not in partner
                ]
                if still_open:
                    partner[still_open[-1]] = place
        depth = [sum(o < i < c for o, c in partner.items()) for i in range(len(text))]
        if self.per_bracket:
            pairs = sorted(partner.items(), key=lambda pair: pair[1])
            return [{"d": depth[o] + 1, "a": c - o - 1} for o, c in pairs]
        return [
            {"d": depth[i], "a": LETTERS.find(letter) + 1}
            for i, letter in enumerate(text) if letter in LETTERS
        ]  # fmt: skip

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        o, c = self.opening, self.closing
        yield ("",)
        yield (f"a{o}b{o}{c}c{c}",)
        yield (f"{o}{o}x{c}{c}{o}y{c}",)
        while True:
            yield (self._text(rng),)

    def _text(self, rng: Random) -> str:
        text, depth = "", 0
        for _ in range(rng.randint(4, 14)):
            kind = rng.random()
            if kind < 0.3:
                text, depth = text + self.opening, depth + 1
            elif kind < 0.5 and (depth > 0 or self.ignores_extra):
                text, depth = text + self.closing, max(0, depth - 1)
            else:
                text += rng.choice(LETTERS[: rng.choice([5, 26])])
        return text + self.closing * depth

    def styles(self) -> tuple[str, ...]:
        return ("stack", "counter", "recursive") if self.per_bracket else ("counter", "stack",
                                                                           "prefixes")  # fmt: skip

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"depth", "letter", "rank", "span", "pairs", "depths"}
        if self.per_bracket:
            self._pairs(style, body)
            first = "depth" if "d" in body.used else "_"
            second = "span" if "a" in body.used else "_"
            return Rows(f"{first}, {second} in pairs", {"d": "depth", "a": "span"})
        self._letters(style, body)
        names = {"d": "depth", "a": "rank"}
        if "a" not in body.used:
            return Rows("_, depth in letters", names)
        block.add(f'alphabet = "{LETTERS}"')
        if "d" not in body.used:
            block.add("ranks = [alphabet.find(letter) + 1 for letter, _ in letters]")
            return Rows("rank in ranks", names)
        block.add("rows = [(alphabet.find(letter) + 1, depth) for letter, depth in letters]")
        return Rows("rank, depth in rows", names)

    def _letters(self, style: str, body: Body) -> None:
        o, c = self.opening, self.closing
        if style == "counter":
            close = "depth = max(0, depth - 1)" if self.ignores_extra else "depth -= 1"
            text = f"""
            letters = []
            depth = 0
            for letter in text:
                if letter == "{o}":
                    depth += 1
                elif letter == "{c}":
                    {close}
                else:
                    letters.append((letter, depth))
            """
        elif style == "stack":
            guard = f'letter == "{c}"'
            pop = "is_open.pop()"
            if self.ignores_extra:
                pop = "is_open = is_open[:-1]"
            text = f"""
            letters = []
            is_open = []
            for letter in text:
                if letter == "{o}":
                    is_open.append(letter)
                elif {guard}:
                    {pop}
                else:
                    letters.append((letter, len(is_open)))
            """
        else:
            text = f"""
            letters = []
            extra = 0
            for place in range(len(text)):
                before = text[:place]
                depth = before.count("{o}") - before.count("{c}") + extra
                if text[place] == "{c}":
                    extra += 1 if depth == 0 else 0
                elif text[place] != "{o}":
                    letters.append((text[place], depth))
            """
            if not self.ignores_extra:
                text = f"""
            letters = []
            for place, letter in enumerate(text):
                if letter not in "{o}{c}":
                    before = text[:place]
                    letters.append((letter, before.count("{o}") - before.count("{c}")))
            """
        add_lines(body.block, text)

    def _pairs(self, style: str, body: Body) -> None:
        o, c = self.opening, self.closing
        closes = f'letter == "{c}"' + (" and starts" if self.ignores_extra else "")
        if style == "stack":
            text = f"""
            pairs = []
            starts = []
            for place, letter in enumerate(text):
                if letter == "{o}":
                    starts.append(place)
                elif {closes}:
                    depth = len(starts)
                    span = place - starts.pop() - 1
                    pairs.append((depth, span))
            """
        elif style == "counter":
            lines = [
                "taken.append(start)",
                f'waiting = text[:start].count("{o}")',
                "closed = sum(1 for one in taken if one < start)",
                "pairs.append((waiting - closed + 1, end - start - 1))",
            ]
            if self.ignores_extra:
                lines = ["if start >= 0:", *(f"    {line}" for line in lines)]
            found = ("\n" + 20 * " ").join(lines)
            guard = f'if text[end] == "{c}":'
            in_text = "start >= 0 and " if self.ignores_extra else ""
            text = f"""
            pairs = []
            taken = []
            for end in range(len(text)):
                {guard}
                    start = end - 1
                    while {in_text}(text[start] != "{o}" or start in taken):
                        start -= 1
                    {found}
            """
        else:
            body.parts.append(
                "def close(text: str, start: int, depth: int, pairs: list[tuple[int, int]]) "
                "-> int:\n"
                '    """Reads on to where the present depth ends; gives the place behind."""\n'
                "    place = start\n"
                "    while place < len(text):\n"
                f'        if text[place] == "{o}":\n'
                "            end = close(text, place + 1, depth + 1, pairs)\n"
                "            pairs.append((depth + 1, end - place - 2))\n"
                "            place = end\n"
                f'        elif text[place] == "{c}" and depth > 0:\n'
                "            return place + 1\n"
                "        else:\n"
                "            place += 1\n"
                "    return place"
            )
            text = """
            pairs = []
            close(text, 0, 0, pairs)
            """
        add_lines(body.block, text)


def draw_nesting(rng: Random) -> tuple[Producer, str]:
    opening, closing = rng.choice([("(", ")"), ("[", "]"), ("<", ">")])
    return Nesting(opening, closing, rng.random() < 0.4, rng.random() < 0.5), "d"
