"""Groups of places that hang together by usable links, in either direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.families.graphs.frame import Frame
from megatron_codemix.corpus.synthesis.families.graphs.network import (
    MOST_PLACES,
    Edge,
    draw_network,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Problem, Property, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block

SIZE = Variable("s", Int(1, MOST_PLACES), "int", (1, MOST_PLACES))
LEAST = Variable("m", Int(0, MOST_PLACES - 1), "int", (0, MOST_PLACES - 1))
TOTAL = Variable("t", Int(0, 28), "int", (0, 28))
_WORDS = {
    "s": "its size (the number of its members)",
    "m": "the smallest number among its members",
    "t": "the sum of the numbers of its members",
}
_SHORT = {"s": "its size", "m": "its smallest member", "t": "the sum of its members"}
Kind = Literal["count", "sum", "list", "largest"]


@dataclass(frozen=True)
class Groups:
    """What is made of the groups: `test` says which count, `value` what is taken of each."""

    kind: Kind
    test: Node | None
    value: Node

    @property
    def returns(self) -> Type:
        return ListOf(Int()) if self.kind == "list" else Int()

    def spec(self) -> Any:
        return [self.kind, self.test and self.test.spec(), self.value.spec()]

    def apply(self, groups: Sequence[set[int]]) -> Value:
        rows = [{"s": len(one), "m": min(one), "t": sum(one)} for one in groups]
        kept = [row for row in rows if self.test is None or self.test.evaluate(row)]
        values = sorted(self.value.evaluate(row) for row in kept)
        if self.kind == "count":
            return len(values)
        if self.kind == "sum":
            return sum(values)
        return values if self.kind == "list" else (values or [0])[-1]

    def say(self, rng: Random) -> str:
        subjects = {name: Subject(words) for name, words in _WORDS.items()}
        again = {name: Subject(words) for name, words in _SHORT.items()}
        such = "all groups"
        if self.test is not None:
            such = f"all groups for which {self.test.condition(rng, subjects).clause()}"
            if self.test.variables() & self.value.variables():
                subjects = again
        of = self.value.phrase(rng, subjects)
        if self.kind == "count":
            return f"the number of {such.removeprefix('all ')}"
        if self.kind == "list":
            each = such.replace("all groups", "each group")
            return f"a list in ascending order that has one entry for {each}, namely {of}"
        if self.kind == "sum":
            return f"the sum, over {such}, of {of} (0 if there is no such group)"
        return f"the largest value, over {such}, of {of}; it is 0 if there is no such group"

    def notes(self) -> list[str]:
        nodes = [self.value] if self.test is None else [self.test, self.value]
        return sorted(set().union(*(one.notes() for one in nodes)))

    def write(self, block: Block, naming: Naming, source: str) -> None:
        """`source`: a list of lists of members, each called `group`."""
        names = naming.renamed({"s": "len(group)", "m": "min(group)", "t": "sum(group)"})
        condition = "" if self.test is None else f" if {self.test.python(names):or}"
        rows = f"for group in {source}{condition}"
        value = self.value.python(names)
        if self.kind == "count":
            block.add(f"return sum(1 {rows})" if condition else f"return len({source})")
        elif self.kind == "sum":
            block.add(f"return sum({value} {rows})")
        elif self.kind == "list":
            block.add(f"return sorted({value} {rows})")
        else:
            block.add(f"return max(({value} {rows}), default=0)")


@dataclass(frozen=True)
class Components:
    frame: Frame
    groups: Groups

    def oracle(self, size: int, edges: list[Edge]) -> Value:
        """Sets that are united link by link."""
        sets = [{place} for place in range(size)]
        for edge in edges:
            if self.frame.network.allows(edge):
                touched = [one for one in sets if one & {edge[0], edge[1]}]
                sets = [one for one in sets if one not in touched] + [set().union(*touched)]
        return self.groups.apply(sets)

    def statement(self, rng: Random) -> str:
        theme = self.frame.network.theme
        model = rng.choice(
            [
                f"two {theme.places} belong to the same group if there is a route of usable "
                f"{theme.links} between them; {theme.a_place} without any usable {theme.link} is a "
                "group by itself",
                f"{theme.places} that are joined by usable {theme.links}, directly or over others, "
                f"form a group, so that each of the {theme.places} belongs to exactly one group "
                "(perhaps alone)",
            ]
        )
        return self.frame.statement(
            rng, model=[model], result=self.groups.say(rng), notes=self.groups.notes()
        )

    def _walking(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 0)
        network, place = self.frame.network, self.frame.network.theme.place
        network.add_adjacency(block, naming, skips=False)
        block.add("groups = []")
        block.add("seen = set()")
        with block.inside(f"for {place} in range({network.size_name}):"):
            with block.inside(f"if {place} in seen:"):
                block.add("continue")
            block.add(f"group = [{place}]")
            block.add(f"seen.add({place})")
            with (
                block.inside("for member in group:"),
                block.inside("for neighbour in neighbours[member]:"),
                block.inside("if neighbour not in seen:"),
            ):
                block.add("seen.add(neighbour)")
                block.add("group.append(neighbour)")
            block.add("groups.append(group)")
        self.groups.write(block, naming, "groups")
        return self.frame.solution("walking", block, naming)

    def _uniting(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 1, uses_helpers=True)
        network, place = self.frame.network, self.frame.network.theme.place
        block.add(f"leader = list(range({network.size_name}))")
        with block.inside(network.loop_header()):
            network.add_closed(block, naming)
            block.add("old, new = leader[first], leader[second]")
            block.add("leader = [new if one == old else one for one in leader]")
        block.add("members = {}")
        with block.inside(f"for {place}, head in enumerate(leader):"):
            block.add(f"members.setdefault(head, []).append({place})")
        self.groups.write(block, naming, "members.values()")
        return self.frame.solution("labels", block, naming)

    def _finding(self) -> Solution:
        block, naming = self.frame.block(), Naming({}, 1)
        network, place = self.frame.network, self.frame.network.theme.place
        block.add(f"parents = list(range({network.size_name}))")
        block.add("")
        with block.inside(f"def root_of({place}: int) -> int:"):
            with block.inside(f"while parents[{place}] != {place}:"):
                block.add(f"{place} = parents[{place}]")
            block.add(f"return {place}")
        block.add("")
        with block.inside(network.loop_header()):
            network.add_closed(block, naming)
            block.add("parents[root_of(first)] = root_of(second)")
        block.add("groups = {}")
        with block.inside(f"for {place} in range({network.size_name}):"):
            block.add(f"groups.setdefault(root_of({place}), []).append({place})")
        self.groups.write(block, naming, "groups.values()")
        return self.frame.solution("union-find", block, naming)

    def problem(self) -> Problem:
        theme = self.frame.network.theme
        properties: tuple[Property, ...] = ()
        if self.groups.kind == "count":
            properties = (Property("There are at most as many groups as places.", _at_most_all),)
        return self.frame.problem(
            spec=["components", self.frame.network.spec(), self.groups.spec()],
            statement=self.statement,
            solutions=(self._walking(), self._uniting(), self._finding()),
            oracle=self.oracle,
            properties=properties,
            summary=f"Groups of {theme.places} that are joined by {theme.links}.",
        )


def _at_most_all(given: tuple[Value, ...], result: Value) -> bool:
    return bool(0 <= result <= given[0])


def draw_components(rng: Random) -> Problem:
    network = draw_network(rng, is_directed=False)
    kind: Kind = rng.choice(["count", "sum", "list", "largest"])
    measures = [SIZE, LEAST, TOTAL]
    tested = [rng.choice(measures)] if rng.random() < 0.6 else rng.sample(measures, 2)
    test = draw_test(rng, tested, 1) if kind == "count" or rng.random() < 0.6 else None
    valued = [rng.choice(measures)] if rng.random() < 0.5 else rng.sample(measures, 2)
    value = draw_integer(rng, valued, rng.choice([1, 1, 2]))
    if kind == "count":
        value = draw_integer(rng, [SIZE], 0)
    if value.range()[0] < 0 and kind == "largest":
        kind = "list"
    groups = Groups(kind, test, value)
    noun = rng.choice(["groups", "clusters", "regions", "networks"])
    verb = {"count": "count", "sum": "sum_over", "list": "list", "largest": "largest_of"}[kind]
    return Components(
        Frame(network, f"{verb}_{network.theme.place}_{noun}", groups.returns), groups
    ).problem()
