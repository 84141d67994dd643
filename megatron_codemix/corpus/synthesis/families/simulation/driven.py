"""A number that a list of events drives, by rules that look at both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf
from megatron_codemix.corpus.synthesis.writing.statement import Given

_LOW, _HIGH = 0, 60
EVENT = Variable("x", Int(-20, 30), "int", (-20, 30))
STATE = Variable("s", Int(_LOW, 60), "int", (_LOW, _HIGH))
_THEMES = (
    ("temperature", "change", "changes", "hour", "hours"),
    ("reservoir", "flow", "flows", "day", "days"),
    ("morale", "message", "messages", "message", "messages"),
    ("price", "order", "orders", "order", "orders"),
    ("fuel", "leg", "legs", "leg", "legs"),
    ("snow_depth", "report", "reports", "report", "reports"),
    ("score", "throw", "throws", "throw", "throws"),
    ("speed", "push", "pushes", "push", "pushes"),
)


@dataclass(frozen=True)
class Driven:
    theme: tuple[str, str, str, str, str]
    """The number; an event and its plural; what a row is called and its plural."""
    start: int
    test: Node
    """Of the state and the event: which rule holds."""
    first: Node
    second: Node | None
    """None: the number stays as it is."""

    def subject(self) -> str:
        return f"{self.theme[0]}_values"

    def title(self) -> str:
        return f"How {self.theme[2]} drive a {self.theme[0].replace('_', ' ')}."

    def spec(self) -> Any:
        return ["driven", *specs_of(self.nodes()), self.start]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.theme[2], ListOf(Int())),)

    def given(self) -> list[Given]:
        return [Given(self.theme[2], "a list of integers, some of them perhaps negative")]

    def _subjects(self) -> dict[str, Subject]:
        return {"s": Subject(f"`{self.theme[0]}`"), "x": Subject(f"the {self.theme[1]}")}

    def model(self, rng: Random, used: set[str]) -> list[str]:
        state, event = self.theme[:2]
        clause = self.test.condition(rng, self._subjects()).clause()
        first = self.first.phrase(rng, self._subjects())
        other = f"otherwise `{state}` keeps its value"
        if self.second is not None:
            other = f"otherwise it becomes {self.second.phrase(rng, self._subjects())}"
        return [
            rng.choice(
                [
                    f"a number called `{state}` is {self.start} at first; the {self.theme[2]} are "
                    "applied to it one by one",
                    f"the {self.theme[2]} change, one after the other, a number `{state}`, which "
                    f"starts at {self.start}",
                ]
            ),
            f"with each {event}, if {clause}, `{state}` becomes {first}; {other}",
            rng.choice(
                [
                    f"after that, a value below {_LOW} is raised to {_LOW}, and one above {_HIGH} "
                    f"is reduced to {_HIGH}",
                    f"the new value is limited to the range from {_LOW} to {_HIGH}: what is below "
                    f"becomes {_LOW}, what is above becomes {_HIGH}",
                ]
            ),
        ]

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        return RowWords(self.theme[1], self.theme[2], "in the order of the list")

    def subjects(self) -> dict[str, Subject]:
        return {
            "s": Subject(f"the value of `{self.theme[0]}` after it"),
            "x": Subject(f"the {self.theme[1]} itself"),
        }

    def bounds(self) -> dict[str, Range]:
        return {"s": (_LOW, _HIGH), "x": (-20, 30)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.test, self.first, self.second]

    def rows(self, events: list[int]) -> list[Row]:
        """State by state from a table of the one before."""
        states = {0: self.start}
        for place, event in enumerate(events):
            values = {"s": states[place], "x": event}
            node = self.first if self.test.evaluate(values) else self.second
            new = states[place] if node is None else int(node.evaluate(values))
            states[place + 1] = sorted((_LOW, new, _HIGH))[1]
        return [{"s": states[i + 1], "x": event} for i, event in enumerate(events)]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ([],)
        yield ([rng.randint(-20, 30)],)
        yield ([0, 0],)
        while True:
            yield ([rng.randint(-20, 30) for _ in range(rng.randint(2, 9))],)

    def styles(self) -> tuple[str, ...]:
        return ("loop", "function", "recursive")

    def write(self, style: str, body: Body) -> Rows:
        state, event, events = self.theme[:3]
        block = body.block
        block.names |= {state, event, "rows"}
        if style == "loop":
            self._loop(body)
        else:
            self._rule(body, state, event)
            self._by_function(style, body)
        if "x" not in body.used:
            return Rows(f"{state} in states", {"s": state})
        if "s" not in body.used:
            return Rows(f"{event} in {events}", {"x": event})
        return Rows(f"{state}, {event} in zip(states, {events})", {"s": state, "x": event})

    def _values(self, naming: Naming, state: str, event: str) -> tuple[str, str, str]:
        own = naming.renamed({"s": state, "x": event})
        second = state if self.second is None else f"{self.second.python(own)}"
        return f"{self.test.python(own)}", f"{self.first.python(own)}", second

    def _loop(self, body: Body) -> None:
        state, event, events = self.theme[:3]
        test, first, second = self._values(body.naming, state, event)
        other = (
            ""
            if self.second is None
            else f"""
                else:
                    {state} = {second}"""
        )
        add_lines(
            body.block,
            f"""
            states = []
            {state} = {self.start}
            for {event} in {events}:
                if {test}:
                    {state} = {first}{other}
                {state} = max({_LOW}, min({state}, {_HIGH}))
                states.append({state})
            """,
        )

    def _rule(self, body: Body, state: str, event: str) -> None:
        test, first, second = self._values(body.naming, state, event)
        body.parts.append(
            "def limited(value: int) -> int:\n"
            f"    if value < {_LOW}:\n        return {_LOW}\n"
            f"    return {_HIGH} if value > {_HIGH} else value"
        )
        body.parts.append(
            f"def next_{state}({state}: int, {event}: int) -> int:\n"
            f"    if {test}:\n        return limited({first})\n    return limited({second})"
        )

    def _by_function(self, style: str, body: Body) -> None:
        state, event, events = self.theme[:3]
        if style == "recursive":
            body.parts.append(
                f"def history({state}: int, {events}: list[int]) -> list[int]:\n"
                f"    if not {events}:\n        return []\n"
                f"    following = next_{state}({state}, {events}[0])\n"
                f"    return [following] + history(following, {events}[1:])"
            )
            body.block.add(f"states = history({self.start}, {events})")
            return
        add_lines(
            body.block,
            f"""
            states = [{self.start}]
            for {event} in {events}:
                states.append(next_{state}(states[-1], {event}))
            states = states[1:]
            """,
        )


def draw_driven(rng: Random) -> tuple[Producer, str]:
    test = draw_test(rng, rng.choice([[STATE], [EVENT], [STATE, EVENT]]), rng.choice([1, 1, 2])
                     if rng.random() < 0.5 else 1)  # fmt: skip
    first = draw_integer(rng, [STATE, EVENT], rng.choice([1, 1, 2]))
    second = None
    if rng.random() < 0.7:
        second = draw_integer(
            rng, rng.choice([[STATE], [STATE, EVENT], [STATE, EVENT]]), rng.choice([1, 1, 2])
        )
        if first.spec() == second.spec():
            raise NothingDrawn
    theme = rng.choice(_THEMES)
    producer = Driven(theme, rng.choice([0, 5, 10, 20, 50]), test, first, second)
    seen = [
        row["s"] for _ in range(20) for row in
        producer.rows([rng.randint(-20, 30) for _ in range(6)])
    ]  # fmt: skip
    if max(seen.count(one) for one in set(seen)) > 0.5 * len(seen):
        raise NothingDrawn
    return producer, "s"
