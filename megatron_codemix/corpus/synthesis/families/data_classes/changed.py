"""A list of records of which new ones are made: a field changed, some left out, all in order."""

from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.data_classes.records import (
    IMPORT,
    THEMES,
    Theme,
    class_text,
)
from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    drawn_telling,
    notes_of,
    shuffled_solutions,
    specs_of,
)
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Parameter, Problem, Property, Solution
from megatron_codemix.corpus.synthesis.values import Int, Observed, RecordValue
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased


@dataclass(frozen=True)
class Changed:
    theme: Theme
    place: int
    """Which of the two integer fields gets a new value."""
    value: Node
    """The new value; of both old ones or of one."""
    when: Node | None
    """Which records are changed; None: all."""
    keep: Node | None
    """Of the new values: which records stay; None: all."""
    order: str
    """Sorted by this field, "a" or "b", after the change; "" as given."""
    is_descending: bool
    signature: Signature

    @property
    def field(self) -> str:
        return (self.theme.first, self.theme.second)[self.place][0]

    def spec(self) -> Any:
        holes = specs_of([self.value, self.when, self.keep])
        return ["changed", self.place, *holes, self.order, self.is_descending]

    def oracle(self, records: list[RecordValue]) -> list[RecordValue]:
        """Record by record, into buckets by the value that decides the order."""
        t = self.theme
        buckets: dict[int, list[RecordValue]] = {}
        for one in records:
            values = t.values(one)
            if self.when is None or self.when.evaluate(values):
                values["ab"[self.place]] = self.value.evaluate(values)
            if self.keep is not None and not self.keep.evaluate(values):
                continue
            fields = (
                (t.group, one[t.group]),
                (t.first[0], values["a"]),
                (t.second[0], values["b"]),
            )
            bucket = values[self.order] if self.order else 0
            buckets.setdefault(bucket, []).append(RecordValue(t.class_name, fields))
        keys = sorted(buckets)
        if self.is_descending:
            keys.reverse()
        return [one for bucket in keys for one in buckets[bucket]]

    def statement(self, rng: Random) -> str:
        t, subjects = self.theme, self.theme.subjects()
        of = self.value.phrase(rng, subjects)
        clause = f"for which {self.when.condition(rng, subjects).clause()}" if self.when else ""
        whom = f"every {t.noun} {clause}".strip()
        steps = [
            rng.choice(
                [
                    f"change the {self.field} of {whom}: the new one is {of}",
                    f"for {whom}, replace the {self.field} by {of}",
                ]
            )
            + (" (all in terms of the old values)" if len(self.value.variables()) > 1 else "")
        ]
        if self.keep is not None:
            keep = self.keep.condition(rng, subjects).clause()
            steps.append(
                rng.choice(
                    [
                        f"keep only the {t.nouns} for which, after the change, {keep}",
                        f"remove every {t.noun} unless now {keep}",
                    ]
                )
            )
        if self.order:
            by = subjects[self.order].phrase
            way = "descending" if self.is_descending else "ascending"
            steps.append(
                f"sort what is left in {way} order of {by}; {t.nouns} that are equal in this keep "
                "their order"
            )
        task = Task(
            name=self.signature.name,
            given=[Given(t.nouns, f"a list of `{t.class_name}` objects")],
            model=[t.described(rng)],
            steps=steps,
            result=rng.choice(
                [
                    f"the resulting list of `{t.class_name}` objects",
                    f"a new list with the {t.nouns} that result",
                ]
            ),
            notes=[
                "the objects that were given must not be modified; make new ones",
                *notes_of([self.value, self.when, self.keep]),
            ],
        )
        return phrased(rng, task)

    def _new(self, noun: str, value: str) -> str:
        """A call that makes the changed record; `value` in the place of the field."""
        t = self.theme
        fields = [f"{noun}.{t.group}", f"{noun}.{t.first[0]}", f"{noun}.{t.second[0]}"]
        fields[1 + self.place] = value
        return f"{t.class_name}({', '.join(fields)})"

    def _value(self, naming: Naming, noun: str) -> str:
        """The new value, the old one where the record is not changed."""
        own = naming.renamed(self.theme.field_names(noun))
        value = self.value.python(own)
        if self.when is None:
            return f"{value}"
        test = self.when.python(own)
        return f"{value:or} if {test:or} else {noun}.{self.field}"

    def _end(self, rows: str) -> str:
        """The return, sorted where it has to be."""
        if not self.order:
            return f"return {rows}"
        noun = self.theme.noun
        key = self.theme.field_names(noun)[self.order]
        reverse = ", reverse=True" if self.is_descending else ""
        return f"return sorted({rows}, key=lambda {noun}: {key}{reverse})"

    def _comprehension(self) -> Solution:
        t, noun = self.theme, self.theme.noun
        block, naming = self.signature.block(), Naming({}, 0)
        new = self._new(noun, self._value(naming, noun))
        block.add(f"changed = [{new} for {noun} in {t.nouns}]")
        rows = "changed"
        if self.keep is not None:
            test = self.keep.python(naming.renamed(t.field_names(noun)))
            block.add(f"kept = [{noun} for {noun} in changed if {test:or}]")
            rows = "kept"
        block.add(self._end(rows))
        return self._solution("comprehension", block, naming, class_text(t))

    def _solution(self, style: str, block: Any, naming: Naming, text: str) -> Solution:
        return self.signature.solution(style, block, naming, parts=[text], imports=[IMPORT])

    def _loop(self) -> Solution:
        t, noun = self.theme, self.theme.noun
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        own = naming.renamed(t.field_names(noun))
        block.add("chosen = []")
        with block.inside(f"for {noun} in {t.nouns}:"):
            block.add(f"{self.field} = {noun}.{self.field}")
            if self.when is not None:
                with block.inside(f"if {self.when.python(own)}:"):
                    block.add(f"{self.field} = {self.value.python(own)}")
            else:
                block.lines.pop()
                block.add(f"{self.field} = {self.value.python(own)}")
            if self.keep is not None:
                names = {**t.field_names(noun), "ab"[self.place]: self.field}
                with block.inside(f"if {negated(self.keep.python(naming.renamed(names)))}:"):
                    block.add("continue")
            block.add(f"chosen.append({self._new(noun, self.field)})")
        if self.order:
            key = t.field_names(noun)[self.order]
            reverse = ", reverse=True" if self.is_descending else ""
            block.add(f"chosen.sort(key=lambda {noun}: {key}{reverse})")
        block.add("return chosen")
        return self._solution("loop", block, naming, class_text(t))

    def _methods(self) -> Solution:
        t, noun = self.theme, self.theme.noun
        block, naming = self.signature.block(), Naming({}, 2)
        own = naming.renamed(t.field_names("self"))
        value = self.value.python(own)
        lines = [f'    def changed(self) -> "{t.class_name}":']
        if self.when is not None:
            lines += [f"        if {negated(self.when.python(own))}:", "            return self"]
        lines.append(f"        return {self._new('self', f'{value}')}")
        if self.keep is not None:
            lines += ["", "    def is_kept(self) -> bool:"]
            lines.append(f"        return {self.keep.python(own)}")
        block.add(f"changed = [{noun}.changed() for {noun} in {t.nouns}]")
        rows = "changed"
        if self.keep is not None:
            rows = f"[{noun} for {noun} in changed if {noun}.is_kept()]"
        block.add(self._end(rows))
        return self._solution("methods", block, naming, class_text(t, "\n".join(lines)))

    def problem(self, rng: Random) -> Problem:
        return Problem(
            family="data_classes",
            spec=self.spec(),
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(
                rng, [self._comprehension(), self._loop(), self._methods()]
            ),
            oracle=self.oracle,
            properties=(Property("No record is added.", lambda a, r: len(r) <= len(a[0])),),
            inputs=self.theme.lists,
            summary=f"Copies of {self.theme.nouns} with another {self.field}.",
        )


