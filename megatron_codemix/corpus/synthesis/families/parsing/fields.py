"""Entries like "a=3,4;bc=15": a key and one or more numbers, with separators of three kinds."""

from collections.abc import Callable, Iterator
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

_WORTH = {
    "one": ("its number", "{n}[0]"),
    "sum": ("the sum of its numbers", "sum({n})"),
    "largest": ("its largest number", "max({n})"),
    "smallest": ("its smallest number", "min({n})"),
    "last": ("its last number", "{n}[-1]"),
    "spread": ("its largest minus its smallest number", "max({n}) - min({n})"),
    "ends": ("the sum of its first and its last number (twice the number if it has only one)",
             "{n}[0] + {n}[-1]"),
}  # fmt: skip
_APPLY: dict[str, Callable[[list[int]], int]] = {
    "one": lambda n: n[0], "sum": sum, "largest": max, "smallest": min, "last": lambda n: n[-1],
    "spread": lambda n: sorted(n)[-1] - sorted(n)[0], "ends": lambda n: n[0] + n[-1],
}  # fmt: skip


@dataclass(frozen=True)
class Fields(OfText):
    entry_mark: str
    """Between entries."""
    key_mark: str
    """Between a key and its numbers."""
    number_mark: str
    """Between the numbers of an entry."""
    worth: str
    """How an entry's numbers become one."""
    missing: int | None
    """The worth of an entry without numbers and key mark; None: there are no such entries."""
    last_counts: bool
    """Whether, of entries with one key, only the last counts."""

    def subject(self) -> str:
        return "entries"

    def title(self) -> str:
        return "What the entries of a text with keys and numbers come to."

    def spec(self) -> Any:
        marks = [self.entry_mark, self.key_mark, self.number_mark]
        return ["fields", *marks, self.worth, self.missing, self.last_counts]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        numbers = (
            "an integer (with a minus sign if it is negative)"
            if self.worth == "one"
            else f"one or more integers separated by `{self.number_mark}` (negative ones with a "
            "minus sign)"
        )
        said = [
            rng.choice(
                [
                    f"the text consists of entries separated by `{self.entry_mark}`; the empty "
                    "text has no entries",
                    f"between any two entries of the text there is a `{self.entry_mark}`; an empty "
                    "text holds no entry at all",
                ]
            ),
            f"an entry is a key (lower-case letters), then `{self.key_mark}`, then {numbers}; "
            "there are no spaces",
        ]
        if "v" in used:
            said.append(f"the worth of an entry is {_WORTH[self.worth][0]}")
        if self.missing is not None:
            worth = f"; its worth is then {self.missing}" if "v" in used else ""
            said[1] = said[1].replace("an entry is", "an entry is usually")
            said.append(f"an entry may also be a key alone, without `{self.key_mark}`{worth}")
        if self.last_counts:
            said.append(
                "if a key occurs several times, only its last entry counts, but it takes the place "
                "of its first one"
            )
        else:
            said.append("the same key may occur several times; every entry counts")
        return said

    def words(self) -> RowWords:
        order = "in the order of the text"
        if self.last_counts:
            order = "in the order in which their keys first occur"
            return RowWords("entry", "entries", order, "that count", "that counts")
        return RowWords("entry", "entries", order)

    def subjects(self) -> dict[str, Subject]:
        return {"v": Subject("its worth"), "k": Subject("the length of its key")}

    def bounds(self) -> dict[str, Range]:
        return {"v": (-200, 300), "k": (1, 5)}

    def rows(self, text: str) -> list[Row]:
        found: list[tuple[str, int]] = []
        for entry in text.split(self.entry_mark) if text else []:
            key, _, rest = entry.partition(self.key_mark)
            worth = self.missing
            if rest:
                worth = _APPLY[self.worth]([int(one) for one in rest.split(self.number_mark)])
            assert worth is not None
            place = [i for i, (known, _) in enumerate(found) if known == key]
            if self.last_counts and place:
                found[place[0]] = (key, worth)
            else:
                found.append((key, worth))
        return [{"v": worth, "k": len(key)} for key, worth in found]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ("",)
        yield (self._entry(rng, ["a"]),)
        keys = ["x", "ab", "cat"]
        yield (self.entry_mark.join(self._entry(rng, [key]) for key in ("x", "x")),)
        while True:
            keys = ["".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 5))) for _ in "1234"]
            entries = [self._entry(rng, keys) for _ in range(rng.randint(2, 6))]
            yield (self.entry_mark.join(entries),)

    def _entry(self, rng: Random, keys: list[str]) -> str:
        key = rng.choice(keys)
        if self.missing is not None and rng.random() < 0.25:
            return key
        many = 1 if self.worth == "one" else rng.randint(1, 3)
        numbers = [str(rng.choice([rng.randint(-9, 20), rng.randint(0, 60)])) for _ in range(many)]
        return f"{key}{self.key_mark}{self.number_mark.join(numbers)}"

    def styles(self) -> tuple[str, ...]:
        return ("split", "scanner", "helpers")

    def _numbers(self, text: str) -> str:
        """The list of numbers in `text`, as an expression."""
        if self.worth == "one":
            return f"[int({text})]"
        return f'[int(one) for one in {text}.split("{self.number_mark}")]'

    def _worth(self, numbers: str) -> str:
        return _WORTH[self.worth][1].format(n=numbers)

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"key", "worth", "entry", "entries", "rest"}
        if style == "scanner":
            self._scan(body)
        elif style == "helpers":
            self._with_helper(body)
        else:
            self._split(body)
        names = {"v": "worth", "k": "len(key)"}
        if self.last_counts:
            if "v" not in body.used:
                return Rows("key in worths", names)
            if "k" not in body.used:
                return Rows("worth in worths.values()", names)
            return Rows("key, worth in worths.items()", names)
        key = "key" if "k" in body.used else "_"
        worth = "worth" if "v" in body.used else "_"
        return Rows(f"{key}, {worth} in entries", names)

    def _store(self, worth: str) -> str:
        return f"worths[key] = {worth}" if self.last_counts else f"entries.append((key, {worth}))"

    def _start(self) -> str:
        return "worths = {}" if self.last_counts else "entries = []"

    def _split(self, body: Body) -> None:
        block = body.block
        block.add(self._start())
        block.add(f'parts = text.split("{self.entry_mark}") if text else []')
        with block.inside("for part in parts:"):
            if self.missing is not None:
                with block.inside(f'if "{self.key_mark}" not in part:'):
                    block.add("key = part")
                    block.add(self._store(str(self.missing)))
                    block.add("continue")
            block.add(f'key, rest = part.split("{self.key_mark}")')
            if self.worth == "one":
                block.add(self._store("int(rest)"))
                return
            block.add(f"numbers = {self._numbers('rest')}")
            block.add(self._store(self._worth("numbers")))

    def _with_helper(self, body: Body) -> None:
        """A function for the worth; finds the key's end by `find`."""
        lines = []
        if self.missing is not None:
            lines += ["    if not numbers:", f"        return {self.missing}"]
        lines.append(f"    return {self._worth('numbers')}")
        body.parts.append("def worth_of(numbers: list[int]) -> int:\n" + "\n".join(lines))
        block = body.block
        block.add(self._start())
        with block.inside(f'for part in text.split("{self.entry_mark}"):'):
            with block.inside('if part == "":'):
                block.add("continue")
            if self.missing is not None:
                add_lines(
                    block,
                    f"""
                    end = part.find("{self.key_mark}")
                    if end < 0:
                        end = len(part)
                    key = part[:end]
                    rest = part[end + 1 :]
                    numbers = {self._numbers("rest")} if rest else []
                    """,
                )
            else:
                add_lines(
                    block,
                    f"""
                    end = part.find("{self.key_mark}")
                    key = part[:end]
                    numbers = {self._numbers("part[end + 1 :]")}
                    """,
                )
            block.add(self._store("worth_of(numbers)"))

    def _scan(self, body: Body) -> None:
        """Letter by letter, with a mark behind the end so that the last entry is closed, too."""
        block = body.block
        block.add(self._start())
        block.add('key = ""')
        block.add("numbers = []")
        block.add('digits = ""')
        closed = f'letter == "{self.entry_mark}"'
        ends = f'letter in "{self.entry_mark}{self.number_mark}"'
        if self.worth == "one":
            ends = closed
        with block.inside(f'for letter in text + "{self.entry_mark}":'):
            with block.inside('if "a" <= letter <= "z":'):
                block.add("key += letter")
            with block.inside(f"elif {ends}:"):
                with block.inside('if digits != "":'):
                    block.add("numbers.append(int(digits))")
                    block.add('digits = ""')
                condition = 'key != ""' if self.worth == "one" else f'{closed} and key != ""'
                with block.inside(f"if {condition}:"):
                    worth = self._worth("numbers")
                    if self.missing is not None:
                        worth = f"{worth} if numbers else {self.missing}"
                    block.add(self._store(worth))
                    block.add('key = ""')
                    block.add("numbers = []")
            with block.inside(f'elif letter != "{self.key_mark}":'):
                block.add("digits += letter")


def draw_fields(rng: Random) -> tuple[Producer, str]:
    entry, key, number = rng.choice([
        (";", "=", ","), (",", ":", "/"), ("&", "=", "+"), ("|", ":", ","), ("/", "=", "."),
        (";", ":", "/"), (" ", "=", ","), (",", "=", "|"),
    ])  # fmt: skip
    worth = rng.choice(["one", "sum", "largest", "smallest", "last", "spread", "ends"])
    missing = rng.choice([None, 0, 1, 10])
    return Fields(entry, key, number, worth, missing, rng.random() < 0.4), "v"
