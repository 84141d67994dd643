"""Intervals as problems give them: a list of (start, end), some of which do not count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.pieces import drawn_telling
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, TupleOf
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

Span = tuple[int, int]
LATEST = 30
LONGEST = 10


@dataclass(frozen=True)
class Theme:
    noun: str
    nouns: str
    unit: str
    """What starts and ends are numbers of."""
    happens: str
    """Between the noun and "from ... to ..."."""


THEMES = (
    Theme("meeting", "meetings", "hour", "lasts"),
    Theme("booking", "bookings", "day", "runs"),
    Theme("shift", "shifts", "hour", "lasts"),
    Theme("segment", "segments", "position", "reaches"),
    Theme("lease", "leases", "month", "runs"),
    Theme("broadcast", "broadcasts", "minute", "lasts"),
    Theme("fence", "fences", "metre", "stands"),
    Theme("visit", "visits", "day", "lasts"),
)
START = Variable("s", Int(0, LATEST - LONGEST), "int", (0, LATEST))
END = Variable("e", Int(1, LATEST), "int", (1, LATEST))
LENGTH = Variable("l", Int(1, LONGEST), "int", (1, LATEST))
SUBJECTS = {"s": Subject("the start"), "e": Subject("the end"), "l": Subject("the length")}
NAMES = {"s": "start", "e": "end", "l": "length"}


@dataclass(frozen=True)
class Spans:
    theme: Theme
    test: Node | None
    """Which of them count: of the start and the end, or of the length; None: all."""

    def spec(self) -> Any:
        return self.test and self.test.spec()

    def parameter(self) -> Parameter:
        return Parameter(self.theme.nouns, ListOf(TupleOf((Int(), Int()))))

    def given(self) -> Given:
        return Given(self.theme.nouns, "a list of tuples of two integers `(start, end)`")

    @property
    def uses_length(self) -> bool:
        return self.test is not None and "l" in self.test.variables()

    def model(self, rng: Random, *, also_length: bool = False) -> list[str]:
        """What a tuple means, and which count; `also_length`: what the length is in any case."""
        t = self.theme
        said = [
            rng.choice(
                [
                    f"each tuple is a {t.noun} that {t.happens} from {t.unit} `start` up to, but "
                    f"not including, {t.unit} `end`; `start` is never negative and always less "
                    "than `end`",
                    f"a {t.noun} `(start, end)` {t.happens} from {t.unit} `start` to {t.unit} "
                    "`end`, where `0 <= start < end`; its end does not belong to it",
                ]
            )
        ]
        if self.uses_length or also_length:
            said.append(f"the length of a {t.noun} is its end minus its start")
        if self.test is not None:
            clause = self.test.condition(rng, SUBJECTS).clause()
            said.append(
                rng.choice(
                    [
                        f"a {t.noun} counts only if {clause}; all others are ignored",
                        f"ignore every {t.noun} unless {clause}",
                        f"only those {t.nouns} matter for which {clause}",
                    ]
                )
            )
        return said

    def allows(self, span: Span) -> bool:
        return self.test is None or bool(self.test.evaluate(values_of(span)))

    def kept(self, spans: Sequence[Span]) -> list[Span]:
        """Those that count: for oracles."""
        return [one for one in spans if self.allows(one)]

    def write_kept(self, block: Block, naming: Naming, *, is_loop: bool) -> str:
        """Statements that collect those that count; gives the name that they are under."""
        if self.test is None:
            return self.theme.nouns
        kept = block.name("kept", "relevant")
        test = self.test.python(naming.renamed(NAMES))
        if not is_loop and not self.uses_length:
            block.add(f"{kept} = [(start, end) for start, end in {self.theme.nouns} if {test:or}]")
            return kept
        block.add(f"{kept} = []")
        with block.inside(f"for start, end in {self.theme.nouns}:"):
            if self.uses_length:
                block.add("length = end - start")
            if is_loop:
                with block.inside(f"if {negated(test)}:"):
                    block.add("continue")
                block.add(f"{kept}.append((start, end))")
            else:
                with block.inside(f"if {test}:"):
                    block.add(f"{kept}.append((start, end))")
        return kept

    def lists(self, rng: Random) -> Iterator[list[Span]]:
        """None, one, two equal, two that touch, one inside another; then random ones."""
        yield []
        yield [draw_span(rng)]
        first = draw_span(rng)
        yield [first, first]
        yield [(2, 5), (5, 9), (12, 14)]
        yield [(3, 12), (5, 8), (1, 4)]
        while True:
            yield [draw_span(rng) for _ in range(rng.randint(2, 8))]


def draw_span(rng: Random) -> Span:
    start = rng.randint(0, LATEST - LONGEST)
    return start, start + rng.randint(1, rng.choice([4, LONGEST]))


def draw_spans(rng: Random, share: float = 0.7) -> Spans:
    """With a test at this share of draws."""
    theme = rng.choice(THEMES)
    if rng.random() > share:
        return Spans(theme, None)
    kind = rng.random()
    variables = [LENGTH] if kind < 0.5 else [START, END]
    if 0.5 <= kind < 0.7:
        variables = [rng.choice(variables)]
    size = rng.choice([1, 1, 2]) if kind < 0.5 else 1
    rows = [values_of(draw_span(rng)) for _ in range(40)]
    return Spans(theme, drawn_telling(lambda: draw_test(rng, variables, size), rows))


def values_of(span: Span) -> dict[str, int]:
    return {"s": span[0], "e": span[1], "l": span[1] - span[0]}


def sample_lists(rng: Random) -> list[list[Span]]:
    """Some random lists to observe an algorithm on."""
    return [[draw_span(rng) for _ in range(6)] for _ in range(12)]
