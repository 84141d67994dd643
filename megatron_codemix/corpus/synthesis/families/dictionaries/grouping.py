"""A list is sorted into groups by a key; each group counts, adds up or remembers something."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.dictionaries.endings import (
    TableEnding,
    TableWords,
    draw_table_ending,
)
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
    draw_text,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject, plural
from megatron_codemix.corpus.synthesis.grammar.node import Kind, Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Str, TupleOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Measure = Literal["count", "sum", "largest", "smallest", "first", "last"]


@dataclass(frozen=True)
class Theme:
    """What the list holds. Of pairs the first is the key, and the second what is measured."""

    plural: str
    singular: str
    words: str
    kind: Kind
    type: Type
    range: tuple[int, int]
    is_pairs: bool = False
    key: str = ""
    value: str = ""


THEMES = (
    Theme("numbers", "number", "a list of integers", "int", Int(-30, 60), (-30, 60)),
    Theme("scores", "score", "a list of scores from 0 to 99", "int", Int(0, 99), (0, 99)),
    Theme("temperatures", "temperature", "a list of temperatures", "int", Int(-20, 40), (-20, 40)),
    Theme("words", "word", "a list of words (some may be empty)", "str", Str(), (0, 8)),
    Theme("names", "name", "a list of names (texts)", "str", Str(1), (1, 8)),
    Theme("tags", "tag", "a list of tags (texts)", "str", Str(1), (1, 8)),
    Theme(
        "sales", "sale",
        "a list of tuples `(product, amount)`, the name of a product and an integer",
        "str", Str(1), (1, 8), True, "product", "amount",
    ),
    Theme(
        "payments", "payment",
        "a list of tuples `(person, amount)`, the name of a person and an integer",
        "str", Str(1), (1, 8), True, "person", "amount",
    ),
    Theme(
        "results", "result",
        "a list of tuples `(team, score)`, the name of a team and an integer",
        "str", Str(1), (1, 8), True, "team", "score",
    ),
    Theme(
        "visits", "visit",
        "a list of tuples `(page, duration)`, the name of a page and an integer",
        "str", Str(1), (1, 8), True, "page", "duration",
    ),
)  # fmt: skip
_AMOUNT = (-20, 60)
_MEASURES: tuple[Measure, ...] = ("count", "sum", "largest", "smallest", "first", "last")
_WEIGHTS = (2, 2, 1, 1, 1, 1)
_NAMES = {
    "table": "{value}_by_{key}", "keys": "{keys}_of_{items}", "best": "best_{key}_of_{items}",
    "ranking": "{keys}_by_{value}", "sum": "sum_over_{keys}_of_{items}",
    "count": "count_{keys}_of_{items}",
}  # fmt: skip


@dataclass(frozen=True)
class Grouping:
    theme: Theme
    name: str
    item: Variable
    amount: Variable | None
    test: Node | None
    """Which elements take part."""
    key: Node
    value: Node
    """What an element adds to its group."""
    measure: Measure
    ending: TableEnding

    def row(self, element: Value) -> dict[str, Value]:
        return {"x": element[0], "y": element[1]} if self.theme.is_pairs else {"x": element}

    def table(self, given: Sequence[Value]) -> dict[Value, Value]:
        """Groups first, then what each of them comes to."""
        groups: list[tuple[Value, list[Value]]] = []
        for element in given:
            row = self.row(element)
            if self.test is not None and not self.test.evaluate(row):
                continue
            key, value = self.key.evaluate(row), self.value.evaluate(row)
            group = next((members for own, members in groups if own == key), None)
            if group is None:
                groups.append((key, [value]))
            else:
                group.append(value)
        return {key: self._measured(members) for key, members in groups}

    def _measured(self, members: list[Value]) -> Value:
        ordered = sorted(members)
        return {
            "count": len(members),
            "sum": sum(members),
            "largest": ordered[-1],
            "smallest": ordered[0],
            "first": members[0],
            "last": members[-1],
        }[self.measure]

    def oracle(self, given: list[Value]) -> Value:
        return self.ending.apply(self.table(given))

    def _subjects(self) -> dict[str, Subject]:
        if self.theme.is_pairs:
            return {
                "x": Subject(f"the {self.theme.key}'s name"),
                "y": Subject(f"the {self.theme.value}"),
            }
        return {"x": Subject(f"the {self.theme.singular}", True)}

    def statement(self, rng: Random) -> str:
        theme, subjects = self.theme, self._subjects()
        model = []
        if self.test is not None:
            condition = self.test.condition(rng, subjects)
            if theme.is_pairs:
                model.append(f"only those {theme.plural} count for which {condition.clause()}")
            else:
                model.append(
                    rng.choice(
                        [
                            f"only {theme.plural} {condition.relative(is_plural=True)} are looked "
                            "at",
                            f"leave out every {theme.singular} except those "
                            f"{condition.relative(is_plural=True)}",
                        ]
                    )
                )
        model += self._grouping(rng, subjects)
        notes = self.ending.notes() | self.key.notes()
        notes |= set() if self.measure == "count" else self.value.notes()
        notes |= self.test.notes() if self.test else set()
        given = [Given(theme.plural, theme.words)]
        task = Task(
            name=self.name,
            given=given,
            model=model,
            result=self.ending.say(rng),
            notes=sorted(notes),
        )
        return phrased(rng, task)

    def _grouping(self, rng: Random, subjects: dict[str, Subject]) -> list[str]:
        theme, words = self.theme, self.ending.words
        key = self.key.phrase(rng, subjects)
        if theme.is_pairs and self.key.rule is None:
            said = [f"the {theme.plural} of one {theme.key} belong together"]
        else:
            said = [
                rng.choice(
                    [
                        f"the {words.key_noun} of a {theme.singular} is {key}; {theme.plural} with "
                        "the same one form a group",
                        f"put the {theme.plural} into groups: the {words.key_noun} that decides is "
                        f"{key}",
                    ]
                )
            ]
        owner = words.key_noun
        clear = {name: Subject(one.phrase) for name, one in subjects.items()}
        value = self.value.phrase(rng, clear)
        what = words.value_phrase.removeprefix("its ")
        if self.measure == "count":
            said.append(f"the {what} of a {owner} is the number of its {theme.plural}")
        elif self.measure == "sum":
            said.append(
                f"the {what} of a {owner} is a sum to which each of its {theme.plural} adds {value}"
            )
        elif self.measure in ("largest", "smallest"):
            said.append(
                f"the {what} of a {owner} is the {self.measure} value, over its {theme.plural}, of "
                f"{value}"
            )
        else:
            said.append(
                f"the {what} of a {owner} comes from the {self.measure} of its {theme.plural} in "
                f"the list: it is {value}"
            )
        return said

    def _naming(self, way: int, *, uses_helpers: bool = False) -> Naming:
        if self.theme.is_pairs:
            names = {"x": self.theme.key, "y": self.theme.value}
        else:
            names = {"x": self.theme.singular}
        return Naming(names, way, uses_helpers)

    def _block(self) -> Block:
        words, theme = self.ending.words, self.theme
        own = {theme.key, theme.value, theme.singular, theme.plural, words.key, words.value}
        return Block({*own, self.name, "table", "groups", "members"} - {""})

    def _header(self, *, needs_value: bool = False) -> str:
        theme = self.theme
        if not theme.is_pairs:
            return f"for {theme.singular} in {theme.plural}:"
        used = self.key.variables() | (self.test.variables() if self.test else set())
        if needs_value and self.measure == "count":
            used.add("y")
        elif self.measure != "count":
            used |= self.value.variables()
        names = [theme.key if "x" in used else "_", theme.value if "y" in used else "_"]
        return f"for {names[0]}, {names[1]} in {theme.plural}:"

    def _one_pass(self) -> Solution:
        naming = self._naming(0)
        block, words = self._block(), self.ending.words
        block.add("table = {}")
        with block.inside(self._header()):
            if self.test is not None:
                with block.inside(f"if {negated(self.test.python(naming))}:"):
                    block.add("continue")
            own = words.key
            key = self.key.python(naming)
            if self.key.rule is None or own == key.text:
                own = key.text
            else:
                block.add(f"{own} = {key}")
            self._update(block, own, naming)
        self.ending.write(block, naming, "table", is_loop=False)
        return self._solution("one pass", block, naming)

    def _update(self, block: Block, key: str, naming: Naming) -> None:
        value = self.value.python(naming)
        if self.measure == "count":
            block.add(f"table[{key}] = table.get({key}, 0) + 1")
        elif self.measure == "sum":
            block.add(f"table[{key}] = table.get({key}, 0) + {value:product}")
        elif self.measure == "last":
            block.add(f"table[{key}] = {value}")
        elif self.measure == "first":
            with block.inside(f"if {key} not in table:"):
                block.add(f"table[{key}] = {value}")
        else:
            name = "max" if self.measure == "largest" else "min"
            own = value.text
            if self.value.rule is not None:
                own = block.name("candidate", "amount_now")
                block.add(f"{own} = {value}")
            block.add(f"table[{key}] = {name}({own}, table.get({key}, {own}))")

    def _two_passes(self) -> Solution:
        """Groups as lists first."""
        naming = self._naming(1, uses_helpers=True)
        block, words = self._block(), self.ending.words
        block.add("groups = {}")
        with block.inside(self._header(needs_value=True)):
            entry = str(self.value.python(naming))
            if self.measure == "count":
                entry = self.theme.value if self.theme.is_pairs else self.theme.singular
            add = f"groups.setdefault({self.key.python(naming)}, []).append({entry})"
            if self.test is not None:
                with block.inside(f"if {self.test.python(naming)}:"):
                    block.add(add)
            else:
                block.add(add)
        of = {
            "count": "len(members)",
            "sum": "sum(members)",
            "largest": "max(members)",
            "smallest": "min(members)",
            "first": "members[0]",
            "last": "members[-1]",
        }[self.measure]
        block.add(f"table = {{{words.key}: {of} for {words.key}, members in groups.items()}}")
        self.ending.write(block, naming, "table", is_loop=True)
        return self._solution("two passes", block, naming)

    def _solution(self, style: str, block: Block, naming: Naming) -> Solution:
        parameter = self._parameter().python()
        text = function(f"def {self.name}({parameter}) -> {self.ending.returns.python()}:", block)
        return Solution(style, module([*naming.helpers.values(), text]))

    def _parameter(self) -> Parameter:
        item = self.theme.type
        if self.theme.is_pairs:
            item = TupleOf((item, Int(*_AMOUNT)))
        return Parameter(self.theme.plural, ListOf(item, 0, 9))

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Nothing, one element, the same again; then lists in which keys come back."""
        yield from inputs_of(self.theme, rng)

    def problem(self) -> Problem:
        parts = [self.test, self.key, None if self.measure == "count" else self.value]
        return Problem(
            family="dictionaries",
            spec=[
                "grouping",
                self.theme.kind,
                self.theme.is_pairs,
                self.measure,
                *(one and one.spec() for one in parts),
                self.ending.spec(),
            ],
            name=self.name,
            parameters=(self._parameter(),),
            returns=self.ending.returns,
            statement=self.statement,
            solutions=(self._one_pass(), self._two_passes()),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"Groups of {self.theme.plural} and what they come to.",
        )


