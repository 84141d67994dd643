"""How hard a problem is, estimated from the form of its reference solution."""

import ast
import math
from dataclasses import dataclass

_SCALE = 30.0
"""Points at which difficulty is 1 - 1/e = 0.63; a loop with one test and a sum has about 11."""
_BRANCHES = (ast.If, ast.IfExp, ast.While, ast.For, ast.comprehension, ast.BoolOp)
_BLOCKS = (ast.If, ast.While, ast.For, ast.FunctionDef, ast.ClassDef, ast.ListComp,
           ast.GeneratorExp, ast.Lambda)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """Counts over a program, annotations and docstrings left out."""

    statements: int
    operations: int
    """Operators, comparisons, subscripts."""
    branches: int
    calls: int
    functions: int
    depth: int
    """Of blocks and comprehensions inside one another."""


def difficulty(source: str) -> float:
    """In [0, 1): 1 - exp(-points / 30), where a statement is 1 point, an operation and a call 0.5,
    a branch 2, a further function 2, each level of nesting beyond the first 3. Rounded to 0.001."""
    form = measured(source)
    points = (
        form.statements
        + 0.5 * form.operations
        + 0.5 * form.calls
        + 2 * form.branches
        + 2 * (form.functions - 1)
        + 3 * max(0, form.depth - 1)
    )
    return round(1 - math.exp(-points / _SCALE), 3)


def measured(source: str) -> Form:
    tree = ast.parse(source)
    nodes = [node for node in ast.walk(tree) if not _is_docstring(node)]
    return Form(
        statements=_count(nodes, ast.stmt),
        operations=_count(nodes, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Subscript, ast.AugAssign),
        branches=_count(nodes, *_BRANCHES),
        calls=_count(nodes, ast.Call),
        functions=_count(nodes, ast.FunctionDef, ast.Lambda),
        depth=_depth(tree),
    )


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _count(nodes: list[ast.AST], *kinds: type[ast.AST]) -> int:
    return sum(isinstance(node, kinds) for node in nodes)


def _depth(node: ast.AST) -> int:
    inner = max((_depth(one) for one in ast.iter_child_nodes(node)), default=0)
    return inner + isinstance(node, _BLOCKS)
