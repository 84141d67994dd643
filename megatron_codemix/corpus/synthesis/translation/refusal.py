"""What is outside the restricted Python: refused by name and line, never translated by chance."""

import ast

from megatron_codemix.errors import DataError

_NAMES: dict[type[ast.AST], str] = {
    ast.Assert: "an assertion",
    ast.AsyncFor: "`async for`",
    ast.AsyncFunctionDef: "`async def`",
    ast.AsyncWith: "`async with`",
    ast.Await: "`await`",
    ast.Global: "`global`",
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.Match: "`match`",
    ast.NamedExpr: "an assignment within an expression",
    ast.Raise: "`raise`",
    ast.Starred: "a starred expression",
    ast.Try: "`try`",
    ast.TryStar: "`try`",
    ast.With: "`with`",
    ast.Yield: "`yield`",
    ast.YieldFrom: "`yield from`",
}


class UntranslatableError(DataError):
    """A construct that has no translation; `construct` and `line` (from 1) say which and where."""

    def __init__(self, construct: str, line: int) -> None:
        self.construct = construct
        self.line = line
        super().__init__(f"line {line}: {construct} has no translation into JavaScript")


def refused(node: ast.AST, construct: str | None = None) -> UntranslatableError:
    """The error to raise at a node, named by its kind where nothing else is given."""
    named = construct or _NAMES.get(type(node)) or f"`{_first_line(node)}`"
    return UntranslatableError(named, getattr(node, "lineno", 0))


def _first_line(node: ast.AST) -> str:
    line = ast.unparse(node).splitlines()[0] if isinstance(node, ast.stmt | ast.expr) else ""
    return (line or type(node).__name__)[:80]
