"""Routes on a network whose links only lead upwards: how many there are, or what the best one
gains."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.graphs.frame import Frame
from megatron_codemix.corpus.synthesis.families.graphs.network import (
    PLACE,
    WEIGHT,
    Edge,
    draw_network,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node
from megatron_codemix.corpus.synthesis.problem import Arguments, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Maybe, Value
from megatron_codemix.corpus.synthesis.writing.source import Block

Kind = Literal["count", "gain"]


@dataclass(frozen=True)
class Routes:
    frame: Frame
    kind: Kind
    gain: Node
    """Of a link, by its weight."""
    bonus: Node | None
    """Of a place that a route comes to, by its number."""
    stop: Node | None
    """Places that may not be passed through, by their number; `start` and `goal` always may."""

    def _value(self, edge: Edge) -> int:
        bonus = 0 if self.bonus is None else int(self.bonus.evaluate({"v": edge[1]}))
        return int(self.gain.evaluate({"w": edge[2]})) + bonus

    def oracle(self, size: int, edges: list[Edge], start: int, goal: int) -> Value:
        """All routes, one by one."""
        usable = [edge for edge in self.frame.network.usable(edges) if edge[0] < edge[1]]
        found: list[int] = []
        unfinished = [(start, 0)]
        while unfinished:
            place, gained = unfinished.pop(0)
            if place == goal:
                found.append(gained)
            unfinished += [
                (edge[1], gained + self._value(edge))
                for edge in usable
                if edge[0] == place and self._may_enter(edge[1], goal)
            ]
        if self.kind == "count":
            return len(found)
        return sorted(found)[-1] if found else None

    def _may_enter(self, place: int, goal: int) -> bool:
        return place == goal or self.stop is None or not self.stop.evaluate({"v": place})

    def statement(self, rng: Random) -> str:
        theme = self.frame.network.theme
        model: list[str] = []
        if self.stop is not None:
            condition = self.stop.condition(rng, {"v": Subject("its number", False)}).clause()
            model.append(
                f"{theme.a_place} is closed if {condition}; no route may enter a closed "
                f"{theme.place}, except that every route may begin at `start` and end at `goal`"
            )
        model.append(
            f"every {theme.link} leads from a smaller to a larger number; routes that use "
            f"different {theme.links} are different, even between the same {theme.places}"
        )
        notes: set[str] = set()
        if self.kind == "count":
            result = (
                f"the number of different routes from {theme.place} `start` to {theme.place} "
                f"`goal` "
                "(1, the route without any steps, if the two are the same)"
            )
        else:
            gain = self.gain.phrase(rng, {"w": Subject(f"its {theme.weight}")})
            text = f"a route gains, for each {theme.link} in it, {gain}"
            notes |= self.gain.notes()
            if self.bonus is not None:
                bonus = self.bonus.phrase(rng, {"v": Subject(f"that {theme.place}'s number")})
                text += (
                    f", and for each {theme.place} it enters (all but the first one), also {bonus}"
                )
                notes |= self.bonus.notes()
            model.append(text)
            result = (
                f"the largest gain of a route from {theme.place} `start` to {theme.place} `goal`; "
                "0 if the two are the same, and `None` if there is no route"
            )
        return self.frame.statement(rng, model=model, result=result, notes=sorted(notes))

    def _step(self, naming: Naming) -> str:
        gain = self.gain.python(naming.renamed(self.frame.network.names()))
        if self.bonus is None:
            return f"{gain}"
        bonus = self.bonus.python(naming.renamed({"v": "second"}))
        return f"{gain:sum} + {bonus:product}"

    def _add_next(self, block: Block, naming: Naming) -> None:
        """Statements that make `onward`: for each place what links lead on from it."""
        network, is_count = self.frame.network, self.kind == "count"
        block.add(f"onward = [[] for _ in range({network.size_name})]")
        with block.inside(network.loop_header(uses_weight=not is_count)):
            network.add_closed(block, naming)
            if self.stop is not None:
                test = self.stop.python(naming.renamed({"v": "second"}))
                with block.inside(f"if second != goal and {test:and}:"):
                    block.add("continue")
            entry = "second" if is_count else f"(second, {self._step(naming)})"
            block.add(f"onward[first].append({entry})")

    def _recursive(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 0)
        place, is_count = self.frame.network.theme.place, self.kind == "count"
        self._add_next(block, naming)
        block.add("")
        header = "routes_from" if is_count else "best_from"
        result = "int" if is_count else "int | None"
        with block.inside(f"def {header}({place}: int) -> {result}:"):
            with block.inside(f"if {place} == goal:"):
                block.add(f"return {1 if is_count else 0}")
            if is_count:
                block.add(f"return sum(routes_from(later) for later in onward[{place}])")
            else:
                block.add("best = None")
                with block.inside(f"for later, gain in onward[{place}]:"):
                    block.add("rest = best_from(later)")
                    with block.inside(
                        "if rest is not None and (best is None or gain + rest > best):"
                    ):
                        block.add("best = gain + rest")
                block.add("return best")
        block.add("")
        block.add(f"return {header}(start)")
        return self.frame.solution("recursive", block, naming)

    def _table(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 1, uses_helpers=True)
        network, is_count = self.frame.network, self.kind == "count"
        place = network.theme.place
        self._add_next(block, naming)
        if is_count:
            block.add(f"routes = [0] * {network.size_name}")
            block.add("routes[start] = 1")
            with (
                block.inside(f"for {place} in range(start, goal):"),
                block.inside(f"for later in onward[{place}]:"),
            ):
                block.add(f"routes[later] += routes[{place}]")
            block.add("return routes[goal]")
        else:
            block.add("best = {start: 0}")
            with block.inside(f"for {place} in range(start, goal):"):
                with block.inside(f"if {place} not in best:"):
                    block.add("continue")
                with block.inside(f"for later, gain in onward[{place}]:"):
                    block.add(f"total = best[{place}] + gain")
                    with block.inside("if later not in best or total > best[later]:"):
                        block.add("best[later] = total")
            block.add("return best.get(goal)")
        return self.frame.solution("table", block, naming)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Links upwards only; start and goal mostly far apart."""
        for size, edges in self.frame.network.graphs(rng):
            upwards = [(min(a, b), max(a, b), weight) for a, b, weight in edges if a != b]
            start = rng.randrange((size + 2) // 3)
            goal = rng.randrange(size) if rng.random() < 0.3 else size - 1
            yield size, upwards, start, goal

    def problem(self) -> Problem:
        parts = [self.gain, self.bonus, self.stop]
        if self.kind == "count":
            parts = [None, None, self.stop]
        return self.frame.problem(
            spec=["routes", self.kind, self.frame.network.spec(), *(p and p.spec() for p in parts)],
            statement=self.statement,
            solutions=(self._table(), self._recursive()),
            oracle=self.oracle,
            inputs=self.inputs,
            summary=f"Routes over {self.frame.network.theme.links} that lead upwards.",
        )


def draw_routes(rng: Random) -> Problem:
    network = draw_network(rng, is_directed=True)
    kind: Kind = "count" if rng.random() < 0.25 else "gain"
    gain = draw_integer(rng, [WEIGHT], rng.choice([1, 1, 2]))
    is_bonus = kind == "gain" and rng.random() < 0.5
    bonus = draw_integer(rng, [PLACE], 1) if is_bonus else None
    stop = draw_test(rng, [PLACE], 1) if rng.random() < (0.9 if kind == "count" else 0.4) else None
    word = rng.choice(["routes", "ways", "trips"])
    verb = (
        "count" if kind == "count" else rng.choice(["best_gain_of", "largest_gain_on", "richest"])
    )
    returns = Int() if kind == "count" else Maybe(Int())
    frame = Frame(network, f"{verb}_{network.theme.place}_{word}", returns, ("start", "goal"))
    return Routes(frame, kind, gain, bonus, stop).problem()
