"""Elements of a list are chosen, no two of them too close together, for the largest total."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import Plan
from megatron_codemix.corpus.synthesis.families.dynamic_programming.themes import (
    HIGH,
    INDEX,
    ITEM,
    LOW,
    Theme,
    draw_theme,
    item_lists,
)
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, draw_joined, specs_of
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject, count_word
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given


@dataclass(frozen=True)
class Choice:
    theme: Theme
    gap: int
    """Least difference of two chosen indices."""
    test: Node | None
    """Which may be chosen: of the item `x`, or of it and its index `i`."""
    value: Node
    """What a chosen one adds."""

    def name(self) -> str:
        return f"best_choice_of_{self.theme.plural}"

    def title(self) -> str:
        return f"The best choice of {self.theme.plural} that are not too close together."

    def spec(self) -> Any:
        return ["choice", self.gap, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.theme.plural, ListOf(Int(LOW, HIGH))),)

    def returns(self) -> Type:
        return Int()

    def given(self) -> list[Given]:
        return [Given(self.theme.plural, self.theme.words)]

    def _subjects(self) -> dict[str, Subject]:
        return {"x": Subject(f"the {self.theme.singular}"), "i": Subject("its index")}

    def model(self, rng: Random) -> list[str]:
        t = self.theme
        apart = (
            f"no two {t.plural} that stand next to each other in the list may both be chosen"
            if self.gap == 2
            else f"between two chosen {t.plural} there must be at least "
            f"{count_word(self.gap - 1)} others in the list"
        )
        said = [
            rng.choice(
                [
                    f"choose any number of {t.plural} (perhaps none); {apart}",
                    f"some of the {t.plural} are to be chosen, under this rule: {apart}",
                ]
            )
        ]
        if self.test is not None:
            clause = self.test.condition(rng, self._subjects()).clause()
            said.append(
                rng.choice(
                    [
                        f"a {t.singular} can be chosen only if {clause}",
                        f"besides, a {t.singular} is not eligible unless {clause}",
                    ]
                )
            )
        of = self.value.phrase(rng, self._subjects())
        said.append(
            rng.choice(
                [
                    f"a chosen {t.singular} earns {of}",
                    f"for each chosen {t.singular} you get {of}",
                ]
            )
            + (" (indices start at 0)" if self._uses_index() else "")
        )
        return said

    def _uses_index(self) -> bool:
        return any("i" in node.variables() for node in self.nodes() if node is not None)

    def result(self, rng: Random) -> str:
        return rng.choice(
            [
                "the largest total that can be earned; choosing nothing earns 0",
                "the greatest sum of earnings over all permitted choices (0 if nothing is chosen)",
            ]
        )

    def nodes(self) -> Sequence[Node | None]:
        return [self.test, self.value]

    def oracle(self, items: list[int]) -> int:
        """All permitted choices, one after the other."""
        totals = [0]
        choices: list[tuple[int, int]] = [(-self.gap, 0)]  # last index, total
        while choices:
            last, total = choices.pop()
            for place in range(max(0, last + self.gap), len(items)):
                values = {"x": items[place], "i": place}
                if self.test is None or self.test.evaluate(values):
                    new = total + self.value.evaluate(values)
                    totals.append(new)
                    choices.append((place, new))
        return max(totals)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        return item_lists(rng)

    def styles(self) -> tuple[str, ...]:
        return ("table", "recursive", "last chosen")

    def write(self, style: str, block: Block, naming: Naming) -> None:
        items, item = self.theme.plural, self.theme.singular
        block.names |= {item, "place"}
        own = naming.renamed({"x": item, "i": "place"})
        value = self.value.python(own)
        test = self.test.python(own) if self.test else None
        guard = f"if {test}:" if test else ""
        if style == "table":
            block.add(f"best = [0] * (len({items}) + 1)")
            with block.inside(f"for place, {item} in enumerate({items}):"):
                block.add("best[place + 1] = best[place]")
                lines = [
                    f"before = best[max(0, place - {self.gap - 1})]",
                    f"best[place + 1] = max(best[place], before + {value:product})",
                ]
                self._guarded(block, guard, lines)
            block.add("return best[-1]")
        elif style == "recursive":
            block.add("known = {}")
            block.add("")
            with block.inside("def best_from(place: int) -> int:"):
                add_lines(block, f"if place >= len({items}):\n    return 0")
                with block.inside("if place not in known:"):
                    block.add(f"{item} = {items}[place]")
                    block.add("best = best_from(place + 1)")
                    lines = [
                        f"best = max(best, {value} + best_from(place + {self.gap}))"
                        if value.level > 0
                        else f"best = max(best, ({value}) + best_from(place + {self.gap}))"
                    ]
                    self._guarded(block, guard, lines)
                    block.add("known[place] = best")
                block.add("return known[place]")
            block.add("")
            block.add("return best_from(0)")
        else:
            block.add("totals = []")
            with block.inside(f"for place, {item} in enumerate({items}):"):
                if guard:
                    block.add("total = 0")
                lines = [
                    f"earlier = totals[: max(0, place - {self.gap - 1})]",
                    f"total = max(earlier, default=0) + {value:product}",
                ]
                self._guarded(block, guard, lines)
                block.add("totals.append(max(0, total))")
            block.add("return max(totals, default=0)")

    def _guarded(self, block: Block, guard: str, lines: Sequence[str]) -> None:
        if not guard:
            add_lines(block, "\n".join(lines))
            return
        with block.inside(guard):
            add_lines(block, "\n".join(lines))


def draw_choice(rng: Random) -> Plan:
    test = None
    kind = rng.random()
    if kind < 0.25:
        test = draw_joined(rng, ITEM, INDEX)
    elif kind < 0.8:
        on = rng.choice([[ITEM], [ITEM], [ITEM, INDEX]])
        test = draw_test(rng, on, rng.choice([1, 2, 2]) if len(on) == 1 else 1)
    value = draw_integer(rng, rng.choice([[ITEM], [ITEM, INDEX]]), rng.choice([1, 2, 2]))
    if kind >= 0.8 and value.depth() < 2:
        raise NothingDrawn
    return Choice(draw_theme(rng), rng.choice([2, 2, 3]), test, value)
