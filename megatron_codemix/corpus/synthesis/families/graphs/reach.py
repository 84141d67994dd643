"""Which places can be reached from a start over usable links."""

from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.graphs.endings import (
    Ending,
    draw_ending,
    properties_of,
)
from megatron_codemix.corpus.synthesis.families.graphs.frame import Frame
from megatron_codemix.corpus.synthesis.families.graphs.network import PLACE, Edge, draw_network
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.values import Value
from megatron_codemix.corpus.synthesis.writing.source import Block


@dataclass(frozen=True)
class Reach:
    frame: Frame
    ending: Ending

    def oracle(self, size: int, edges: list[Edge], start: int) -> Value:
        """Warshall's closure of the relation "one link away"."""
        is_linked = [[row == column for column in range(size)] for row in range(size)]
        for first, second, _ in self.frame.network.usable(edges):
            is_linked[first][second] = True
        for middle in range(size):
            for row in range(size):
                for column in range(size):
                    if is_linked[row][middle] and is_linked[middle][column]:
                        is_linked[row][column] = True
        return self.ending.apply([{"v": v} for v in range(size) if is_linked[start][v]])

    def statement(self, rng: Random) -> str:
        theme = self.frame.network.theme
        which = rng.choice(
            [
                f"that can be reached from {theme.place} `start`",
                f"{theme.to_which} from {theme.place} `start`",
            ]
        )
        subjects = {"v": Subject(f"the {theme.place}'s number")}
        note = rng.choice(
            [
                f"{theme.place} `start` itself always counts as reached; a route may use any "
                f"number "
                f"of {theme.links}",
                f"a route may consist of any number of {theme.links}, also of none, so "
                f"{theme.place} `start` is always among those reached",
            ]
        )
        return self.frame.statement(
            rng,
            model=[],
            result=self.ending.say(rng, theme.place, theme.places, which, subjects),
            notes=[note, *self.ending.notes()],
        )

    def _end(self, block: Block, naming: Naming, found: str, *, is_loop: bool) -> None:
        place = self.frame.network.theme.place
        names = naming.renamed({"v": place})
        source = f"{place} in range({self.frame.network.size_name})"
        self.ending.write(block, names, found, source, is_loop=is_loop)

    def _breadth_first(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 0)
        place = self.frame.network.theme.place
        self.frame.network.add_adjacency(block, naming, skips=False)
        block.add("reached = {start}")
        block.add("queue = [start]")
        with (
            block.inside(f"for {place} in queue:"),
            block.inside(f"for neighbour in neighbours[{place}]:"),
            block.inside("if neighbour not in reached:"),
        ):
            block.add("reached.add(neighbour)")
            block.add("queue.append(neighbour)")
        self._end(block, naming, f"{place} in reached", is_loop=False)
        return self.frame.solution("breadth first", block, naming)

    def _depth_first(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 1, uses_helpers=True)
        network, place = self.frame.network, self.frame.network.theme.place
        network.add_adjacency(block, naming, skips=True)
        block.add(f"visited = [False] * {network.size_name}")
        block.add("")
        with block.inside(f"def visit({place}: int) -> None:"):
            block.add(f"visited[{place}] = True")
            with (
                block.inside(f"for neighbour in neighbours[{place}]:"),
                block.inside("if not visited[neighbour]:"),
            ):
                block.add("visit(neighbour)")
        block.add("")
        block.add("visit(start)")
        self._end(block, naming, f"visited[{place}]", is_loop=True)
        return self.frame.solution("recursive", block, naming)

    def _rounds(self) -> Solution:
        """Goes through all links until a round changes nothing."""
        block, naming = self.frame.block(), Naming({}, 0, uses_helpers=True)
        network = self.frame.network
        block.add(f"is_reached = [False] * {network.size_name}")
        block.add("is_reached[start] = True")
        block.add("has_changed = True")
        differ = "is_reached[first] and not is_reached[second]"
        if not network.is_directed:
            differ = "is_reached[first] != is_reached[second]"
        with block.inside("while has_changed:"):
            block.add("has_changed = False")
            with block.inside(network.loop_header()):
                network.add_closed(block, naming)
                with block.inside(f"if {differ}:"):
                    if not network.is_directed:
                        block.add("is_reached[first] = True")
                    block.add("is_reached[second] = True")
                    block.add("has_changed = True")
        self._end(block, naming, f"is_reached[{network.theme.place}]", is_loop=True)
        return self.frame.solution("rounds", block, naming)

    def problem(self) -> Problem:
        theme = self.frame.network.theme
        return self.frame.problem(
            spec=["reach", self.frame.network.spec(), self.ending.spec()],
            statement=self.statement,
            solutions=(self._breadth_first(), self._depth_first(), self._rounds()),
            oracle=self.oracle,
            properties=properties_of(self.ending),
            summary=f"What can be reached from one of the {theme.places}.",
        )


def draw_reach(rng: Random) -> Problem:
    network = draw_network(rng, is_directed=rng.random() < 0.5)
    ending = draw_ending(rng, PLACE)
    name = f"{ending.verb(rng)}_reachable_{network.theme.places}"
    return Reach(Frame(network, name, ending.returns, ("start",)), ending).problem()
