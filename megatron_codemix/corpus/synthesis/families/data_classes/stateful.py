"""An object with a state that operations change, some of them refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.data_classes.records import IMPORT
from megatron_codemix.corpus.synthesis.families.found import Body, Row, Rows, draw_found
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Str, TupleOf
from megatron_codemix.corpus.synthesis.writing.statement import Given

AMOUNT = Variable("x", Int(1, 30), "int", (1, 30))
_MOST_OPERATIONS = 8


@dataclass(frozen=True)
class Theme:
    class_name: str
    noun: str
    state: str
    up: str
    down: str


THEMES = (
    Theme("Account", "account", "balance", "deposit", "withdraw"),
    Theme("Tank", "tank", "level", "fill", "drain"),
    Theme("Elevator", "elevator", "floor", "rise", "sink"),
    Theme("Battery", "battery", "charge", "load", "use"),
    Theme("Shop", "shop", "stock", "buy", "sell"),
    Theme("Diver", "diver", "depth", "dive", "surface"),
    Theme("Meter", "meter", "reading", "advance", "rewind"),
    Theme("Hero", "hero", "health", "heal", "hit"),
)


@dataclass(frozen=True)
class Stateful:
    theme: Theme
    start: int
    up: Node
    """What an amount adds."""
    down: Node
    """What an amount takes away."""
    refused: Node
    """Of the state before, `s`, and the amount: the operation is ignored."""
    only_down: bool
    """Whether only the second operation can be refused."""
    lists_done: bool
    """Whether rows are the operations that were carried out, not all."""

    def subject(self) -> str:
        return f"{self.theme.noun}_{self.theme.state}s"

    def title(self) -> str:
        return f"How {self.theme.state} changes through a list of operations."

    def spec(self) -> Any:
        holes = specs_of([self.up, self.down, self.refused])
        return ["stateful", *holes, self.only_down, self.lists_done, self.start]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("operations", ListOf(TupleOf((Str(), Int())))),)

    def given(self) -> list[Given]:
        return [Given("operations", "a list of tuples `(kind, amount)` of a text and an integer")]

    def _subjects(self) -> dict[str, Subject]:
        return {"s": Subject(f"the {self.theme.state}"), "x": Subject("the amount")}

    def model(self, rng: Random, used: set[str]) -> list[str]:
        t = self.theme
        up = self.up.phrase(rng, self._subjects())
        down = self.down.phrase(rng, self._subjects())
        clause = self.refused.condition(rng, self._subjects()).clause()
        who = f'a `"{t.down}"`' if self.only_down else "an operation of either kind"
        return [
            f"model {'an' if t.noun[0] in 'aeiou' else 'a'} {t.noun} by a class "
            f"`{t.class_name}`, whose {t.state} is {self.start} at the start",
            f'the kind of an operation is `"{t.up}"` or `"{t.down}"`, its amount is positive',
            rng.choice(
                [
                    f'`"{t.up}"` raises the {t.state} by {up}; `"{t.down}"` reduces it by {down}',
                    f'with `"{t.up}"` the {t.state} grows by {up}; with `"{t.down}"` it shrinks '
                    f"by {down}",
                ]
            )
            + " (a negative change goes the other way)"
            * (self.up.range()[0] < 0 or self.down.range()[0] < 0),
            rng.choice(
                [
                    f"{who} is refused, which means that nothing changes, if just before it "
                    f"{clause}",
                    f"{who} has no effect and counts as refused if, right before it, {clause}",
                ]
            ),
        ]

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        if self.lists_done:
            return RowWords("operation", "operations", "in the order of the list",
                            "that are not refused", "that is not refused")  # fmt: skip
        return RowWords("operation", "operations", "in the order of the list")

    def subjects(self) -> dict[str, Subject]:
        return {"s": Subject(f"the {self.theme.state} after it"), "x": Subject("its amount")}

    def bounds(self) -> dict[str, Range]:
        lows = [self.start, *(_MOST_OPERATIONS * one for one in self.up.range())]
        lows += [-_MOST_OPERATIONS * one for one in self.down.range()]
        return {"s": (min(lows) - 200, max(lows) + 200), "x": (1, 30)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.up, self.down, self.refused]

    def rows(self, operations: list[tuple[str, int]]) -> list[Row]:
        """By the recursion over how many operations there are."""
        if not operations:
            return []
        *before, (kind, amount) = operations
        rows = self._all(before)
        return self._done([*rows, self._next(rows, kind, amount)])

    def _all(self, operations: Sequence[tuple[str, int]]) -> list[Row]:
        rows: list[Row] = []
        for kind, amount in operations:
            rows.append(self._next(rows, kind, amount))
        return rows

    def _next(self, rows: Sequence[Row], kind: str, amount: int) -> Row:
        state = rows[-1]["s"] if rows else self.start
        values = {"s": state, "x": amount}
        can_refuse = kind == self.theme.down or not self.only_down
        if can_refuse and self.refused.evaluate(values):
            return {**values, "done": 0}
        change = {self.theme.up: self.up, self.theme.down: self.down}[kind].evaluate(values)
        return {"s": state + (change if kind == self.theme.up else -change), "x": amount, "done": 1}

    def _done(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if row["done"]] if self.lists_done else rows

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ([],)
        kinds = (self.theme.up, self.theme.down)
        yield ([(kinds[0], rng.randint(1, 30))],)
        yield ([(kinds[1], rng.randint(1, 30))],)
        while True:
            many = rng.randint(2, _MOST_OPERATIONS)
            yield ([(rng.choice(kinds), rng.randint(1, 30)) for _ in range(many)],)

    def styles(self) -> tuple[str, ...]:
        return ("class", "loop", "methods")

    def write(self, style: str, body: Body) -> Rows:
        t, block = self.theme, body.block
        block.names |= {"kind", "amount", t.noun, t.state, "states"}
        if style == "loop":
            self._loop(body)
        elif style == "class":
            body.imports.append(IMPORT)
            body.parts.append(self._class_text(body))
            block.add(f"{t.noun} = {t.class_name}()")
            block.add("rows = []")
            with block.inside("for kind, amount in operations:"):
                if self.lists_done:
                    with block.inside(f"if {t.noun}.apply(kind, amount):"):
                        block.add(f"rows.append({self._entry(body, f'{t.noun}.{t.state}')})")
                else:
                    block.add(f"{t.noun}.apply(kind, amount)")
                    block.add(f"rows.append({self._entry(body, f'{t.noun}.{t.state}')})")
        else:
            self._methods(body)
        target = {"s": t.state, "x": "amount"}
        used = [one for one in ("s", "x") if one in body.used] or ["s"]
        return Rows(f"{', '.join(target[one] for one in used)} in rows", target)

    def _entry(self, body: Body, state: str) -> str:
        values = {"s": state, "x": "amount"}
        used = [values[one] for one in ("s", "x") if one in body.used] or [state]
        return used[0] if len(used) == 1 else f"({', '.join(used)})"

    def _class_text(self, body: Body) -> str:
        t = self.theme
        naming = body.naming.renamed({"s": f"self.{t.state}", "x": "amount"})
        refused = self.refused.python(naming)
        guard = f'kind == "{t.down}" and {refused:and}' if self.only_down else f"{refused}"
        return (
            f"@dataclass\nclass {t.class_name}:\n    {t.state}: int = {self.start}\n\n"
            "    def apply(self, kind: str, amount: int) -> bool:\n"
            '        """Carry out one operation; tell whether it was not refused."""\n'
            f"        if {guard}:\n            return False\n"
            f'        if kind == "{t.up}":\n'
            f"            self.{t.state} += {self.up.python(naming)}\n"
            "        else:\n"
            f"            self.{t.state} -= {self.down.python(naming)}\n"
            "        return True"
        )

    def _loop(self, body: Body) -> None:
        """The state in a variable, no class at all."""
        t, block = self.theme, body.block
        naming = body.naming.renamed({"s": t.state, "x": "amount"})
        refused = self.refused.python(naming)
        allowed = negated(refused)
        down = f'kind == "{t.down}" and {refused:and}' if self.only_down else f"{refused}"
        block.add(f"{t.state} = {self.start}")
        block.add("rows = []")
        store = f"rows.append({self._entry(body, t.state)})"
        with block.inside("for kind, amount in operations:"):
            if self.lists_done:
                with block.inside(f"if {down}:"):
                    block.add("continue")
            up = f'kind == "{t.up}"'
            is_free = self.lists_done or self.only_down
            with block.inside(f"if {up}:" if is_free else f"if {up} and {allowed:and}:"):
                block.add(f"{t.state} += {self.up.python(naming)}")
            last = "else:" if self.lists_done else f"elif {allowed}:"
            if not is_free:
                last = f'elif kind == "{t.down}" and {allowed:and}:'
            with block.inside(last):
                block.add(f"{t.state} -= {self.down.python(naming)}")
            block.add(store)

    def _methods(self, body: Body) -> None:
        """A method for each kind of operation; the history is kept inside."""
        t, block = self.theme, body.block
        naming = body.naming.renamed({"s": f"self.{t.state}", "x": "amount"})
        names = [(t.up, "+", self.up), (t.down, "-", self.down)]
        refused = self.refused.python(naming)
        allowed = negated(refused)
        entry = self._entry(body, f"self.{t.state}")
        store = f"self.history.append({entry})"
        text = f"class {t.class_name}:\n    def __init__(self) -> None:\n"
        text += f"        self.{t.state} = {self.start}\n        self.history = []\n"
        for name, sign, change in names:
            text += f"\n    def {name}(self, amount: int) -> None:\n"
            step = f"self.{t.state} {sign}= {change.python(naming)}"
            if name == t.up and self.only_down:
                text += f"        {step}\n        {store}\n"
            elif self.lists_done:
                text += f"        if {allowed}:\n            {step}\n            {store}\n"
            else:
                text += f"        if {allowed}:\n            {step}\n        {store}\n"
        body.parts.append(text)
        add_lines(
            block,
            f"""
            {t.noun} = {t.class_name}()
            for kind, amount in operations:
                if kind == "{t.up}":
                    {t.noun}.{t.up}(amount)
                else:
                    {t.noun}.{t.down}(amount)
            rows = {t.noun}.history
            """,
        )


def draw_stateful(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    state = Variable("s", Int(-40, 90), "int", (-1000, 1000))
    start = rng.choice([0, 10, 20, 50])
    up = draw_integer(rng, [AMOUNT], rng.choice([0, 1, 1, 2]))
    down = draw_integer(rng, [AMOUNT], rng.choice([0, 1, 1]))
    if max(*map(abs, up.range()), *map(abs, down.range())) > 100 or up.spec() == down.spec():
        raise NothingDrawn
    refused = draw_test(rng, rng.choice([[state], [state, AMOUNT], [state, AMOUNT]]), 1)
    only_down, lists_done = rng.random() < 0.6, rng.random() < 0.5
    producer = Stateful(theme, start, up, down, refused, only_down, lists_done)
    return draw_found(rng, "data_classes", producer, required="" if lists_done else "s")
