"""A staircase that is climbed in steps of certain sizes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import (
    Aim,
    Plan,
    best_of,
    type_of,
)
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

HEIGHT = 18
STAIR = Variable("k", Int(1, HEIGHT), "int", (1, HEIGHT))
STEP = Variable("d", Int(1, 6), "int", (1, 6))
_THEMES = (
    ("height", "stair", "stairs", "climbs a staircase"),
    ("width", "stone", "stones", "crosses a river on stones"),
    ("distance", "mark", "marks", "moves a token along a line of marks"),
    ("goal", "field", "fields", "moves a pawn along a row of fields"),
)


@dataclass(frozen=True)
class Stairs:
    theme: tuple[str, str, str, str]
    """The parameter; a place and its plural; what somebody does."""
    aim: Aim
    closed: Node | None
    """Of the number `k` of a place: it cannot be stepped on. The start never is closed."""
    cost: Node | None
    """Of a step onto `k` by `d`; None where ways are counted."""

    def name(self) -> str:
        head = {"least": "cheapest_way", "most": "best_way", "count": "count_ways"}[self.aim]
        return f"{head}_over_{self.theme[2]}"

    def title(self) -> str:
        return f"Ways over {self.theme[2]}, in steps of given sizes."

    def spec(self) -> Any:
        return ["stairs", self.aim, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        return Parameter(self.theme[0], Int(0, HEIGHT)), Parameter("steps", ListOf(Int(1, 6)))

    def returns(self) -> Type:
        return type_of(self.aim)

    def given(self) -> list[Given]:
        return [
            Given(self.theme[0], "an integer that is not negative"),
            Given("steps", "a list of different positive integers"),
        ]

    def model(self, rng: Random) -> list[str]:
        goal, place, places, does = self.theme
        subjects = {"k": Subject(f"the number of the {place}"), "d": Subject("the step's size")}
        said = [
            f"somebody {does}, from {place} 0 to {place} `{goal}`; each step goes forward by one "
            "of the sizes in `steps`, any of which may be used any number of times",
        ]
        if self.closed is not None:
            clause = self.closed.condition(rng, subjects).clause()
            said.append(
                rng.choice(
                    [
                        f"{places} are closed if {clause}, and no step may end on a closed {place}",
                        f"no step may end on a {place} if {clause}",
                    ]
                )
                + f"; {place} 0 may always be used as the start"
            )
        if self.cost is not None:
            subjects["k"] = Subject(f"the number of the {place} on which it ends")
            subjects["d"] = Subject("its size")
            word = "costs" if self.aim == "least" else "scores"
            said.append(f"a step {word} {self.cost.phrase(rng, subjects)}")
        if self.aim == "count":
            said.append(
                "ways that take the same steps in another order are different; "
                f"if `{goal}` is 0, there is one way, without any step"
            )
        else:
            said.append(f"if `{goal}` is 0, no step is needed and the total is 0")
        return said

    def result(self, rng: Random) -> str:
        goal = self.theme[0]
        if self.aim == "count":
            return rng.choice(["the number of different ways", "how many different ways there are"])
        total = "total cost" if self.aim == "least" else "total score"
        word = rng.choice(["smallest", "lowest"] if self.aim == "least" else ["largest", "highest"])
        return f"the {word} {total} of a way, or `None` if `{goal}` cannot be reached exactly"

    def nodes(self) -> Sequence[Node | None]:
        return [self.closed, self.cost]

    def oracle(self, goal: int, steps: list[int]) -> int | None:
        """By the number of steps: what can be reached with exactly so many."""
        reached: dict[int, tuple[int, int]] = {0: (1, 0)}  # ways, best total
        ways, best = 0, []
        pick = min if self.aim == "least" else max
        for _ in range(goal + 1):
            if goal in reached:
                ways += reached[goal][0]
                best.append(reached[goal][1])
            following: dict[int, tuple[int, int]] = {}
            for place, (count, total) in sorted(reached.items()):
                for size in steps:
                    values = {"k": place + size, "d": size}
                    if place + size > goal:
                        continue
                    if self.closed is not None and self.closed.evaluate(values):
                        continue
                    new = total + (self.cost.evaluate(values) if self.cost else 0)
                    old = following.get(place + size, (0, new))
                    following[place + size] = (old[0] + count, pick(old[1], new))
            reached = following
        if self.aim == "count":
            return ways
        return pick(best) if best else None

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield 0, [1, 2]
        yield 3, []
        yield 1, [1]
        while True:
            steps = rng.sample(range(1, 7), rng.randint(1, 4))
            yield rng.randint(2, HEIGHT), steps

    def styles(self) -> tuple[str, ...]:
        return ("table", "recursive", "forward")

    def _codes(self, naming: Naming, place: str) -> tuple[str, str]:
        own = naming.renamed({"k": place, "d": "step"})
        closed = "" if self.closed is None else f"{self.closed.python(own)}"
        cost = "" if self.cost is None else f"{self.cost.python(own):product}"
        return closed, cost

    def write(self, style: str, block: Block, naming: Naming) -> None:
        if style == "table":
            self._table(block, naming)
        elif style == "recursive":
            self._recursive(block, naming)
        else:
            self._forward(block, naming)

    def _table(self, block: Block, naming: Naming) -> None:
        """For each place the answer by the last step."""
        goal, is_count = self.theme[0], self.aim == "count"
        closed, cost = self._codes(naming, "place")
        nothing = "0" if is_count else "None"
        name = "ways" if is_count else "best"
        block.add(f"{name} = [{int(is_count)}] + [{nothing}] * {goal}")
        with block.inside(f"for place in range(1, {goal} + 1):"):
            if closed:
                add_lines(block, f"if {closed}:\n    continue")
            if is_count:
                block.add(
                    "ways[place] = sum(ways[place - step] for step in steps if step <= place)"
                )
            else:
                add_lines(
                    block,
                    f"""
                    options = []
                    for step in steps:
                        if step <= place and best[place - step] is not None:
                            options.append(best[place - step] + {cost})
                    best[place] = {best_of(self.aim)}(options, default=None)
                    """,
                )
        block.add(f"return {name}[{goal}]")

    def _recursive(self, block: Block, naming: Naming) -> None:
        """From a place to the goal."""
        goal, is_count = self.theme[0], self.aim == "count"
        closed, cost = self._codes(naming, "following")
        test = f"following > {goal}"
        if closed:
            test += f" or {closed}"
        block.add("known = {}")
        block.add("")
        with block.inside(f"def answer_from(place: int) -> {self.returns().python()}:"):
            add_lines(block, f"if place == {goal}:\n    return {int(is_count)}")
            with block.inside("if place not in known:"):
                block.add("ways = 0" if is_count else "options = []")
                with block.inside("for step in steps:"):
                    block.add("following = place + step")
                    add_lines(block, f"if {test}:\n    continue")
                    if is_count:
                        block.add("ways += answer_from(following)")
                    else:
                        add_lines(
                            block,
                            f"""
                            rest = answer_from(following)
                            if rest is not None:
                                options.append(rest + {cost})
                            """,
                        )
                pick = "ways" if is_count else f"{best_of(self.aim)}(options, default=None)"
                block.add(f"known[place] = {pick}")
            block.add("return known[place]")
        block.add("")
        block.add("return answer_from(0)")

    def _forward(self, block: Block, naming: Naming) -> None:
        """A dictionary of the places that can be reached."""
        goal, is_count = self.theme[0], self.aim == "count"
        closed, cost = self._codes(naming, "following")
        block.add(f"reached = {{0: {int(is_count)}}}")
        with block.inside(f"for place in range({goal}):"):
            add_lines(block, "if place not in reached:\n    continue")
            with block.inside("for step in steps:"):
                block.add("following = place + step")
                if closed:
                    add_lines(block, f"if {closed}:\n    continue")
                if is_count:
                    block.add("reached[following] = reached.get(following, 0) + reached[place]")
                else:
                    add_lines(
                        block,
                        f"""
                        option = reached[place] + {cost}
                        earlier = reached.get(following, option)
                        reached[following] = {best_of(self.aim)}(earlier, option)
                        """,
                    )
        default = ", 0" if is_count else ""
        block.add(f"return reached.get({goal}{default})")


def draw_stairs(rng: Random) -> Plan:
    aim: Aim = rng.choice(["least", "least", "most", "most", "count"])
    closed = None
    if aim == "count" or rng.random() < 0.8:
        for _ in range(30):
            closed = draw_test(rng, [STAIR], rng.choice([1, 2, 2]))
            share = sum(bool(closed.evaluate({"k": k})) for k in range(1, HEIGHT + 1))
            if share <= 0.45 * HEIGHT:
                break
        else:
            raise NothingDrawn
    cost = None
    if aim != "count":
        cost = draw_integer(rng, rng.choice([[STAIR], [STAIR, STEP], [STAIR, STEP]]),
                            rng.choice([1, 2, 2]))  # fmt: skip
    return Stairs(rng.choice(_THEMES), aim, closed, cost)
