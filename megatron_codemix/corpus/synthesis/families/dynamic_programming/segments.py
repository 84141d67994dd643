"""A list is cut into segments, each of which costs something."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import (
    Aim,
    Plan,
    best_of,
    settled,
    type_of,
)
from megatron_codemix.corpus.synthesis.families.dynamic_programming.themes import (
    HIGH,
    LOW,
    MOST,
    Theme,
    draw_theme,
    item_lists,
)
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, draw_joined, specs_of
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

SUM = Variable("s", Int(-10, 60), "int", (MOST * LOW, MOST * HIGH))
LENGTH = Variable("l", Int(1, 5), "int", (1, MOST))


@dataclass(frozen=True)
class Segments:
    theme: Theme
    aim: Aim
    test: Node | None
    """Which segments are allowed: of the sum `s`, the length `l`, or both."""
    cost: Node | None
    """Of both; None where ways are counted."""

    def name(self) -> str:
        head = {"least": "cheapest_cut", "most": "best_cut", "count": "count_cuts"}[self.aim]
        return f"{head}_of_{self.theme.plural}"

    def title(self) -> str:
        return f"Ways to cut a list of {self.theme.plural} into segments."

    def spec(self) -> Any:
        return ["segments", self.aim, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.theme.plural, ListOf(Int(LOW, HIGH))),)

    def returns(self) -> Type:
        return type_of(self.aim)

    def given(self) -> list[Given]:
        return [Given(self.theme.plural, self.theme.words)]

    def model(self, rng: Random) -> list[str]:
        subjects = {"s": Subject("its sum"), "l": Subject("its length")}
        said = [
            rng.choice(
                [
                    "the list is cut into segments: each segment has one or more neighbouring "
                    "elements, and every element belongs to exactly one segment",
                    "cut the list into consecutive pieces, called segments, none of them empty, so "
                    "that they cover the whole list",
                ]
            ),
        ]
        if self.test is not None:
            clause = self.test.condition(rng, subjects).clause()
            said.append(
                rng.choice(
                    [
                        f"a segment is allowed only if {clause}",
                        f"each segment must satisfy this condition: {clause}",
                    ]
                )
            )
        if self.cost is not None:
            word = "costs" if self.aim == "least" else "is worth"
            said.append(f"a segment {word} {self.cost.phrase(rng, subjects)}")
        said.append(
            "the empty list can be cut in one way, into no segments"
            if self.aim == "count"
            else "the empty list has no segments and a total of 0"
        )
        return said

    def result(self, rng: Random) -> str:
        if self.aim == "count":
            such = " into allowed segments" if self.test is not None else ""
            return f"the number of different ways to cut the list{such}"
        total = "total cost" if self.aim == "least" else "total worth"
        word = rng.choice(["smallest", "lowest"] if self.aim == "least" else ["largest", "highest"])
        allowed = "allowed " if self.test is not None else ""
        none = ", or `None` if there is no way to cut it" if self.test is not None else ""
        return f"the {word} {total} of the segments over all ways to cut the list into " \
            f"{allowed}segments{none}"  # fmt: skip

    def nodes(self) -> Sequence[Node | None]:
        return [self.test, self.cost]

    def oracle(self, items: list[int]) -> int | None:
        """All sets of places to cut at, as binary numbers."""
        known = {
            (a, b): self._total(items[a:b]) for a in range(len(items)) for b in
            range(a + 1, len(items) + 1)
        }  # fmt: skip
        totals = []
        for mask in range(2 ** max(0, len(items) - 1)):
            borders = [i + 1 for i in range(len(items) - 1) if mask >> i & 1]
            cuts = [0, *borders, len(items)] if items else []
            costs = [known[pair] for pair in pairwise(cuts)]
            if None not in costs:
                totals.append(sum(cost for cost in costs if cost is not None))
        return settled(self.aim, totals)

    def _total(self, segment: list[int]) -> int | None:
        """What a segment costs; None where it is not allowed."""
        values = {"s": sum(segment), "l": len(segment)}
        if self.test is not None and not self.test.evaluate(values):
            return None
        return int(self.cost.evaluate(values)) if self.cost else 0

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        return ((one[:7],) for (one,) in item_lists(rng))

    def styles(self) -> tuple[str, ...]:
        return ("table", "recursive", "forward")

    def _codes(self, naming: Naming) -> tuple[str, str]:
        own = naming.renamed({"s": "total", "l": "length"})
        test = "" if self.test is None else f"{self.test.python(own)}"
        cost = "" if self.cost is None else f"{self.cost.python(own):product}"
        return test, cost

    def _values(self, block: Block, naming: Naming, start: str, end: str) -> None:
        """The sum and the length of a segment, as far as they are read."""
        nodes = [node for node in self.nodes() if node is not None]
        used = set().union(*(node.variables() for node in nodes))
        if "s" in used:
            block.add(f"total = sum({self.theme.plural}[{start}:{end}])")
        if "l" in used:
            block.add(f"length = {end} - {start}")

    def write(self, style: str, block: Block, naming: Naming) -> None:
        test, cost = self._codes(naming)
        if style == "table":
            self._table(block, naming, test, cost)
        elif style == "recursive":
            self._recursive(block, naming, test, cost)
        else:
            self._forward(block, naming, test, cost)

    def _table(self, block: Block, naming: Naming, test: str, cost: str) -> None:
        """The answer for each beginning of the list, by its last segment."""
        items, is_count = self.theme.plural, self.aim == "count"
        block.add("answers = [1]" if is_count else "answers = [0]")
        with block.inside(f"for end in range(1, len({items}) + 1):"):
            block.add("ways = 0" if is_count else "options = []")
            with block.inside("for start in range(end):"):
                self._values(block, naming, "start", "end")
                known = "" if is_count or not test else "answers[start] is not None"
                tests = f"{known} and {_grouped(test)}" if known else test
                store = "ways += answers[start]" if is_count else (
                    f"options.append(answers[start] + {cost})")  # fmt: skip
                if tests:
                    with block.inside(f"if {tests}:"):
                        block.add(store)
                else:
                    block.add(store)
            pick = "ways" if is_count else f"{best_of(self.aim)}(options, default=None)"
            block.add(f"answers.append({pick})")
        block.add("return answers[-1]")

    def _recursive(self, block: Block, naming: Naming, test: str, cost: str) -> None:
        """The answer for each rest of the list, by its first segment."""
        items, is_count = self.theme.plural, self.aim == "count"
        block.add("known = {}")
        block.add("")
        with block.inside(f"def answer_from(start: int) -> {self.returns().python()}:"):
            add_lines(block, f"if start == len({items}):\n    return {int(is_count)}")
            with block.inside("if start not in known:"):
                block.add("known[start] = 0" if is_count else "best = None")
                with block.inside(f"for end in range(start + 1, len({items}) + 1):"):
                    self._values(block, naming, "start", "end")
                    if test:
                        add_lines(block, f"if not ({test}):\n    continue")
                    if is_count:
                        block.add("known[start] += answer_from(end)")
                    else:
                        sign = "<" if self.aim == "least" else ">"
                        block.add("rest = answer_from(end)")
                        add_lines(
                            block,
                            f"""
                            if rest is not None:
                                option = rest + {cost}
                                if best is None or option {sign} best:
                                    best = option
                            """,
                        )
                if not is_count:
                    block.add("known[start] = best")
            block.add("return known[start]")
        block.add("")
        block.add("return answer_from(0)")

    def _forward(self, block: Block, naming: Naming, test: str, cost: str) -> None:
        """From each beginning that can be cut on to all longer ones."""
        items, is_count = self.theme.plural, self.aim == "count"
        nothing = "0" if is_count else "None"
        block.add(f"answers = [{int(is_count)}] + [{nothing}] * len({items})")
        with block.inside(f"for start in range(len({items})):"):
            if not is_count and test:
                add_lines(block, "if answers[start] is None:\n    continue")
            with block.inside(f"for end in range(start + 1, len({items}) + 1):"):
                self._values(block, naming, "start", "end")
                if is_count:
                    lines = "answers[end] += answers[start]"
                else:
                    lines = (
                        f"option = answers[start] + {cost}\n"
                        f"if answers[end] is not None:\n"
                        f"    option = {best_of(self.aim)}(option, answers[end])\n"
                        "answers[end] = option"
                    )
                if test:
                    with block.inside(f"if {test}:"):
                        add_lines(block, lines)
                else:
                    add_lines(block, lines)
        block.add("return answers[-1]")


def _grouped(test: str) -> str:
    return f"({test})" if " or " in test or " if " in test else test


def draw_segments(rng: Random) -> Plan:
    aim: Aim = rng.choice(["least", "least", "most", "most", "count"])
    test = None
    if aim == "count" or rng.random() < 0.65:
        on = rng.choice([[SUM], [SUM], [SUM, LENGTH], [LENGTH]])
        if rng.random() < 0.4:
            test = draw_joined(rng, SUM, LENGTH)
        else:
            test = draw_test(rng, on, 2 if len(on) == 1 and rng.random() < 0.6 else 1)
    cost = None
    if aim != "count":
        cost = draw_integer(rng, rng.choice([[SUM, LENGTH], [SUM, LENGTH], [SUM]]),
                            rng.choice([1, 2, 2]))  # fmt: skip
        low, high = cost.range()
        if max(abs(low), abs(high)) > 10**6:
            raise NothingDrawn
    return Segments(draw_theme(rng), aim, test, cost)
