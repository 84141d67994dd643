"""Lists of numbers that several plans are about."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.grammar.node import Variable
from megatron_codemix.corpus.synthesis.problem import Arguments
from megatron_codemix.corpus.synthesis.values import Int

LOW, HIGH = -12, 30
MOST = 8
ITEM = Variable("x", Int(LOW, HIGH), "int", (LOW, HIGH))
INDEX = Variable("i", Int(0, MOST - 1), "int", (0, MOST - 1))


@dataclass(frozen=True)
class Theme:
    plural: str
    singular: str
    words: str


_THEMES = (
    Theme("numbers", "number", "a list of integers"),
    Theme("bids", "bid", "a list of integers, some of them perhaps negative"),
    Theme("stations", "station", "a list of integers, one for each station"),
    Theme("cards", "card", "a list of integers, the values of cards in a row"),
    Theme("days", "day", "a list of integers, one for each day"),
    Theme("houses", "house", "a list of integers, one for each house of a street"),
    Theme("jobs", "job", "a list of integers, one for each job"),
    Theme("tiles", "tile", "a list of integers that are written on tiles"),
)


def draw_theme(rng: Random) -> Theme:
    return rng.choice(_THEMES)


def item_lists(rng: Random) -> Iterator[Arguments]:
    """None, one, two equal, all equal; then random ones."""
    one = rng.randint(LOW, HIGH)
    yield ([],)
    yield ([one],)
    yield ([one, one],)
    yield ([5, 5, 5, 5],)
    while True:
        low, high = rng.choice([(LOW, HIGH), (0, HIGH), (0, 12), (-6, 6)])
        yield ([rng.randint(low, high) for _ in range(rng.randint(2, MOST))],)
