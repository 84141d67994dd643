"""A tree given by the children of each node: values that go up from the leaves to the root."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.recursion.common import (
    notes_of,
    problem,
    solution,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import DictOf, Int, ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Gather = Literal["sum", "max", "min", "len"]
Kind = Literal["root", "count", "largest", "list"]
_MOST_NODES = 9
_THEMES = (
    ("folder", "folders", "contents", "sub-folder", "sub-folders"),
    ("person", "people", "reports", "direct report", "direct reports"),
    ("region", "regions", "parts", "part", "parts"),
    ("task", "tasks", "subtasks", "subtask", "subtasks"),
    ("branch", "branches", "twigs", "twig", "twigs"),
    ("node", "nodes", "children", "child", "children"),
)


@dataclass(frozen=True)
class Trees:
    """A leaf has the value `leaf` of its number n; an inner node `yes` or `no` (by `test` of n) of
    its number and g, what `gather` makes of its children's values."""

    name: str
    theme: tuple[str, str, str, str, str]
    gather: Gather
    leaf: Node
    test: Node | None
    yes: Node
    no: Node | None
    kind: Kind
    goal: Node
    """Of a value t: which nodes count."""

    def _values(self, children: dict[int, list[int]]) -> dict[int, int]:
        """Round by round: whoever's children are all known is next."""
        nodes = sorted({0, *children, *(one for own in children.values() for one in own)})
        values: dict[int, int] = {}
        while len(values) < len(nodes):
            for node in nodes:
                below = children.get(node, [])
                if node not in values and all(one in values for one in below):
                    values[node] = self._value(node, [values[one] for one in below])
        return values

    def _value(self, node: int, below: list[int]) -> int:
        if not below:
            return int(self.leaf.evaluate({"n": node}))
        ordered = sorted(below)
        gathered = {
            "sum": sum(below), "max": ordered[-1], "min": ordered[0], "len": len(below),
        }[self.gather]  # fmt: skip
        row = {"n": node, "g": gathered}
        rule = self.yes
        if self.test is not None and self.no is not None and not self.test.evaluate(row):
            rule = self.no
        return int(rule.evaluate(row))

    def oracle(self, children: dict[int, list[int]]) -> Value:
        values = self._values(children)
        if self.kind == "root":
            return values[0]
        if self.kind == "largest":
            return sorted(values.values())[-1]
        chosen = [one for one, value in values.items() if self.goal.evaluate({"t": value})]
        return len(chosen) if self.kind == "count" else sorted(chosen)

    def statement(self, rng: Random) -> str:
        noun, nouns, parameter, below, all_below = self.theme
        gathered = {
            "sum": f"the sum of the values of its {all_below}",
            "max": f"the largest value among its {all_below}",
            "min": f"the smallest value among its {all_below}",
            "len": f"the number of its {all_below}",
        }[self.gather]
        subjects = {
            "n": Subject("its own number"),
            "g": Subject(gathered),
            "t": Subject("its value"),
        }
        leaf = self.leaf.phrase(rng, {"n": Subject("its number")})
        yes = self.yes.phrase(rng, subjects)
        rule = f"for every other {noun}, the value is {yes}"
        if self.test is not None and self.no is not None:
            condition = self.test.condition(rng, subjects).clause()
            no = self.no.phrase(rng, subjects)
            rule = f"for every other {noun}: if {condition}, the value is {yes}, otherwise {no}"
        model = [
            f"the {nouns} form a tree with {noun} 0 at the top; `{parameter}[n]` lists the numbers "
            f"of the {all_below} of {noun} `n`, and a {noun} that is no key has none (nor has one "
            "with an empty list)",
            f"each {noun} has a value; without any {below} it is {leaf}",
            rule,
        ]
        goal = self.goal.condition(rng, subjects).clause()
        result = {
            "root": f"the value of {noun} 0",
            "largest": f"the largest value of all {nouns}",
            "count": f"the number of {nouns} in the tree for which the following is true: {goal}",
            "list": f"a sorted list of the numbers of all {nouns} in the tree for which the "
            f"following is true: {goal}",
        }[self.kind]
        words = f"a dictionary from numbers of {nouns} to lists of numbers"
        task = Task(
            name=self.name,
            given=[Given(parameter, words)],
            model=model,
            result=result,
            notes=notes_of(self.leaf, self.test, self.yes, self.no),
        )
        return phrased(rng, task)

    def _signature(self) -> str:
        return f"def {self.name}({self._parameter().python()}) -> {self._returns().python()}:"

    def _parameter(self) -> Parameter:
        return Parameter(self.theme[2], DictOf(Int(), ListOf(Int())))

    def _returns(self) -> Type:
        return ListOf(Int()) if self.kind == "list" else Int()

    def _gathered(self, values: str) -> str:
        return f"{self.gather}({values})"

    def _rule(self, block: Block, naming: Naming, gathered: str, target: str) -> None:
        used = self.yes.variables() | (self.no.variables() if self.no else set())
        used |= self.test.variables() if self.test else set()
        names = naming.renamed({"n": naming.names["n"], "g": "gathered"})
        if "g" in used:
            block.add(f"gathered = {gathered}")
        if self.test is None or self.no is None:
            block.add(f"{target}{self.yes.python(names)}")
            return
        with block.inside(f"if {self.test.python(names)}:"):
            block.add(f"{target}{self.yes.python(names)}")
        if target == "return ":
            block.add(f"return {self.no.python(names)}")
        else:
            with block.inside("else:"):
                block.add(f"{target}{self.no.python(names)}")

    def _end(self, block: Block, naming: Naming) -> None:
        noun = self.theme[0]
        goal = self.goal.python(naming.renamed({"t": "value"}))
        block.add(
            {
                "root": "return values[0]",
                "largest": "return max(values.values())",
                "count": f"return sum(1 for value in values.values() if {goal:or})",
                "list": f"return sorted({noun} for {noun}, value in values.items() if {goal:or})",
            }[self.kind]
        )

    def _recursive(self) -> Solution:
        noun, _, parameter, *_ = self.theme
        naming = Naming({"n": noun}, 0)
        block = Block({parameter, noun, "values", self.name})
        keeps = self.kind != "root"
        if keeps:
            block.add("values = {}")
            block.add("")
        with block.inside(f"def value_of({noun}: int) -> int:"):
            block.add(f"below = [value_of(one) for one in {parameter}.get({noun}, [])]")
            target = f"values[{noun}] = " if keeps else "return "
            with block.inside("if not below:"):
                block.add(f"{target}{self.leaf.python(naming)}")
            if keeps:
                with block.inside("else:"):
                    self._rule(block, naming, self._gathered("below"), target)
                block.add(f"return values[{noun}]")
            else:
                self._rule(block, naming, self._gathered("below"), target)
        block.add("")
        if keeps:
            block.add("value_of(0)")
            self._end(block, naming)
        else:
            block.add("return value_of(0)")
        return solution("recursive", self._signature(), block, naming)

    def _ordered(self) -> Solution:
        """All nodes in an order that has children later; then backwards."""
        noun, _, parameter, *_ = self.theme
        naming = Naming({"n": noun}, 1, uses_helpers=True)
        block = Block({parameter, noun, "values", "order", self.name})
        block.add("order = [0]")
        with block.inside(f"for {noun} in order:"):
            block.add(f"order.extend({parameter}.get({noun}, []))")
        block.add("values = {}")
        with block.inside(f"for {noun} in reversed(order):"):
            block.add(f"below = [values[one] for one in {parameter}.get({noun}, [])]")
            with block.inside("if below:"):
                self._rule(block, naming, self._gathered("below"), f"values[{noun}] = ")
            with block.inside("else:"):
                block.add(f"values[{noun}] = {self.leaf.python(naming)}")
        self._end(block, naming)
        return solution("levels", self._signature(), block, naming)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        """The root alone, a chain, a star; then random trees."""
        yield ({},)
        yield ({0: []},)
        yield ({0: [1], 1: [2]},)
        yield ({0: [3, 1, 2]},)
        while True:
            yield (_tree(rng),)

    def problem(self) -> Problem:
        parts = [self.leaf, self.test, self.yes, self.no]
        if self.kind in ("count", "list"):
            parts.append(self.goal)
        return problem(
            spec=["tree", self.kind, self.gather, *(one and one.spec() for one in parts)],
            name=self.name,
            parameters=(self._parameter(),),
            returns=self._returns(),
            statement=self.statement,
            solutions=(self._recursive(), self._ordered()),
            oracle=self.oracle,
            inputs=self.inputs,
            summary=f"Values of {self.theme[1]} that follow from those below them.",
        )


