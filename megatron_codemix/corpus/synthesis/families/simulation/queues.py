"""Customers who come one after another, wait for a free counter, or leave again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject, count_word
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, TupleOf
from megatron_codemix.corpus.synthesis.writing.statement import Given

TASK = Variable("d", Int(1, 12), "int", (1, 12))
WAIT = Variable("w", Int(0, 15), "int", (0, 300))
_MOST_WAIT = 300


@dataclass(frozen=True)
class Queue:
    counters: int
    time: Node | None
    """How long one of a size takes, positive; None: as long as its size."""
    leaves: Node | None
    """Of the waiting time, or of it and the size: who would wait like that leaves at once."""
    nouns: tuple[str, str, str]
    """Who waits (singular, plural) and what for."""

    def subject(self) -> str:
        return f"served_{self.nouns[1]}" if self.leaves else self.nouns[1]

    def title(self) -> str:
        return f"How long {self.nouns[1]} wait for a {self.nouns[2]}."

    def spec(self) -> Any:
        return ["queue", self.counters, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.nouns[1], ListOf(TupleOf((Int(), Int())))),)

    def given(self) -> list[Given]:
        return [Given(self.nouns[1], "a list of tuples of two integers `(pause, size)`")]

    def _subjects(self) -> dict[str, Subject]:
        return {"d": Subject("`size`"), "w": Subject("the waiting time")}

    def model(self, rng: Random, used: set[str]) -> list[str]:
        one, many, place = self.nouns
        said = [
            f"each tuple is a {one} who arrives `pause` minutes (0 or more) after the one before; "
            "for the first one the time is counted from minute 0",
        ]
        if self.counters == 1:
            said.append(
                rng.choice(
                    [
                        f"there is one {place}, where {many} are served in the order of the list",
                        f"a single {place} serves the {many} one after the other, in the order of "
                        "the list",
                    ]
                )
            )
        else:
            said.append(
                f"there are {count_word(self.counters)} {place}s; each {one} in turn goes to the "
                f"{place} that is free first"
            )
        time = "`size`" if self.time is None else self.time.phrase(rng, self._subjects())
        said.append(
            rng.choice(
                [
                    f"the number of minutes that it takes to serve one is {time} (`size` is "
                    "positive)",
                    f"`size` is positive; serving one takes a number of minutes that is {time}",
                ]
            )
        )
        said.append(
            f"a {one} waits from arrival until the {place} is free, and not at all if it is free "
            f"already (a {place} is free from the very minute at which it is done with somebody)"
        )
        if self.leaves is not None:
            clause = self.leaves.condition(rng, self._subjects()).clause()
            said.append(
                f"somebody for whom, on arrival, it is clear that {clause} leaves at once without "
                "being served, and keeps nobody waiting"
            )
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        one, many, _ = self.nouns
        order = "in the order of the list"
        if self.leaves is None:
            return RowWords(one, many, order)
        return RowWords(one, many, order, "that are served", "that is served")

    def subjects(self) -> dict[str, Subject]:
        return {"w": Subject("the waiting time"), "d": Subject("`size`")}

    def bounds(self) -> dict[str, Range]:
        return {"w": (0, _MOST_WAIT), "d": (1, 12)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.time, self.leaves]

    def rows(self, customers: list[tuple[int, int]]) -> list[Row]:
        """Minute by minute: counters count down what they still have to do."""
        rows: list[Row] = []
        busy = [0] * self.counters
        for pause, size in customers:
            for _ in range(pause):
                busy = [max(0, one - 1) for one in busy]
            wait = sorted(busy)[0]
            row = {"w": wait, "d": size}
            if self.leaves is not None and self.leaves.evaluate(row):
                continue
            place = next(i for i, one in enumerate(busy) if one == wait)
            busy[place] = wait + (size if self.time is None else self.time.evaluate(row))
            rows.append(row)
        return rows

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ([],)
        yield ([(0, rng.randint(1, 12))],)
        yield ([(3, 5), (5, 2), (0, 4)],)
        while True:
            gap = rng.choice([2, 4, 8])
            many = rng.randint(2, 8)
            yield ([(rng.randint(0, gap), rng.randint(1, 12)) for _ in range(many)],)

    def styles(self) -> tuple[str, ...]:
        return ("free times", "backlog", "ends") if self.counters == 1 else ("free times",
                                                                             "backlog")  # fmt: skip

    def _time(self, naming: Naming) -> str:
        return "size" if self.time is None else f"{self.time.python(naming):sum}"

    def _leaves(self, naming: Naming) -> str:
        if self.leaves is None:
            return ""
        return f"if {self.leaves.python(naming)}:"

    def write(self, style: str, body: Body) -> Rows:
        naming = body.naming.renamed({"d": "size", "w": "wait"})
        block = body.block
        block.names |= {"pause", "size", "wait", "rows", "now"}
        if style == "free times":
            self._free_times(body, naming)
        elif style == "backlog":
            self._backlog(body, naming)
        else:
            self._ends(body, naming)
        wait = "wait" if "w" in body.used or not body.used else "_"
        size = "size" if "d" in body.used else "_"
        return Rows(f"{wait}, {size} in rows", {"w": "wait", "d": "size"})

    def _guard(self, body: Body, naming: Naming) -> None:
        if self.leaves is not None:
            with body.block.inside(self._leaves(naming)):
                body.block.add("continue")

    def _free_times(self, body: Body, naming: Naming) -> None:
        """When each counter becomes free."""
        block = body.block
        block.add("rows = []")
        block.add("now = 0")
        block.add("free_at = 0" if self.counters == 1 else f"free_at = [0] * {self.counters}")
        with block.inside(f"for pause, size in {self.nouns[1]}:"):
            block.add("now += pause")
            first = "free_at" if self.counters == 1 else "min(free_at)"
            block.add(f"wait = max(0, {first} - now)")
            self._guard(body, naming)
            done = f"now + wait + {self._time(naming)}"
            if self.counters == 1:
                block.add(f"free_at = {done}")
            else:
                block.add("free_at.sort()")
                block.add(f"free_at[0] = {done}")
            block.add("rows.append((wait, size))")

    def _backlog(self, body: Body, naming: Naming) -> None:
        """How much work is left at each counter, no clock."""
        block = body.block
        block.add("rows = []")
        if self.counters == 1:
            block.add("backlog = 0")
            with block.inside(f"for pause, size in {self.nouns[1]}:"):
                block.add("wait = max(0, backlog - pause)")
                if self.leaves is not None:
                    with block.inside(self._leaves(naming)):
                        block.add("backlog = wait")
                        block.add("continue")
                block.add("rows.append((wait, size))")
                block.add(f"backlog = wait + {self._time(naming)}")
            return
        block.add(f"backlogs = [0] * {self.counters}")
        with block.inside(f"for pause, size in {self.nouns[1]}:"):
            block.add("backlogs = [max(0, one - pause) for one in backlogs]")
            block.add("wait = min(backlogs)")
            self._guard(body, naming)
            block.add("place = 0")
            with block.inside("while backlogs[place] > wait:"):
                block.add("place += 1")
            block.add(f"backlogs[place] += {self._time(naming)}")
            block.add("rows.append((wait, size))")

    def _ends(self, body: Body, naming: Naming) -> None:
        """The ends of all services so far, in a list."""
        block = body.block
        add_lines(
            block,
            f"""
            rows = []
            arrivals = []
            for pause, _ in {self.nouns[1]}:
                arrivals.append(pause + (arrivals[-1] if arrivals else 0))
            ends = [0]
            """,
        )
        with block.inside(f"for arrival, (_, size) in zip(arrivals, {self.nouns[1]}):"):
            block.add("start = max(arrival, ends[-1])")
            block.add("wait = start - arrival")
            self._guard(body, naming)
            block.add(f"ends.append(start + {self._time(naming)})")
            block.add("rows.append((wait, size))")


def draw_queue(rng: Random) -> tuple[Producer, str]:
    time = None
    if rng.random() < 0.65:
        time = draw_integer(rng, [TASK], rng.choice([1, 1, 2]))
        low, high = time.range()
        if low < 1 or high > 30:
            raise NothingDrawn
    leaves = None
    if rng.random() < 0.65:
        leaves = draw_test(rng, rng.choice([[WAIT], [WAIT, TASK], [WAIT, TASK]]), 1)
        if leaves.evaluate({"w": 0, "d": 4}) and leaves.evaluate({"w": 0, "d": 7}):
            raise NothingDrawn
    nouns = rng.choice([
        ("customer", "customers", "counter"), ("patient", "patients", "doctor"),
        ("visitor", "visitors", "gate"), ("caller", "callers", "clerk"),
        ("guest", "guests", "waiter"), ("reader", "readers", "desk"),
    ])  # fmt: skip
    return Queue(rng.choice([1, 1, 2, 3]), time, leaves, nouns), "w"
