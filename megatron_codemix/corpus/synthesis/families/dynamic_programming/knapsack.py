"""Things with a weight and a value, of which a bag holds only so much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import (
    Aim,
    Plan,
    best_of,
    settled,
    type_of,
)
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, draw_joined, specs_of
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, TupleOf, Type
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

WEIGHT = Variable("w", Int(1, 9), "int", (1, 9))
VALUE = Variable("v", Int(1, 30), "int", (1, 30))
_THEMES = (
    ("things", "thing", "bag", "weight", "price"), ("crates", "crate", "ship", "weight", "profit"),
    ("films", "film", "evening", "hours", "rating"), ("tasks", "task", "day", "hours", "reward"),
    ("plants", "plant", "garden", "area", "harvest"), ("songs", "song", "disc", "minutes", "plays"),
)  # fmt: skip


@dataclass(frozen=True)
class Knapsack:
    theme: tuple[str, str, str, str, str]
    """Things, one of them, what takes them; the two numbers of each."""
    aim: Aim
    is_exact: bool
    """Whether it must be filled exactly."""
    test: Node | None
    """Which things may be taken: of the weight `w`, the value `v` or both."""
    worth: Node | None
    """What one is worth; None where ways are counted."""

    def name(self) -> str:
        things = self.theme[0]
        return {"least": "cheapest", "most": "best", "count": "count"}[self.aim] + (
            f"_packings_of_{things}" if self.aim == "count" else f"_packing_of_{things}"
        )

    def title(self) -> str:
        return f"Which {self.theme[0]} to take, when there is room for only some."

    def spec(self) -> Any:
        return ["knapsack", self.aim, self.is_exact, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        things = ListOf(TupleOf((Int(1, 9), Int(1, 30))))
        return Parameter(self.theme[0], things), Parameter("room", Int(0, 20))

    def returns(self) -> Type:
        return type_of(self.aim) if self.is_exact else Int()

    def given(self) -> list[Given]:
        things, _, _, weight, value = self.theme
        return [
            Given(things, f"a list of tuples of two positive integers `({weight}, {value})`"),
            Given("room", "an integer that is not negative"),
        ]

    def _subjects(self) -> dict[str, Subject]:
        return {"w": Subject(f"`{self.theme[3]}`"), "v": Subject(f"`{self.theme[4]}`")}

    def model(self, rng: Random) -> list[str]:
        things, one, holder, weight, _ = self.theme
        fills = "exactly `room`" if self.is_exact else "at most `room`"
        said = [
            rng.choice(
                [
                    f"some of the {things} (each at most once, perhaps none) are taken, so that "
                    f"the sum of their `{weight}` is {fills}",
                    f"fill the {holder} with {things}, none of them twice, in such a way that "
                    f"their `{weight}` values add up to {fills}",
                ]
            )
        ]
        if self.test is not None:
            clause = self.test.condition(rng, self._subjects()).clause()
            said.append(
                rng.choice(
                    [f"a {one} may be taken only if {clause}", f"leave out every {one} unless "
                     f"{clause}"]
                )
            )  # fmt: skip
        if self.worth is not None:
            word = "costs" if self.aim == "least" else "is worth"
            said.append(f"a {one} {word} {self.worth.phrase(rng, self._subjects())}")
        return said

    def result(self, rng: Random) -> str:
        things = self.theme[0]
        if self.aim == "count":
            return (
                f"the number of different selections; equal {things} at different places of the "
                "list count as different, and taking nothing is a selection"
                + (" if `room` is 0" if self.is_exact else "")
            )
        word = rng.choice(["smallest", "lowest"] if self.aim == "least" else ["largest", "highest"])
        total = "total cost" if self.aim == "least" else "total worth"
        if self.is_exact:
            return f"the {word} {total} of such a selection (0 for an empty one), or `None` if " \
                "there is none"  # fmt: skip
        return f"the {word} {total} of such a selection; an empty one is worth 0"

    def nodes(self) -> Sequence[Node | None]:
        return [self.test, self.worth]

    def oracle(self, things: list[tuple[int, int]], room: int) -> int | None:
        """All selections, as binary numbers."""
        totals = []
        for mask in range(2 ** len(things)):
            taken = [{"w": w, "v": v} for i, (w, v) in enumerate(things) if mask >> i & 1]
            weight = sum(one["w"] for one in taken)
            if weight > room or (self.is_exact and weight < room):
                continue
            if self.test is None or all(self.test.evaluate(one) for one in taken):
                worth = self.worth
                totals.append(sum(worth.evaluate(one) for one in taken) if worth else 0)
        return settled(self.aim, totals)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield [], 0
        yield [(3, 4)], 2
        yield [(2, 5), (2, 5)], 4
        while True:
            things = [(rng.randint(1, 9), rng.randint(1, 30)) for _ in range(rng.randint(2, 6))]
            room = rng.randint(1, 20)
            if self.is_exact and rng.random() < 0.7:
                room = sum(w for w, _ in rng.sample(things, rng.randint(1, len(things))))
            yield things, min(room, 25)

    def styles(self) -> tuple[str, ...]:
        return ("table", "recursive", "states")

    def _codes(self, naming: Naming) -> tuple[str, str, str]:
        own = naming.renamed({"w": self.theme[3], "v": self.theme[4]})
        test = self.test.python(own) if self.test else None
        barred = f"{negated(test)}" if test else ""
        allowed = f"{test:and}" if test else ""
        worth = "" if self.worth is None else f"{self.worth.python(own):product}"
        return barred, allowed, worth

    def write(self, style: str, block: Block, naming: Naming) -> None:
        barred, allowed, worth = self._codes(naming)
        value = self.theme[4]
        nodes = [node for node in self.nodes() if node is not None]
        reads = any("v" in node.variables() for node in nodes)
        head = f"for {self.theme[3]}, {value if reads else '_'} in {self.theme[0]}:"
        if style == "table":
            self._table(block, head, barred, worth)
        elif style == "recursive":
            self._recursive(block, allowed, worth, value if reads else "_")
        else:
            self._states(block, head, barred, worth)

    def _table(self, block: Block, head: str, barred: str, worth: str) -> None:
        """For each amount of room the answer; from the largest down, so that nothing is taken
        twice."""
        weight, is_count = self.theme[3], self.aim == "count"
        nothing = ("0" if is_count else "None") if self.is_exact else ("1" if is_count else "0")
        first = "1" if is_count else "0"
        start = f"[{first}] + [{nothing}] * room" if self.is_exact else f"[{nothing}] * (room + 1)"
        block.add(f"answers = {start}")
        with block.inside(head):
            if barred:
                add_lines(block, f"if {barred}:\n    continue")
            with block.inside(f"for left in range(room, {weight} - 1, -1):"):
                if is_count:
                    block.add(f"answers[left] += answers[left - {weight}]")
                elif not self.is_exact:
                    block.add(f"option = answers[left - {weight}] + {worth}")
                    block.add(f"answers[left] = {best_of(self.aim)}(answers[left], option)")
                else:
                    sign = "<" if self.aim == "least" else ">"
                    add_lines(
                        block,
                        f"""
                        if answers[left - {weight}] is not None:
                            option = answers[left - {weight}] + {worth}
                            if answers[left] is None or option {sign} answers[left]:
                                answers[left] = option
                        """,
                    )
        block.add("return answers[room]")

    def _recursive(self, block: Block, test: str, worth: str, value: str) -> None:
        """Take or leave each, with what room is left; known answers are kept thing by thing."""
        things, weight, is_count = self.theme[0], self.theme[3], self.aim == "count"
        end = "1" if is_count else "0"
        if self.is_exact:
            end = "1 if left == 0 else 0" if is_count else "0 if left == 0 else None"
        block.add(f"known = [{{}} for _ in {things}]")
        block.add("")
        with block.inside(f"def answer(place: int, left: int) -> {self.returns().python()}:"):
            add_lines(block, f"if place == len({things}):\n    return {end}")
            with block.inside("if left not in known[place]:"):
                block.add(f"{weight}, {value} = {things}[place]")
                block.add("best = answer(place + 1, left)")
                allowed = f"{weight} <= left"
                if test:
                    allowed += f" and {test}"
                with block.inside(f"if {allowed}:"):
                    block.add(f"rest = answer(place + 1, left - {weight})")
                    if is_count:
                        block.add("best += rest")
                    elif not self.is_exact:
                        block.add(f"best = {best_of(self.aim)}(best, rest + {worth})")
                    else:
                        sign = "<" if self.aim == "least" else ">"
                        with block.inside("if rest is not None:"):
                            block.add(f"option = rest + {worth}")
                            with block.inside(f"if best is None or option {sign} best:"):
                                block.add("best = option")
                block.add("known[place][left] = best")
            block.add("return known[place][left]")
        block.add("")
        block.add("return answer(0, room)")
        if is_count:
            block.lines = [line.replace("best", "count") for line in block.lines]

    def _states(self, block: Block, head: str, barred: str, worth: str) -> None:
        """A dictionary from the room that is used to the best that can be had with it."""
        weight, is_count = self.theme[3], self.aim == "count"
        block.add(f"by_{weight} = {{0: {1 if is_count else 0}}}")
        table = f"by_{weight}"
        with block.inside(head):
            if barred:
                add_lines(block, f"if {barred}:\n    continue")
            block.add(f"following = dict({table})")
            entry = "count" if is_count else "total"
            with block.inside(f"for used, {entry} in {table}.items():"):
                block.add(f"new = used + {weight}")
                lines = (
                    "following[new] = following.get(new, 0) + count"
                    if is_count
                    else f"option = total + {worth}\n"
                    "earlier = following.get(new, option)\n"
                    f"following[new] = {best_of(self.aim)}(earlier, option)"
                )
                if self.is_exact:  # what is too heavy is never asked for
                    add_lines(block, lines)
                else:
                    with block.inside("if new <= room:"):
                        add_lines(block, lines)
            block.add(f"{table} = following")
        if self.is_exact:
            block.add(f"return {table}.get(room{', 0' if is_count else ''})")
        elif is_count:
            block.add(f"return sum({table}.values())")
        else:
            block.add(f"return {best_of(self.aim)}({table}.values())")


def draw_knapsack(rng: Random) -> Plan:
    is_exact = rng.random() < 0.5
    aim: Aim = rng.choice(["most", "most", "most", "least", "count"] if is_exact else
                          ["most", "most", "most", "count"])  # fmt: skip
    test = None
    if aim == "count" or rng.random() < 0.7:
        on = rng.choice([[VALUE], [WEIGHT], [WEIGHT, VALUE], [WEIGHT, VALUE]])
        if rng.random() < 0.4:
            test = draw_joined(rng, WEIGHT, VALUE)
        else:
            test = draw_test(rng, on, 2 if len(on) == 1 and rng.random() < 0.6 else 1)
    worth = None
    if aim != "count":
        worth = draw_integer(rng, rng.choice([[VALUE], [WEIGHT, VALUE], [WEIGHT, VALUE]]),
                             rng.choice([1, 2, 2]))  # fmt: skip
    return Knapsack(rng.choice(_THEMES), aim, is_exact, test, worth)
