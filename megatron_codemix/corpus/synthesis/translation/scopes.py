"""Which names a function binds, and where a name is looked up."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from megatron_codemix.corpus.synthesis.translation.types import Type, Unknown

_OWN_SCOPE = (
    ast.FunctionDef,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)


@dataclass
class Scope:
    """Types of the names that a function, a lambda or a comprehension binds."""

    parent: "Scope | None" = None
    names: dict[str, Type] = field(default_factory=dict)

    def holder(self, name: str) -> "Scope | None":
        """The nearest scope that has the name."""
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope


def function_scope(node: ast.FunctionDef, parent: Scope | None) -> Scope:
    """Of a function whose parameters are still to be added; all that it binds is unknown."""
    return Scope(parent, {name: Unknown() for name in bound_names(node.body)})


def bound_names(body: Sequence[ast.stmt]) -> list[str]:
    """Names that these statements bind in their own function, in order of appearance; nested
    functions are among them, `nonlocal` names are not."""
    outer = {
        name for node in walk_here(body) if isinstance(node, ast.Nonlocal) for name in node.names
    }
    found: dict[str, None] = {}
    for node in walk_here(body):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name):
                if name not in outer:
                    found[name] = None
    return list(found)


def walk_here(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """All nodes in source order that belong to the function itself: of what has a scope of its own
    only the node."""
    for node in body:
        yield node
        if not isinstance(node, _OWN_SCOPE):
            yield from walk_here(list(ast.iter_child_nodes(node)))


def walk_all(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """All nodes, of nested functions and comprehensions too."""
    for node in body:
        yield from ast.walk(node)


class Uses:
    """Which variables of a function its nodes read and bind: not those that a comprehension, a
    lambda or a nested function has of its own. Worked out once for each node."""

    def __init__(self) -> None:
        self._counts: dict[int, Mapping[str, tuple[int, int]]] = {}

    def is_used(self, node: ast.AST, name: str) -> bool:
        return name in self._of(node)

    def reads(self, node: ast.AST, name: str) -> int:
        """How often the variable's value is needed in a node."""
        return self._of(node).get(name, (0, 0))[0]

    def bindings(self, node: ast.AST, name: str) -> int:
        """In how many places of a node the variable gets a value."""
        return self._of(node).get(name, (0, 0))[1]

    def _of(self, node: ast.AST) -> Mapping[str, tuple[int, int]]:
        """name -> (reads, bindings)."""
        if id(node) not in self._counts:
            self._counts[id(node)] = self._counted(node)
        return self._counts[id(node)]

    def _counted(self, node: ast.AST) -> Mapping[str, tuple[int, int]]:
        if isinstance(node, ast.Name):
            return {node.id: (1, 0) if isinstance(node.ctx, ast.Load) else (0, 1)}
        own: set[str] = set()
        outside: ast.AST | None = None
        match node:
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                own = {name for each in node.generators for name in names_in(each.target)}
                outside = node.generators[0].iter  # worked out before its names exist
            case ast.Lambda(args=arguments):
                own = {one.arg for one in arguments.args}
            case ast.FunctionDef(args=arguments, body=body):
                own = {one.arg for one in arguments.args} | set(bound_names(body))
        counts: dict[str, tuple[int, int]] = {}
        for child in ast.iter_child_nodes(node):
            self._add(counts, child, own)
        if outside is not None:
            self._add(counts, outside, set(self._of(outside)) - own)
        return counts

    def _add(self, counts: dict[str, tuple[int, int]], node: ast.AST, without: set[str]) -> None:
        for name, (reads, bindings) in self._of(node).items():
            if name not in without:
                before = counts.get(name, (0, 0))
                counts[name] = before[0] + reads, before[1] + bindings


def names_in(target: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(target) if isinstance(one, ast.Name)]
