"""How far places are from a start, where each link costs what an expression makes of its weight."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.graphs.endings import (
    Ending,
    draw_ending,
    properties_of,
)
from megatron_codemix.corpus.synthesis.families.graphs.frame import Frame
from megatron_codemix.corpus.synthesis.families.graphs.network import (
    PLACE,
    WEIGHT,
    Edge,
    draw_network,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Value
from megatron_codemix.corpus.synthesis.writing.source import Block

Measure = Literal["sum", "largest"]
"""What the cost of a route is: all its links together, or its most expensive link."""


@dataclass(frozen=True)
class Shortest:
    frame: Frame
    cost: Node
    measure: Measure
    ending: Ending | None
    """None: the distance of the place `goal`, or -1."""

    def _joined(self, one: int, other: int) -> int:
        return one + other if self.measure == "sum" else max(one, other)

    def oracle(self, size: int, edges: list[Edge], start: int, goal: int = 0) -> Value:
        """Floyd and Warshall: ways through ever more places."""
        best: dict[tuple[int, int], int] = {(place, place): 0 for place in range(size)}
        for first, second, weight in self.frame.network.usable(edges):
            cost = self.cost.evaluate({"w": weight})
            best[first, second] = min(cost, best.get((first, second), cost))
        for middle in range(size):
            for row in range(size):
                for column in range(size):
                    if (row, middle) in best and (middle, column) in best:
                        way = self._joined(best[row, middle], best[middle, column])
                        best[row, column] = min(way, best.get((row, column), way))
        if self.ending is None:
            return best.get((start, goal), -1)
        rows = [
            {"v": place, "d": best[start, place]} for place in range(size) if (start, place) in best
        ]
        return self.ending.apply(rows)

    def statement(self, rng: Random) -> str:
        theme = self.frame.network.theme
        cost = self.cost.phrase(rng, {"w": Subject(f"its {theme.weight}")})
        whole = {"sum": "the sum of the costs of its", "largest": "the largest cost among its"}
        model = [
            rng.choice(
                [
                    f"using {theme.a_link} costs something, namely {cost}",
                    f"the cost of {theme.a_link} is {cost}",
                ]
            ),
            f"the cost of a route is {whole[self.measure]} {theme.links}, and a route without any "
            "costs 0",
        ]
        if self.ending is None:
            result = rng.choice(
                [
                    f"the smallest cost of a route from {theme.place} `start` to {theme.place} "
                    "`goal`, or -1 if there is no route",
                    f"what the cheapest route from {theme.place} `start` to {theme.place} `goal` "
                    "costs; if `goal` cannot be reached, the result is -1",
                ]
            )
            notes = sorted(self.cost.notes())
        else:
            model.append(
                f"the distance of {theme.a_place} is the smallest cost of a route to it from "
                f"{theme.place} `start`"
            )
            subjects = {
                "v": Subject(f"the {theme.place}'s number"),
                "d": Subject("its distance"),
            }
            which = (
                f"that can be reached from {theme.place} `start` ({theme.place} `start` included)"
            )
            result = self.ending.say(rng, theme.place, theme.places, which, subjects)
            notes = sorted({*self.cost.notes(), *self.ending.notes()})
        return self.frame.statement(rng, model=model, result=result, notes=notes)

    def _step(self, naming: Naming, at: str) -> str:
        """The cost of a route that was at `at` and takes one more link."""
        cost = self.cost.python(naming.renamed(self.frame.network.names()))
        return f"{at} + {cost:product}" if self.measure == "sum" else f"max({at}, {cost})"

    def _end(self, block: Block, naming: Naming, container: str, *, is_loop: bool) -> None:
        """`container`: a dictionary of distances by place."""
        if self.ending is None:
            block.add(f"return {container}.get(goal, -1)")
            return
        place = self.frame.network.theme.place
        names = naming.renamed({"v": place, "d": "distance"})
        pair = f"{place}, distance"
        uses_distance = "d" in self.ending.variables()
        rows = f"{container}.items()" if uses_distance else container
        rows = f"sorted({rows})" if self.ending.kind == "list" else rows
        source = f"{pair if uses_distance else place} in {rows}"
        self.ending.write(block, names, "", source, is_loop=is_loop)

    def _relaxing(self) -> Solution:
        """Bellman and Ford, until nothing gets cheaper."""
        block, naming = self.frame.block(), Naming({}, 0)
        network = self.frame.network
        block.add("distances = {start: 0}")
        block.add("has_changed = True")
        with block.inside("while has_changed:"):
            block.add("has_changed = False")
            with block.inside(network.loop_header(uses_weight=True)):
                network.add_closed(block, naming)
                ends = "(first, second)" if network.is_directed else ""
                if ends:
                    self._relax(block, naming, "first", "second")
                else:
                    with block.inside("for near, far in ((first, second), (second, first)):"):
                        self._relax(block, naming, "near", "far")
        self._end(block, naming, "distances", is_loop=False)
        return self.frame.solution("relaxation", block, naming)

    def _relax(self, block: Block, naming: Naming, near: str, far: str) -> None:
        with block.inside(f"if {near} in distances:"):
            block.add(f"candidate = {self._step(naming, f'distances[{near}]')}")
            with block.inside(f"if {far} not in distances or candidate < distances[{far}]:"):
                block.add(f"distances[{far}] = candidate")
                block.add("has_changed = True")

    def _settling(self) -> Solution:
        """Dijkstra: the cheapest place that is not final yet becomes final."""
        block, naming = self.frame.block(), Naming({}, 1, uses_helpers=True)
        network, theme = self.frame.network, self.frame.network.theme
        cost = self.cost.python(naming.renamed(network.names()))
        network.add_adjacency(block, naming, skips=True, entry=str(cost))
        block.add("open_costs = {start: 0}")
        block.add("final = {}")
        with block.inside("while open_costs:"):
            block.add(f"{theme.place} = min(open_costs, key=lambda one: (open_costs[one], one))")
            block.add(f"cost_so_far = open_costs.pop({theme.place})")
            block.add(f"final[{theme.place}] = cost_so_far")
            with (
                block.inside(f"for neighbour, cost in neighbours[{theme.place}]:"),
                block.inside("if neighbour not in final:"),
            ):
                way = "cost_so_far + cost" if self.measure == "sum" else "max(cost_so_far, cost)"
                block.add(f"way = {way}")
                block.add("open_costs[neighbour] = min(way, open_costs.get(neighbour, way))")
        self._end(block, naming, "final", is_loop=True)
        return self.frame.solution("settling", block, naming)

    def problem(self) -> Problem:
        spec = ["shortest", self.frame.network.spec(), self.cost.spec(), self.measure]
        theme = self.frame.network.theme
        return self.frame.problem(
            spec=[*spec, self.ending and self.ending.spec()],
            statement=self.statement,
            solutions=(self._relaxing(), self._settling()),
            oracle=self.oracle,
            properties=properties_of(self.ending) if self.ending else (),
            summary=f"The cheapest routes from one of the {theme.places}.",
        )


def draw_shortest(rng: Random) -> Problem:
    network = draw_network(rng, is_directed=rng.random() < 0.5)
    cost = draw_integer(rng, [WEIGHT], rng.choice([1, 1, 2]))
    low, high = cost.range()
    if low < 0:  # a cost below zero could make routes cheaper without end
        raise NothingDrawn
    measure: Measure = "sum" if rng.random() < 0.7 else "largest"
    theme = network.theme
    if rng.random() < 0.35:
        name = f"{rng.choice(['cheapest', 'lowest', 'best'])}_{theme.link}_cost"
        frame = Frame(network, name, Int(-1, 7 * high), ("start", "goal"))
        return Shortest(frame, cost, measure, None).problem()
    most = 7 * high if measure == "sum" else high
    distance = Variable("d", Int(0, min(most, 60)), "int", (0, most))
    ending = draw_ending(rng, PLACE, distance)
    name = f"{ending.verb(rng)}_{rng.choice(['near', 'distant', 'connected'])}_{theme.places}"
    frame = Frame(network, name, ending.returns, ("start",))
    return Shortest(frame, cost, measure, ending).problem()
