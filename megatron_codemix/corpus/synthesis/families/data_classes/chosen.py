"""Records that pass a test, in an order, with a number that a method computes of each."""

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
from megatron_codemix.corpus.synthesis.families.summary import UNORDERED, RowWords
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem
from megatron_codemix.corpus.synthesis.values import RecordValue
from megatron_codemix.corpus.synthesis.writing.statement import Given


@dataclass(frozen=True)
class Chosen:
    theme: Theme
    measure: Node
    """Of both fields."""
    test: Node | None
    order: str
    """"" as given; else the variable that they are sorted by."""
    is_descending: bool

    def subject(self) -> str:
        return f"{'sorted_' if self.order else ''}{self.theme.nouns}"

    def title(self) -> str:
        return f"What some {self.theme.nouns} come to, by their {self.theme.measure}."

    def spec(self) -> Any:
        holes = specs_of([self.measure, self.test])
        return ["chosen", *holes, self.order, self.is_descending]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter(self.theme.nouns, self.theme.list_type()),)

    def given(self) -> list[Given]:
        t = self.theme
        return [Given(t.nouns, f"a list of `{t.class_name}` objects")]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        t = self.theme
        of = self.measure.phrase(rng, t.subjects())
        return [
            t.described(rng),
            rng.choice(
                [f"the {t.measure} of a {t.noun} is {of}", f"a {t.noun}'s {t.measure} is {of}"]
            ),
        ]

    def steps(self, rng: Random) -> list[str]:
        t = self.theme
        steps = []
        if self.test is not None:
            clause = self.test.condition(rng, t.subjects()).clause()
            steps.append(
                rng.choice(
                    [
                        f"keep only the {t.nouns} for which {clause}",
                        f"choose the {t.nouns} for which {clause}, and leave out all others",
                        f"drop every {t.noun} unless {clause}",
                    ]
                )
            )
        if self.order:
            by = t.subjects()[self.order].phrase
            direction = (
                ["in descending order of {by}", "by {by}, largest first"]
                if self.is_descending
                else ["in ascending order of {by}", "by {by}, smallest first"]
            )
            how = rng.choice(direction).format(by=by)
            steps.append(
                rng.choice(["sort the {} {}", "put the {} in order {}"]).format(t.nouns, how)
                + f"; {t.nouns} with equal values keep the order of the list"
            )
        return steps

    def words(self) -> RowWords:
        order = "in that order" if self.order else "in the order of the list"
        if self.test is not None:
            return RowWords(self.theme.noun, self.theme.nouns, order, "that are left",
                            "that is left")  # fmt: skip
        return RowWords(self.theme.noun, self.theme.nouns, order)

    def subjects(self) -> dict[str, Subject]:
        return self.theme.subjects()

    def bounds(self) -> dict[str, Range]:
        first, second = (one.range for one in self.theme.variables())
        return {"v": self.measure.range(), "a": first, "b": second}

    def nodes(self) -> Sequence[Node | None]:
        return [self.measure, self.test]

    def rows(self, records: list[RecordValue]) -> list[Row]:
        rows: list[Row] = []
        for one in records:
            row = self.theme.values(one)
            row["v"] = self.measure.evaluate(row)
            if self.test is None or self.test.evaluate(row):
                # Insertion behind all that do not come after it.
                place = len(rows)
                while self.order and place > 0 and self._is_before(row, rows[place - 1]):
                    place -= 1
                rows.insert(place, row)
        return rows

    def _is_before(self, row: Row, other: Row) -> bool:
        one, two = row[self.order], other[self.order]
        return one > two if self.is_descending else one < two

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        return self.theme.lists(rng)

    def styles(self) -> tuple[str, ...]:
        return ("methods", "loop", "functions")

    def write(self, style: str, body: Body) -> Rows:
        body.imports.append(IMPORT)
        if style == "loop":
            return self._loop(body)
        t, noun = self.theme, self.theme.noun
        owner = "self" if style == "methods" else noun
        fields = body.naming.renamed(t.field_names(owner))
        measure = f"{self.measure.python(fields)}"
        measured = f"{noun}.{t.measure}()" if style == "methods" else f"{t.measure}_of({noun})"
        names = {**t.field_names(noun), "v": measured}
        test = ""
        if self.test is not None:
            own = dict(fields.names)
            own["v"] = f"self.{t.measure}()" if style == "methods" else f"{t.measure}_of({noun})"
            test = f"{self.test.python(body.naming.renamed(own))}"
        tested = f"{noun}.is_wanted()" if style == "methods" else f"is_wanted({noun})"
        if style == "methods":
            methods = [method(t.measure, "int", measure)]
            if test:
                methods.append(method("is_wanted", "bool", test))
            body.parts.append(class_text(t, "\n\n".join(methods)))
        else:
            body.parts.append(class_text(t))
            head = f"({noun}: {t.class_name})"
            body.parts.append(f"def {t.measure}_of{head} -> int:\n    return {measure}")
            if test:
                body.parts.append(f"def is_wanted{head} -> bool:\n    return {test}")
        rows = t.nouns
        if test:
            rows = body.block.name("kept", "wanted")
            body.block.add(f"{rows} = [{noun} for {noun} in {t.nouns} if {tested}]")
        if self.order:
            reverse = ", reverse=True" if self.is_descending else ""
            key = names[self.order]
            ordered = body.block.name("ordered")
            body.block.add(f"{ordered} = sorted({rows}, key=lambda {noun}: {key}{reverse})")
            rows = ordered
        body.block.names.add(noun)
        return Rows(f"{noun} in {rows}", names)

    def _loop(self, body: Body) -> Rows:
        """Computes tuples; sorts them by insertion."""
        t, noun, block = self.theme, self.theme.noun, body.block
        body.parts.append(class_text(t))
        names = {**t.field_names(noun), "v": t.measure}
        naming = body.naming.renamed(names)
        block.names |= {t.measure, noun, *t.local_names().values()}
        block.add("rows = []")
        with block.inside(f"for {noun} in {t.nouns}:"):
            tested = self.test.variables() if self.test else set()
            needs = "v" in body.used | tested or self.order == "v"
            if needs:
                block.add(f"{t.measure} = {self.measure.python(naming)}")
            read = [one for one in ("a", "b", "v") if one in body.used or one == self.order]
            read = read or ["a"]
            entry = ", ".join(names[one] for one in read)
            entry = f"({entry})" if len(read) > 1 else entry
            if self.test is not None:
                with block.inside(f"if {self.test.python(naming)}:"):
                    self._store(body, entry, read)
            else:
                self._store(body, entry, read)
        local = {**t.local_names(), "v": t.measure}
        target = ", ".join(local[one] if one in body.used else "_" for one in read)
        if len(read) == 1:
            target = local[read[0]]
        return Rows(f"{target} in rows", local)

    def _store(self, body: Body, entry: str, read: Sequence[str]) -> None:
        block = body.block
        if not self.order:
            block.add(f"rows.append({entry})")
            return
        place = read.index(self.order)
        sign = "<" if self.is_descending else ">"
        own = entry.strip("()").split(", ")[place] if len(read) > 1 else entry
        other = f"rows[place - 1][{place}]" if len(read) > 1 else "rows[place - 1]"
        add_lines(
            block,
            f"""
            place = len(rows)
            while place > 0 and {other} {sign} {own}:
                place -= 1
            rows.insert(place, {entry})
            """,
        )


def draw_chosen(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    variables = theme.variables()
    measure = draw_integer(rng, variables, rng.choice([1, 2]))
    test = None
    if rng.random() < 0.6:
        on = rng.choice([[variables[0]], [variables[1]], variables])
        test = draw_test(rng, on, 1)
    order = rng.choice(["", "", "v", "a", "b"])
    producer = Chosen(theme, measure, test, order, rng.random() < 0.5)
    # Where it does not matter, nothing is put in order.
    without = UNORDERED if order else ()
    return draw_found(rng, "data_classes", producer, without, required="" if order == "v" else "v")
