"""A graph as problems give it: numbered places, a list of weighted links, some of them closed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.grammar.code import Code, negated
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject, with_article
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, TupleOf
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

Edge = tuple[int, int, int]
MOST_PLACES = 8


@dataclass(frozen=True)
class Theme:
    place: str
    places: str
    link: str
    links: str
    weight: str
    to_which: str
    """Which places these are, before "from": "to which one can travel"."""

    @property
    def a_place(self) -> str:
        return with_article(self.place)

    @property
    def a_link(self) -> str:
        return with_article(self.link)


THEMES = (
    Theme("town", "towns", "road", "roads", "length", "to which one can travel"),
    Theme("room", "rooms", "door", "doors", "width", "to which one can walk"),
    Theme("island", "islands", "ferry", "ferries", "fare", "to which one can sail"),
    Theme("station", "stations", "track", "tracks", "length", "to which one can ride"),
    Theme("server", "servers", "cable", "cables", "delay", "that can get data"),
    Theme("planet", "planets", "tunnel", "tunnels", "age", "to which one can fly"),
    Theme("page", "pages", "link", "links", "rank", "to which one can click through"),
    Theme("valley", "valleys", "path", "paths", "height", "to which one can hike"),
    Theme("person", "people", "friendship", "friendships", "strength", "who can get news"),
    Theme("cave", "caves", "passage", "passages", "depth", "to which one can crawl"),
    Theme("village", "villages", "river", "rivers", "width", "to which one can row"),
    Theme("airport", "airports", "flight", "flights", "price", "to which one can fly"),
)

PLACE = Variable("v", Int(0, MOST_PLACES - 1), "int", (0, MOST_PLACES - 1))
WEIGHT = Variable("w", Int(1, 20), "int", (1, 20))
SOURCE = Variable("a", Int(0, 7), "int", (0, 7))
TARGET = Variable("b", Int(0, 7), "int", (0, 7))


@dataclass(frozen=True)
class Network:
    theme: Theme
    is_directed: bool
    edge_test: Node | None
    """Which links may be used: of `w`, or of `a` and `b`; None: all."""

    def spec(self) -> Any:
        return [self.is_directed, self.edge_test and self.edge_test.spec()]

    @property
    def size_name(self) -> str:
        return f"num_{self.theme.places}"

    def parameters(self) -> tuple[Parameter, ...]:
        edges = ListOf(TupleOf((Int(0, MOST_PLACES - 1), Int(0, MOST_PLACES - 1), Int(1, 20))))
        return Parameter(self.size_name, Int(1, MOST_PLACES)), Parameter(self.theme.links, edges)

    def given(self) -> list[Given]:
        t = self.theme
        return [
            Given(self.size_name, f"the number of {t.places} (at least 1)"),
            Given(t.links, f"a list of tuples of three integers `(first, second, {t.weight})`"),
        ]

    def model(self, rng: Random) -> list[str]:
        """Sentences: what numbers and tuples mean, and which links count."""
        t = self.theme
        if self.is_directed:
            way = f"leads from {t.place} `first` to {t.place} `second` and not back"
        else:
            way = f"connects the {t.places} `first` and `second` in both directions"
        said = [
            f"the {t.places} are numbered from 0 to `{self.size_name} - 1`",
            rng.choice(
                [
                    f"each tuple stands for a {t.link} that {way}; its {t.weight} is positive",
                    f"a tuple is one {t.link} with its {t.weight} (a positive number): it {way}",
                ]
            ),
        ]
        if self.edge_test is not None:
            subjects = {
                "w": Subject(f"the {t.weight}", False),
                "a": Subject("`first`"),
                "b": Subject("`second`"),
            }
            clause = self.edge_test.condition(rng, subjects).clause()
            said.append(
                rng.choice(
                    [
                        f"a {t.link} can be used only if {clause}",
                        f"only those {t.links} are open for which {clause}",
                        f"ignore every {t.link} unless {clause}",
                    ]
                )
            )
        return said

    def allows(self, edge: Edge) -> bool:
        if self.edge_test is None:
            return True
        first, second, weight = edge
        return bool(self.edge_test.evaluate({"a": first, "b": second, "w": weight}))

    def usable(self, edges: Sequence[Edge]) -> list[Edge]:
        """Links that may be used, those of two directions in both: for oracles."""
        open_links = [edge for edge in edges if self.allows(edge)]
        if self.is_directed:
            return open_links
        return open_links + [(second, first, weight) for first, second, weight in open_links]

    def names(self) -> dict[str, str]:
        return {"a": "first", "b": "second", "w": self.theme.weight}

    def test_code(self, naming: Naming) -> Code | None:
        if self.edge_test is None:
            return None
        return self.edge_test.python(naming.renamed(self.names()))

    def loop_header(
        self, *, uses_weight: bool = False, ends: Sequence[str] = ("first", "second")
    ) -> str:
        """`for first, second, length in roads:`, with underscores for what nobody reads; `ends`
        are read by who asks."""
        tested = self.edge_test.variables() if self.edge_test is not None else set()
        first = "first" if "first" in ends or "a" in tested else "_"
        second = "second" if "second" in ends or "b" in tested else "_"
        weight = self.theme.weight if uses_weight or "w" in tested else "_"
        return f"for {first}, {second}, {weight} in {self.theme.links}:"

    def add_closed(self, block: Block, naming: Naming) -> None:
        """In a loop over links: goes on with the next one where this may not be used."""
        test = self.test_code(naming)
        if test is not None:
            with block.inside(f"if {negated(test)}:"):
                block.add("continue")

    def add_adjacency(self, block: Block, naming: Naming, *, skips: bool, entry: str = "") -> None:
        """Statements that make `neighbours`: for each place the list of places one link away, or of
        tuples (place, entry)."""
        block.add(f"neighbours = [[] for _ in range({self.size_name})]")
        test = self.test_code(naming)
        with block.inside(self.loop_header(uses_weight=bool(entry))):
            if test is not None and skips:
                self.add_closed(block, naming)
                self._add_both(block, entry)
            elif test is not None:
                with block.inside(f"if {test}:"):
                    self._add_both(block, entry)
            else:
                self._add_both(block, entry)

    def _add_both(self, block: Block, entry: str) -> None:
        there, back = (
            ("second", "first") if not entry else (f"(second, {entry})", f"(first, {entry})")
        )
        block.add(f"neighbours[first].append({there})")
        if not self.is_directed:
            block.add(f"neighbours[second].append({back})")

    def graphs(self, rng: Random) -> Iterator[tuple[int, list[Edge]]]:
        """One place, no links, a loop, a line; then random graphs, sparse and dense."""
        yield 1, []
        yield 3, []
        yield 2, [(0, 1, rng.randint(1, 20)), (1, 1, rng.randint(1, 20))]
        yield 5, [(at, at + 1, rng.randint(1, 20)) for at in range(4)]
        while True:
            size = rng.randint(3, MOST_PLACES)
            count = rng.randint(size - 1, 2 * size)
            ends = [(rng.randrange(size), rng.randrange(size)) for _ in range(count)]
            yield size, [(a, b, rng.randint(1, 20)) for a, b in ends]


def draw_network(rng: Random, *, is_directed: bool) -> Network:
    theme = rng.choice(THEMES)
    kind = rng.random()
    test = None
    if kind < 0.75:
        test = draw_test(rng, [WEIGHT], 1 if rng.random() < 0.6 else 2)
    elif kind < 0.92:
        test = draw_test(rng, [SOURCE, TARGET], 1)
        if "equal to other" in test.rules():  # loops alone make no network
            raise NothingDrawn
    return Network(theme, is_directed, test)
