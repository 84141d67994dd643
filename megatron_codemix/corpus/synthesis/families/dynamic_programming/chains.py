"""Chains: elements in the order of the list, each of which fits the one before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import Plan
from megatron_codemix.corpus.synthesis.families.dynamic_programming.themes import (
    HIGH,
    ITEM,
    LOW,
    Theme,
    draw_theme,
    item_lists,
)
from megatron_codemix.corpus.synthesis.families.pieces import (
    drawn_telling,
    specs_of,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

FIRST = Variable("a", Int(LOW, HIGH), "int", (LOW, HIGH))
SECOND = Variable("b", Int(LOW, HIGH), "int", (LOW, HIGH))


@dataclass(frozen=True)
class Chain:
    theme: Theme
    aim: Literal["longest", "most", "count"]
    link: Node
    """Of an element `a` of the chain and the next one, `b`."""
    test: Node | None
    """Which elements may be in a chain at all."""
    value: Node | None
    """What one adds, where the aim is the largest total."""

    def name(self) -> str:
        head = {"longest": "longest_chain_of", "most": "best_chain_of", "count": "count_chains_of"}
        return f"{head[self.aim]}_{self.theme.plural}"

    def title(self) -> str:
        return f"Chains of {self.theme.plural}, each of which fits the one before."

    def spec(self) -> Any:
        return ["chain", self.aim, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.theme.plural, ListOf(Int(LOW, HIGH))),)

    def returns(self) -> Type:
        return Int()

    def given(self) -> list[Given]:
        return [Given(self.theme.plural, self.theme.words)]

    def model(self, rng: Random) -> list[str]:
        t = self.theme
        subjects = {
            "a": Subject(f"the earlier {t.singular}"),
            "b": Subject(f"the later {t.singular}"),
        }
        clause = self.link.condition(rng, subjects).clause()
        said = [
            rng.choice(
                [
                    f"a chain is made by leaving out any number of {t.plural} (but not all) and "
                    "keeping the others in their order",
                    f"a chain consists of one or more {t.plural} in the order of the list; they "
                    "need not be next to each other there",
                ]
            ),
            rng.choice(
                [
                    f"for any two that follow directly on one another in the chain it must hold "
                    f"that {clause}",
                    f"two {t.plural} may follow one another in a chain only if {clause}",
                ]
            ),
        ]
        if self.test is not None:
            own = {"x": Subject(f"the {t.singular}")}
            said.append(
                f"a {t.singular} may be part of a chain only if "
                f"{self.test.condition(rng, own).clause()}"
            )
        if self.value is not None:
            of = self.value.phrase(rng, {"x": Subject(f"the {t.singular}")})
            said.append(f"each {t.singular} of a chain is worth {of}, and a chain is worth the sum")
        return said

    def result(self, rng: Random) -> str:
        t = self.theme
        return {
            "longest": rng.choice(
                [
                    f"the number of {t.plural} in the longest chain, or 0 if there is no chain",
                    f"how many {t.plural} a chain can have at most (0 if there is none)",
                ]
            ),
            "most": rng.choice(
                [
                    "the largest worth of a chain, or 0 if there is no chain or all are worth less",
                    "what the best chain is worth; if there is none, or none worth more than 0, "
                    "the answer is 0",
                ]
            ),
            "count": f"the number of chains, where equal {t.plural} at different places count as "
            "different",
        }[self.aim]

    def nodes(self) -> Sequence[Node | None]:
        return [self.link, self.test, self.value]

    def oracle(self, items: list[int]) -> int:
        """Every chain, grown element by element."""
        found: list[tuple[int, ...]] = []
        growing: list[tuple[int, ...]] = [()]
        while growing:
            chain = growing.pop()
            for place in range(chain[-1] + 1 if chain else 0, len(items)):
                pair = {"a": items[chain[-1]] if chain else 0, "b": items[place]}
                if chain and not self.link.evaluate(pair):
                    continue
                if self.test is None or self.test.evaluate({"x": items[place]}):
                    growing.append((*chain, place))
                    found.append((*chain, place))
        if self.aim == "count":
            return len(found)
        if self.aim == "longest" or self.value is None:
            return max((len(chain) for chain in found), default=0)
        value = self.value
        totals: list[int] = [sum(value.evaluate({"x": items[i]}) for i in chain) for chain in found]
        return max([0, *totals])

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        return item_lists(rng)

    def styles(self) -> tuple[str, ...]:
        return ("table", "recursive", "forward")

    def write(self, style: str, block: Block, naming: Naming) -> None:
        items, item = self.theme.plural, self.theme.singular
        block.names |= {item, "place", "other"}
        rows = items
        if self.test is not None:
            test = self.test.python(naming.renamed({"x": item}))
            rows = "usable"
            block.add(f"usable = [{item} for {item} in {items} if {test:or}]")
        if style == "table":
            self._table(block, naming, rows)
        elif style == "recursive":
            self._recursive(block, naming, rows)
        else:
            self._forward(block, naming, rows)

    def _own(self, naming: Naming, item: str) -> str:
        """What an element adds by itself."""
        if self.value is None:
            return "1"
        return f"{self.value.python(naming.renamed({'x': item})):sum}"

    def _join(self) -> str:
        return "sum" if self.aim == "count" else "max"

    def _end(self, block: Block, name: str) -> None:
        if self.aim == "count":
            block.add(f"return sum({name})")
        elif self.aim == "longest":
            block.add(f"return max({name}, default=0)")
        else:
            block.add(f"return max(0, max({name}, default=0))")

    def _table(self, block: Block, naming: Naming, rows: str) -> None:
        """For each element the chains that end with it."""
        item = self.theme.singular
        link = self.link.python(naming.renamed({"a": f"{rows}[other]", "b": item}))
        default = "" if self.aim == "count" else ", default=0"
        inside = f"ending[other] for other in range(place) if {link:or}"
        before = f"{self._join()}({inside})" if not default else f"max(({inside}){default})"
        block.add("ending = []")
        with block.inside(f"for place, {item} in enumerate({rows}):"):
            block.add(f"before = {before}")
            addend = "max(0, before)" if self.aim == "most" else "before"
            block.add(f"ending.append({self._own(naming, item)} + {addend})")
        self._end(block, "ending")

    def _recursive(self, block: Block, naming: Naming, rows: str) -> None:
        """For each element the chains that begin with it."""
        link = self.link.python(naming.renamed({"a": f"{rows}[place]", "b": f"{rows}[other]"}))
        block.add("known = {}")
        block.add("")
        with block.inside("def starting(place: int) -> int:"):
            with block.inside("if place not in known:"):
                block.add("after = 0")
                with (
                    block.inside(f"for other in range(place + 1, len({rows})):"),
                    block.inside(f"if {link}:"),
                ):
                    is_count = self.aim == "count"
                    more = "after + starting(other)" if is_count else "max(after, starting(other))"
                    block.add(f"after = {more}")
                block.add(f"known[place] = {self._own(naming, f'{rows}[place]')} + after")
            block.add("return known[place]")
        block.add("")
        block.add(f"totals = [starting(place) for place in range(len({rows}))]")
        self._end(block, "totals")

    def _forward(self, block: Block, naming: Naming, rows: str) -> None:
        """Each element hands on what it has to all that may follow."""
        link = self.link.python(naming.renamed({"a": f"{rows}[place]", "b": f"{rows}[later]"}))
        item = self.theme.singular
        block.add(f"best = [{self._own(naming, item)} for {item} in {rows}]")
        if self.aim == "most":
            block.add("own = list(best)")
        elif self.aim == "count":
            block.lines[-1] = block.lines[-1].replace("best =", "counts =")
        name = "counts" if self.aim == "count" else "best"
        step = {
            "count": "counts[later] += counts[place]",
            "longest": "best[later] = max(best[later], best[place] + 1)",
            "most": "best[later] = max(best[later], own[later] + best[place])",
        }[self.aim]
        with (
            block.inside(f"for place in range(len({rows})):"),
            block.inside(f"for later in range(place + 1, len({rows})):"),
            block.inside(f"if {link}:"),
        ):
            block.add(step)
        self._end(block, name)


def draw_chain(rng: Random) -> Plan:
    rows = [{"a": rng.randint(LOW, HIGH), "b": rng.randint(LOW, HIGH)} for _ in range(60)]
    link = drawn_telling(lambda: draw_test(rng, [FIRST, SECOND], 1), rows)
    aim: Literal["longest", "most", "count"] = rng.choice(["longest", "most", "most", "count"])
    test = (
        draw_test(rng, [ITEM], rng.choice([1, 2, 2]))
        if aim != "most" or rng.random() < 0.7
        else None
    )
    value = draw_integer(rng, [ITEM], rng.choice([1, 2, 2])) if aim == "most" else None
    if value is not None and value.range()[1] <= 0:
        raise NothingDrawn
    return Chain(draw_theme(rng), aim, link, test, value)
