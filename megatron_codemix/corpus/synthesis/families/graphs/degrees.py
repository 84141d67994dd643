"""Places by their own links: how many leave and arrive, and what their weights come to."""

from dataclasses import dataclass
from random import Random

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
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Value
from megatron_codemix.corpus.synthesis.writing.source import Block


@dataclass(frozen=True)
class Degrees:
    """Each place has a load: the sum, over its links, of `amount` (1 where it is None)."""

    frame: Frame
    side: str
    """Of directed links: "out", "in"; "" where links have no direction."""
    amount: Node | None
    ending: Ending

    def oracle(self, size: int, edges: list[Edge]) -> Value:
        loads = []
        for place in range(size):
            ends = [
                edge[0 if self.side == "out" else 1] == place
                for edge in self.frame.network.usable(edges)
            ]
            usable = self.frame.network.usable(edges)
            amounts = [
                1 if self.amount is None else self.amount.evaluate({"w": edge[2]})
                for edge, is_here in zip(usable, ends, strict=True)
                if is_here
            ]
            loads.append({"v": place, "d": sum(amounts)})
        return self.ending.apply(loads)

    def _of(self) -> str:
        theme = self.frame.network.theme
        which = {"out": "that leave it", "in": "that lead to it", "": "at it"}[self.side]
        return f"the usable {theme.links} {which}"

    def statement(self, rng: Random) -> str:
        theme = self.frame.network.theme
        if self.amount is None:
            model = f"the degree of {theme.a_place} is the number of {self._of()}"
        else:
            amount = self.amount.phrase(rng, {"w": Subject(f"its {theme.weight}")})
            model = (
                f"{theme.a_place} has a load, which is a sum over {self._of()}: each adds {amount}"
            )
        if not self.side:
            model += f"; {theme.a_link} from {theme.a_place} to itself counts twice there"
        word = "degree" if self.amount is None else "load"
        subjects = {"v": Subject(f"the {theme.place}'s number"), "d": Subject(f"its {word}")}
        which = rng.choice(["in the input", "there are"])
        result = self.ending.say(rng, theme.place, theme.places, which, subjects)
        result = result.replace(f" {which} and for which", " for which").replace(f" {which}", "")
        notes = set(self.ending.notes()) | (self.amount.notes() if self.amount else set())
        return self.frame.statement(rng, model=[model], result=result, notes=sorted(notes))

    def _ends(self) -> list[str]:
        return {"out": ["first"], "in": ["second"], "": ["first", "second"]}[self.side]

    def _amount(self, naming: Naming) -> str:
        if self.amount is None:
            return "1"
        return str(self.amount.python(naming.renamed(self.frame.network.names())))

    def _counting(self) -> Solution:
        """One pass over the links."""
        block, naming = self.frame.block(), Naming({}, 0)
        network = self.frame.network
        name = "degrees" if self.amount is None else "loads"
        block.add(f"{name} = [0] * {network.size_name}")
        ends = self._ends()
        with block.inside(network.loop_header(uses_weight=self.amount is not None, ends=ends)):
            network.add_closed(block, naming)
            for end in ends:
                block.add(f"{name}[{end}] += {self._amount(naming)}")
        self._end(block, naming, name, is_loop=False)
        return self.frame.solution("one pass", block, naming)

    def _end(self, block: Block, naming: Naming, name: str, *, is_loop: bool) -> None:
        place = self.frame.network.theme.place
        own = name.removesuffix("s")
        names = naming.renamed({"v": place, "d": own})
        source = f"{place}, {own} in enumerate({name})"
        if "v" not in self.ending.variables():
            source = f"{own} in {name}"
        elif "d" not in self.ending.variables():
            source = f"{place} in range({self.frame.network.size_name})"
        self.ending.write(block, names, "", source, is_loop=is_loop)

    def _asking(self) -> Solution:
        """All links for each place, by a function."""
        block, naming = self.frame.block(), Naming({}, 1, uses_helpers=True)
        network, theme = self.frame.network, self.frame.network.theme
        name = "degrees" if self.amount is None else "loads"
        block.add("usable = []")
        ends = self._ends()
        with block.inside(network.loop_header(uses_weight=self.amount is not None, ends=ends)):
            test = network.test_code(naming)
            if test is None:
                for end in ends:
                    block.add(f"usable.append(({end}, {self._amount(naming)}))")
            else:
                with block.inside(f"if {test}:"):
                    for end in ends:
                        block.add(f"usable.append(({end}, {self._amount(naming)}))")
        block.add(f"{name} = []")
        with block.inside(f"for {theme.place} in range({network.size_name}):"):
            block.add(f"amounts = [amount for end, amount in usable if end == {theme.place}]")
            block.add(f"{name}.append(sum(amounts))")
        self._end(block, naming, name, is_loop=True)
        return self.frame.solution("place by place", block, naming)

    def problem(self) -> Problem:
        spec = ["degrees", self.frame.network.spec(), self.side]
        return self.frame.problem(
            spec=[*spec, self.amount and self.amount.spec(), self.ending.spec()],
            statement=self.statement,
            solutions=(self._counting(), self._asking()),
            oracle=self.oracle,
            properties=properties_of(self.ending),
            summary=f"What the {self.frame.network.theme.links} at each place come to.",
        )


def draw_degrees(rng: Random) -> Problem:
    is_directed = rng.random() < 0.6
    network = draw_network(rng, is_directed=is_directed)
    side = rng.choice(["out", "in"]) if is_directed else ""
    amount = draw_integer(rng, [WEIGHT], rng.choice([1, 1, 2])) if rng.random() < 0.7 else None
    low, high = (1, 1) if amount is None else amount.range()
    if low < 0:
        raise NothingDrawn
    load = Variable("d", Int(0, min(6 * high, 40)), "int", (0, 32 * high))
    ending = draw_ending(rng, PLACE, load)
    if "d" not in ending.variables():
        raise NothingDrawn
    word = rng.choice(["busy", "linked", "loaded", "used"])
    name = f"{ending.verb(rng)}_{word}_{network.theme.places}"
    return Degrees(Frame(network, name, ending.returns), side, amount, ending).problem()
