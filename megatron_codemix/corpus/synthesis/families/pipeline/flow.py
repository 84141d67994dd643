"""How stages become Python: tests and changes of one iteration wait until they must be written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from megatron_codemix.corpus.synthesis.grammar.code import Code, Level
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.values import Type
from megatron_codemix.corpus.synthesis.writing.source import Block, function

Form = Literal["comprehension", "loop"]


@dataclass(frozen=True)
class Items:
    """The elements of a list at one place: the variable that stands for one in trees, its name in
    Python, and the nouns."""

    variable: Variable
    name: str
    singular: str
    plural: str

    @property
    def type(self) -> Type:
        return self.variable.type


@dataclass
class Writer:
    """One solution while it is written."""

    form: Form
    block: Block
    naming: Naming
    uses_functions: bool = False
    """Whether tests and changes get functions of their own."""
    functions: dict[str, str] = field(default_factory=dict)

    def code(self, node: Node, names: Mapping[str, str], *roles: str) -> Code:
        """The expression, or a call of a function made of it, called by the first role that is
        free."""
        names = {**self.naming.names, **names}
        if not (self.uses_functions and roles and node.size() >= 1):
            return node.python(self.naming.renamed(names))
        name = self.block.name(*roles)
        used = [one for one in names if one in node.variables()]
        parameters = [f"{names[one]}: {_annotation(node, one)}" for one in used]
        body = Block()
        text = node.python(self.naming.renamed({one: names[one] for one in used})).text
        body.add(f"return {text}")
        result = "str" if node.kind == "char" else node.kind
        self.functions[name] = function(f"def {name}({', '.join(parameters)}) -> {result}:", body)
        return Code(f"{name}({', '.join(names[one] for one in used)})", Level.ATOM)


def _annotation(node: Node, variable: str) -> str:
    """The type of the variable as the tree has it; "" where it is not in the tree."""
    if node.variable is not None:
        return node.variable.type.python() if node.variable.name == variable else ""
    found = (_annotation(one, variable) for one in node.arguments)
    return next((text for text in found if text), "")


@dataclass(frozen=True)
class Flow:
    """Elements not yet written down: those of list `source`, called `items.name`, that pass
    `tests`; `element` is what is made of each, None where it is the element itself."""

    source: str
    items: Items
    """What the source holds."""
    tests: tuple[Code, ...] = ()
    element: Code | None = None

    def value(self) -> Code:
        return self.element or Code(self.items.name, Level.ATOM)

    def is_plain(self) -> bool:
        return not self.tests and self.element is None

    def condition(self) -> Code:
        if len(self.tests) == 1:
            return self.tests[0]
        return Code(" and ".join(f"{one:and}" for one in self.tests), Level.AND)

    def clauses(self) -> str:
        """`value for item in source if ...`, without brackets."""
        head = f"{self.value()} for {self.items.name} in {self.source}"
        return f"{head} if {self.condition():or}" if self.tests else head

    def listed(self) -> str:
        """An expression that is a list of the elements; the source itself if it is just those."""
        return self.source if self.is_plain() else f"[{self.clauses()}]"

    def iterated(self) -> str:
        """For a function that takes any iterable as its only argument."""
        return self.source if self.is_plain() else self.clauses()


def settled(writer: Writer, flow: Flow, items: Items, *names: str) -> Flow:
    """The flow as a list with a name, whose elements are `items`."""
    if flow.is_plain():
        return replace(flow, items=items) if items is not flow.items else flow
    name = writer.block.name(*names)
    block = writer.block
    if writer.form == "comprehension":
        block.add(f"{name} = {flow.listed()}")
    else:
        block.add(f"{name} = []")
        with block.inside(f"for {flow.items.name} in {flow.source}:"):
            append(block, flow, f"{name}.append({flow.value()})")
    return Flow(name, items)


def append(block: Block, flow: Flow, statement: str) -> None:
    """A statement for each element that passes, inside the loop."""
    if flow.tests:
        with block.inside(f"if {flow.condition()}:"):
            block.add(statement)
    else:
        block.add(statement)