def draw_changed(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    variables = theme.variables()
    place = rng.randrange(2)
    rows = [theme.values(theme.draw(rng)) for _ in range(60)]
    value = draw_integer(rng, rng.choice([[variables[place]], variables]), rng.choice([1, 1, 2]))
    when = draw_test(rng, rng.choice([[variables[0]], [variables[1]], variables]),
                     1) if rng.random() < 0.6 else None  # fmt: skip
    low, high = value.range()
    if max(abs(low), abs(high)) > 5000:
        raise NothingDrawn
    keep = None
    order = rng.choice(["", "a", "b"])
    changed = []
    for row in rows:
        is_changed = when is None or when.evaluate(row)
        changed.append({**row, "ab"[place]: value.evaluate(row)} if is_changed else row)
    if rng.random() < 0.6:
        after = list(variables)
        old_low, old_high = variables[place].range
        seen = tuple(row["ab"[place]] for row in changed)
        after[place] = Variable(
            "ab"[place], Observed(Int(), seen), "int", (min(low, old_low), max(high, old_high))
        )
        on = rng.choice([[after[0]], [after[1]], after])
        keep = drawn_telling(lambda: draw_test(rng, on, 1), changed)
    if keep is None and when is None and not order:
        raise NothingDrawn
    verb = rng.choice(["updated", "changed", "adjusted"])
    parameters = (Parameter(theme.nouns, theme.list_type()),)
    signature = Signature(f"{verb}_{theme.nouns}", parameters, theme.list_type())
    is_descending = bool(order) and rng.random() < 0.5
    return Changed(theme, place, value, when, keep, order, is_descending, signature).problem(rng)