def inputs_of(theme: Theme, rng: Random) -> Iterator[Arguments]:
    yield ([],)
    one = _element(theme, rng, ["a", "tea"])
    yield ([one],)
    yield ([one, one],)
    while True:
        few = [theme.type.draw(rng, 8) for _ in range(rng.randint(2, 5))]
        yield ([_element(theme, rng, few) for _ in range(rng.randint(2, 9))],)


def _element(theme: Theme, rng: Random, few: Sequence[Value]) -> Value:
    if theme.is_pairs:
        return rng.choice(few), rng.randint(*_AMOUNT)
    return theme.type.draw(rng, 8) if theme.kind == "int" else rng.choice(few)


def draw_grouping(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    item = Variable("x", theme.type, theme.kind, theme.range)
    amount = Variable("y", Int(*_AMOUNT), "int", _AMOUNT) if theme.is_pairs else None
    measured = amount or item
    test = None
    if rng.random() < 0.55:
        tested = amount if amount is not None and rng.random() < 0.7 else item
        test = draw_test(rng, [tested], 1 if rng.random() < 0.7 else 2)
    key = _draw_key(rng, theme, item)
    measure: Measure = rng.choices(_MEASURES, _WEIGHTS)[0]
    if measured.kind == "str":
        value = draw_integer(rng, [measured], rng.choice([1, 1, 2]))
    else:
        value = draw_integer(rng, [measured], rng.choice([0, 0, 1, 1, 2]))
    words = _words(rng, theme, key, measure)
    samples = _samples(rng, theme, item, amount, test, key, value, measure)
    key_type: Type = Int() if key.kind == "int" else Str()
    key_variable = Variable("k", key_type, key.kind, key.range())
    least, most = value.range()
    value_range = {"count": (0, 9), "sum": (min(0, 9 * least), max(0, 9 * most))}.get(
        measure, (least, most)
    )
    value_variable = Variable("v", Int(*value_range), "int", value_range)
    ending = draw_table_ending(rng, key_variable, value_variable, key_type, words, samples)
    name = _NAMES[ending.kind].format(
        value=words.value, key=words.key, keys=plural(words.key), items=theme.plural
    )
    return Grouping(theme, name, item, amount, test, key, value, measure, ending).problem()


def _draw_key(rng: Random, theme: Theme, item: Variable) -> Node:
    """Few different keys; of pairs mostly the first entry itself."""
    if theme.is_pairs and rng.random() < 0.6:
        return draw_text(rng, [item], 0)
    if theme.kind == "str" and rng.random() < 0.4:
        key = draw_text(rng, [item], 1)
        if key.rule is not None and key.rule.aspect == "more":
            raise NothingDrawn
        return key
    key = draw_integer(rng, [item], rng.choice([1, 1, 2]))
    low, high = key.range()
    if high - low > 40 or "conditional" in key.rules():
        raise NothingDrawn
    return key


def _words(rng: Random, theme: Theme, key: Node, measure: Measure) -> TableWords:
    nouns = {
        "count": ("count", "size", "frequency"),
        "sum": ("total", "sum", "yield"),
        "largest": ("maximum", "peak", "record"),
        "smallest": ("minimum", "low", "least value"),
        "first": ("first value", "opening value"),
        "last": ("last value", "closing value"),
    }[measure]
    phrase = rng.choice(nouns)
    noun = {"sum": "total", "yield": "outcome"}.get(phrase, phrase.replace(" ", "_"))
    if key.rule is None:
        return TableWords(theme.key, noun, theme.key, f"its {phrase}", f"the {theme.key}'s name")
    own = "key" if key.kind == "int" else rng.choice(["key", "label"])
    own = rng.choice([own, "class", "kind"]) if key.kind == "int" else own
    python = {"class": "group_class"}.get(own, own)
    return TableWords(python, noun, own, f"its {phrase}", f"the {own}")


def _samples(
    rng: Random,
    theme: Theme,
    item: Variable,
    amount: Variable | None,
    test: Node | None,
    key: Node,
    value: Node,
    measure: Measure,
) -> list[dict[str, Value]]:
    """Entries of tables that random inputs give."""
    words = TableWords("k", "v", "k", "v", "k")
    ending = TableEnding("table", None, value, Int(), words)
    grouping = Grouping(theme, "f", item, amount, test, key, value, measure, ending)
    found: list[dict[str, Value]] = []
    source = inputs_of(theme, rng)
    values_of_key: dict[Value, set[Value]] = {}
    for _ in range(60):
        (given,) = next(source)
        found += [{"k": own, "v": number} for own, number in grouping.table(given).items()]
        for row in map(grouping.row, given):
            values_of_key.setdefault(key.evaluate(row), set()).add(value.evaluate(row))
    if measure != "count" and all(len(values) == 1 for values in values_of_key.values()):
        raise NothingDrawn  # the key says it already
    if len(found) < 40 or len({str(one["k"]) for one in found}) < 3:
        raise NothingDrawn
    return found[:120]
