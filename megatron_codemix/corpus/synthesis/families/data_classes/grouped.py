"""Records in groups: for each group how many there are and what they add up to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.data_classes.records import (
    IMPORT,
    THEMES,
    Theme,
    class_text,
    method,
)
from megatron_codemix.corpus.synthesis.families.found import Body, Row, Rows, draw_found
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem
from megatron_codemix.corpus.synthesis.values import RecordValue
from megatron_codemix.corpus.synthesis.writing.statement import Given

_MOST = 8


@dataclass(frozen=True)
class Grouped:
    theme: Theme
    measure: Node
    test: Node | None

    def subject(self) -> str:
        return f"{self.theme.group}_totals"

    def title(self) -> str:
        return f"What {self.theme.nouns} add up to, {self.theme.group} by {self.theme.group}."

    def spec(self) -> Any:
        return ["grouped", *specs_of([self.measure, self.test])]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.theme.nouns, self.theme.list_type()),)

    def given(self) -> list[Given]:
        return [Given(self.theme.nouns, f"a list of `{self.theme.class_name}` objects")]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        t = self.theme
        of = self.measure.phrase(rng, t.subjects())
        said = [t.described(rng), f"the {t.measure} of a {t.noun} is {of}"]
        such = ""
        if self.test is not None:
            clause = self.test.condition(rng, t.subjects()).clause()
            such = " that count"
            said.append(
                rng.choice(
                    [
                        f"a {t.noun} counts only if {clause}",
                        f"ignore {t.nouns} altogether unless {clause}",
                    ]
                ).replace("ignore", "of the list, ignore")
                if rng.random() < 0.5
                else f"only those {t.nouns} count for which {clause}"
            )
        said.append(
            rng.choice(
                [
                    f"{t.nouns}{such} with the same `{t.group}` form a group; its size is their "
                    f"number, its total the sum of their {t.measure} values",
                    f"group the {t.nouns}{such} by `{t.group}`: the size of a group is the number "
                    f"of {t.nouns} in it, and its total is the sum of their {t.measure} values",
                ]
            )
        )
        said.append(
            f"groups come in the order in which their first {t.noun} stands in the list; there are "
            "no empty groups"
        )
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        return RowWords("group", "groups", "in their order")

    def subjects(self) -> dict[str, Subject]:
        return {"t": Subject("the total"), "n": Subject("the size")}

    def bounds(self) -> dict[str, Range]:
        low, high = self.measure.range()
        return {"t": (min(low, _MOST * low), max(high, _MOST * high)), "n": (1, _MOST)}

    def nodes(self) -> Sequence[Node | None]:
        return [self.measure, self.test]

    def rows(self, records: list[RecordValue]) -> list[Row]:
        t = self.theme
        kept = [one for one in records if self.test is None or self.test.evaluate(t.values(one))]
        firsts = [
            one[t.group] for i, one in enumerate(kept)
            if all(other[t.group] != one[t.group] for other in kept[:i])
        ]  # fmt: skip
        members = [[one for one in kept if one[t.group] == group] for group in firsts]
        return [
            {"t": sum(self.measure.evaluate(t.values(one)) for one in own), "n": len(own)}
            for own in members
        ]

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        return self.theme.lists(rng)

    def styles(self) -> tuple[str, ...]:
        return ("dictionary", "class", "comprehension")

    def _kept(self, body: Body, noun: str) -> str:
        """The list of those that count, with a statement for it if there is a test."""
        if self.test is None:
            return self.theme.nouns
        test = self.test.python(body.naming.renamed(self.theme.field_names(noun)))
        kept = body.block.name("kept")
        body.block.add(f"{kept} = [{noun} for {noun} in {self.theme.nouns} if {test:or}]")
        return kept

    def write(self, style: str, body: Body) -> Rows:
        body.imports.append(IMPORT)
        t, noun, block = self.theme, self.theme.noun, body.block
        block.names |= {noun, t.group, "group", "groups", "total", "size", "totals", "sizes"}
        measure = self.measure.python(body.naming.renamed(t.field_names(noun)))
        if style == "dictionary":
            body.parts.append(class_text(t))
            kept = self._kept(body, noun)
            has_sizes = "n" in body.used
            block.add("totals = {}")
            if has_sizes:
                block.add("sizes = {}")
            with block.inside(f"for {noun} in {kept}:"):
                block.add(f"{t.group} = {noun}.{t.group}")
                block.add(f"totals[{t.group}] = totals.get({t.group}, 0) + {measure:product}")
                if has_sizes:
                    block.add(f"sizes[{t.group}] = sizes.get({t.group}, 0) + 1")
            names = {"t": f"totals[{t.group}]", "n": f"sizes[{t.group}]"}
            return Rows(f"{t.group} in totals", names)
        if style == "class":
            return self._class(body)
        own = body.naming.renamed(t.field_names("self"))
        body.parts.append(class_text(t, method(t.measure, "int", f"{self.measure.python(own)}")))
        kept = self._kept(body, noun)
        add_lines(
            block,
            f"""
            {t.group}_names = []
            for {noun} in {kept}:
                if {noun}.{t.group} not in {t.group}_names:
                    {t.group}_names.append({noun}.{t.group})
            groups = [[{noun} for {noun} in {kept} if {noun}.{t.group} == {t.group}] """
            f"""for {t.group} in {t.group}_names]
            """,
        )
        total = f"sum({noun}.{t.measure}() for {noun} in group)"
        if "t" not in body.used:
            return Rows("group in groups", {"n": "len(group)"})
        block.add(f"totals = [{total} for group in groups]")
        if "n" not in body.used:
            return Rows("total in totals", {"t": "total"})
        return Rows("total, group in zip(totals, groups)", {"t": "total", "n": "len(group)"})

    def _class(self, body: Body) -> Rows:
        """A second class for groups, with a method that takes one more member."""
        t, noun, block = self.theme, self.theme.noun, body.block
        body.parts.append(class_text(t))
        measure = self.measure.python(body.naming.renamed(t.field_names(noun)))
        body.parts.append(
            "@dataclass\nclass Group:\n    total: int = 0\n    size: int = 0\n\n"
            "    def add(self, amount: int) -> None:\n"
            "        self.total += amount\n        self.size += 1"
        )
        block.add("groups = {}")
        with block.inside(f"for {noun} in {t.nouns}:"):
            if self.test is not None:
                test = self.test.python(body.naming.renamed(t.field_names(noun)))
                with block.inside(f"if {test}:"):
                    self._add(body, f"{measure}")
            else:
                self._add(body, f"{measure}")
        return Rows("group in groups.values()", {"t": "group.total", "n": "group.size"})

    def _add(self, body: Body, measure: str) -> None:
        t, noun = self.theme, self.theme.noun
        add_lines(
            body.block,
            f"""
            if {noun}.{t.group} not in groups:
                groups[{noun}.{t.group}] = Group()
            groups[{noun}.{t.group}].add({measure})
            """,
        )


def draw_grouped(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    variables = theme.variables()
    measure = draw_integer(rng, variables, rng.choice([1, 1, 2]))
    test = None
    if rng.random() < 0.6:
        test = draw_test(rng, rng.choice([[variables[0]], [variables[1]], variables]), 1)
    return draw_found(rng, "data_classes", Grouped(theme, measure, test), required="t")
