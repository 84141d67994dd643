"""Where each variable of a function is declared, and whether as `const`.

Python's variables belong to the function, JavaScript's to a block. A variable is declared in the
innermost block where no value of it is ever carried in from before: there at its first assignment
where that is the first thing that happens to it, or by a bare `let` before.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from megatron_codemix.corpus.synthesis.translation.scopes import Uses, bound_names


@dataclass
class Declarations:
    """By the identity of a statement: names that it declares, and names declared before it."""

    within: dict[int, dict[str, str]] = field(default_factory=dict)
    """name -> `const` or `let`."""
    before: dict[int, list[str]] = field(default_factory=dict)

    def keyword(self, node: ast.stmt, name: str) -> str | None:
        return self.within.get(id(node), {}).get(name)


def declarations_of(
    body: Sequence[ast.stmt], parameters: Sequence[str], uses: Uses
) -> Declarations:
    """Of the variables of one function; nested functions declare themselves."""
    placing = _Placing(uses)
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    for name in bound_names(body):
        if name not in parameters and name not in functions and name != "_":
            placing.place(name, body)
    return placing.found


class _Placing:
    """Looks for the places of one function's variables."""

    def __init__(self, uses: Uses) -> None:
        self.found = Declarations()
        self._uses = uses

    def place(self, name: str, body: Sequence[ast.stmt]) -> None:
        concerned = [node for node in body if self._uses.is_used(node, name)]
        simple = [node for node in concerned if not isinstance(node, ast.If | ast.While | ast.For)]
        is_carried = any(self._reads_first(node, name) for node in concerned) or len(simple) > 1
        if concerned and not is_carried:
            for node in concerned:
                self._place_within(name, node)
        elif concerned:
            first = concerned[0]
            if self._declares(first, name):
                self._declare(first, name, concerned)
            else:
                self.found.before.setdefault(id(first), []).append(name)

    def _declare(self, node: ast.stmt, name: str, concerned: Sequence[ast.stmt]) -> None:
        total = sum(self._uses.bindings(one, name) for one in concerned)
        self.found.within.setdefault(id(node), {})[name] = "const" if total == 1 else "let"

    def _place_within(self, name: str, node: ast.stmt) -> None:
        """In a statement that neither takes a value of the variable from before nor leaves one."""
        match node:
            case ast.If(body=body, orelse=other):
                self.place(name, body)
                self.place(name, other)
            case ast.For(target=target) if not _binds(target, name):
                self.place(name, node.body)
            case ast.While(body=body):
                self.place(name, body)
            case _:
                self._declare(node, name, [node])

    def _declares(self, node: ast.stmt, name: str) -> bool:
        """Whether a plain assignment gives the variable its first value."""
        match node:
            case ast.Assign(targets=targets, value=value):
                return any(_binds(one, name) for one in targets) and not self._uses.is_used(
                    value, name
                )
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                return target == name and not self._uses.is_used(value, name)
        return False

    def _reads_first(self, node: ast.stmt, name: str) -> bool:
        """Whether a value from before the statement may be read in it."""
        is_used = self._uses.is_used
        match node:
            case ast.Assign(targets=targets, value=value):
                reads = sum(self._uses.reads(one, name) for one in targets)
                return is_used(value, name) or reads > 0
            case ast.AnnAssign(value=value):
                return value is not None and is_used(value, name)
            case ast.If(test=test, body=body, orelse=other):
                in_blocks = self._block_reads(body, name) or self._block_reads(other, name)
                return is_used(test, name) or in_blocks
            case ast.While(test=test, body=body):
                return is_used(test, name) or self._block_reads(body, name)
            case ast.For(target=target, iter=items, body=body):
                if is_used(items, name) or self._uses.reads(target, name):
                    return True
                return not _binds(target, name) and self._block_reads(body, name)
        return is_used(node, name)

    def _block_reads(self, body: Sequence[ast.stmt], name: str) -> bool:
        for node in body:
            if self._reads_first(node, name):
                return True
            if _assigns(node, name):
                return False
        return False


def _assigns(node: ast.stmt, name: str) -> bool:
    """Whether the variable has a new value wherever the statement is gone through to its end."""
    match node:
        case ast.Assign(targets=targets):
            return any(_binds(one, name) for one in targets)
        case ast.AnnAssign(target=target, value=value):
            return value is not None and _binds(target, name)
        case ast.If(body=body, orelse=other):
            return _block_assigns(body, name) and _block_assigns(other, name)
        case ast.Return() | ast.Break() | ast.Continue():
            return True
    return False


def _block_assigns(body: Sequence[ast.stmt], name: str) -> bool:
    return any(_assigns(node, name) for node in body)


def _binds(target: ast.expr, name: str) -> bool:
    match target:
        case ast.Name(id=bound):
            return bound == name
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return any(_binds(one, name) for one in elements)
    return False