def _tree(rng: Random) -> dict[int, list[int]]:
    """Numbers are no order: a child may have a smaller one than its parent, but for the root."""
    size = rng.randint(2, _MOST_NODES)
    names = [0, *rng.sample(range(1, size), size - 1)]
    children: dict[int, list[int]] = {}
    for place in range(1, size):
        parent = names[rng.randrange(max(0, place - 4), place)]
        children.setdefault(parent, []).append(names[place])
    return children


def draw_trees(rng: Random) -> Problem:
    node = Variable("n", Int(0, _MOST_NODES), "int", (0, _MOST_NODES))
    gather: Gather = rng.choices(("sum", "max", "min", "len"), (3, 1.5, 1, 1))[0]
    leaf = draw_integer(rng, [node], rng.choice([0, 1, 1, 2]))
    span = (0, 5) if gather == "len" else (0, 40)
    gathered = Variable("g", Int(*span), "int", (-200, 200) if gather != "len" else (0, 8))
    yes = draw_integer(
        rng, [gathered, node] if rng.random() < 0.7 else [gathered], rng.choice([1, 2])
    )
    test = no = None
    if rng.random() < 0.65:
        test = draw_test(rng, [rng.choice([node, gathered])], 1)
        no = draw_integer(rng, [gathered] if rng.random() < 0.5 else [gathered, node], 1)
        if no.spec() == yes.spec():
            raise NothingDrawn
    rules = yes.rules() | (no.rules() if no else set())
    if rules & {"conditional", "square", "product"}:  # values would grow with the depth
        raise NothingDrawn
    goal = draw_test(rng, [Variable("t", Int(-10, 40), "int", (-60, 200))], 1)
    kind: Kind = rng.choices(("root", "count", "largest", "list"), (2, 1, 1, 1.2))[0]
    theme = rng.choice(_THEMES)
    verb = {"root": "top_value_of", "count": "count", "largest": "largest_of", "list": "find"}[kind]
    return Trees(f"{verb}_{theme[1]}", theme, gather, leaf, test, yes, no, kind, goal).problem()
