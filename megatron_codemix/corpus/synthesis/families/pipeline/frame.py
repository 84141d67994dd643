"""Makes a problem of a list, stages and an ending: statement, solutions, inputs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.pipeline.endings import Ending
from megatron_codemix.corpus.synthesis.families.pipeline.flow import Flow, Form, Items, Writer
from megatron_codemix.corpus.synthesis.families.pipeline.stages import Stage
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block, function, module
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

_LOOP_NAMES = ("index", "start", "end", "earlier", "later")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the list comes from: it is the parameter itself, or is made from it."""

    parameter: Parameter
    words: str
    """What the parameter is: "a list of integers"."""
    source: str = ""
    """What the list is called in solutions, where `prelude` makes it; else it is the parameter."""
    prelude: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    """Sentences on how the list comes from the parameter."""
    listed: Callable[[Value], list[Value]] = list
    """The interpreter's reading of `prelude`."""
    edges: tuple[Value, ...] = ()
    """Inputs to begin with."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    family: str
    name: str
    origin: Origin
    others: Sequence[Variable]
    """Further parameters; what they are called is `other_names`, what they are `other_words`."""
    other_names: Sequence[str]
    other_words: Sequence[str]
    items: Items
    stages: Sequence[Stage]
    ending: Ending

    def spec(self) -> Any:
        return {
            "items": self.items.variable.kind,
            "origin": list(self.origin.prelude),
            "stages": [one.spec() for one in self.stages],
            "ending": self.ending.spec(),
        }

    def subjects(self) -> dict[str, Subject]:
        pairs = zip(self.others, self.other_names, strict=True)
        return {one.name: Subject(f"`{name}`") for one, name in pairs}

    def last_items(self) -> Items:
        return self.stages[-1].items if self.stages else self.items

    def evaluate(self, values: Value, *others: Value) -> Value:
        """The oracle: each stage's own interpreter in turn."""
        environment = {one.name: value for one, value in zip(self.others, others, strict=True)}
        items = self.origin.listed(values)
        for stage in self.stages:
            items = stage.apply(items, environment)
        return self.ending.apply(items, environment)

    def statement(self, rng: Random) -> str:
        others = self.subjects()
        steps, before = [], self.items
        for stage in self.stages:
            steps.append(stage.say(rng, before, others))
            before = stage.items
        result = self.ending.say(rng, before, self._nouns(rng), others)
        others_given = zip(self.other_names, self.other_words, strict=True)
        given = [
            Given(self.origin.parameter.name, self.origin.words),
            *(Given(name, words) for name, words in others_given),
        ]
        task = Task(
            name=self.name,
            given=given,
            model=self.origin.model,
            steps=steps,
            result=result,
            notes=self._notes(),
        )
        return phrased(rng, task)

    def _notes(self) -> list[str]:
        trees = [node for one in (*self.stages, self.ending) for node in trees_of(one)]
        return sorted(set().union(*(node.notes() for node in trees)))

    def _nouns(self, rng: Random) -> str:
        """The elements that the ending is about."""
        plural = self.last_items().plural
        if not self.stages:
            return rng.choice([f"the {plural}", f"all {plural}"])
        if plural in ("results", "outcomes"):
            return rng.choice([f"the {plural}", f"all {plural}"])
        if plural == self.items.plural:
            return rng.choice([f"the remaining {plural}", f"the {plural} that are left"])
        return rng.choice([f"the resulting {plural}", f"the {plural} obtained in this way"])

    def solution(self, style: str, form: Form, way: int, *, uses_functions: bool) -> Solution:
        source = self.origin.source or self.origin.parameter.name
        parameters = [self.origin.parameter.name, source, *self.other_names]
        items = {self.items.name, *(one.items.name for one in self.stages)}
        block = Block({*parameters, *items, self.name, *_LOOP_NAMES})
        names = {one.name: name for one, name in zip(self.others, self.other_names, strict=True)}
        naming = Naming(names, way, uses_helpers=uses_functions or form == "loop")
        writer = Writer(form, block, naming, uses_functions)
        for line in self.origin.prelude:
            block.add(line)
        flow = Flow(source, self.items)
        for stage in self.stages:
            flow = stage.write(writer, flow)
        self.ending.write(writer, flow)
        parts = [*naming.helpers.values(), *writer.functions.values()]
        text = function(self._signature(), block)
        return Solution(style, module([*parts, text]))

    def _signature(self) -> str:
        others = zip(self.other_names, self.others, strict=True)
        parameters = [
            self.origin.parameter.python(),
            *(f"{n}: {o.type.python()}" for n, o in others),
        ]
        return f"def {self.name}({', '.join(parameters)}) -> {self.ending.returns.python()}:"

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """Empty, single, equal elements; then lists of growing length."""
        given = self.origin.parameter.type

        def others() -> tuple[Value, ...]:
            return tuple(one.type.draw(rng, 8) for one in self.others)

        for edge in self.origin.edges or _list_edges(given, rng):
            yield edge, *others()
        while True:
            yield given.draw(rng, rng.randint(3, 10)), *others()

    def problem(self, summary: str) -> Problem:
        others = zip(self.other_names, self.others, strict=True)
        return Problem(
            family=self.family,
            spec=self.spec(),
            name=self.name,
            parameters=(self.origin.parameter, *(Parameter(n, o.type) for n, o in others)),
            returns=self.ending.returns,
            statement=self.statement,
            solutions=(
                self.solution("comprehension", "comprehension", 0, uses_functions=False),
                self.solution("loop", "loop", 1, uses_functions=False),
                self.solution("functions", "comprehension", 1, uses_functions=True),
            ),
            oracle=self.evaluate,
            properties=(),
            inputs=self.inputs,
            summary=summary,
        )


def _list_edges(lists: Type, rng: Random) -> tuple[Value, ...]:
    """Empty, one element, equal ones, two."""
    assert isinstance(lists, ListOf)
    one = lists.item.draw(rng, 6)
    return [], [one], [one, one, one], [lists.item.draw(rng, 6), one]


def trees_of(part: object) -> list[Node]:
    """The trees that a stage or an ending holds."""
    fields = (getattr(part, name, None) for name in ("test", "value", "key", "node"))
    return [one for one in fields if isinstance(one, Node)]
