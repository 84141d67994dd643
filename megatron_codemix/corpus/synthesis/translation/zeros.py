"""Where JavaScript makes -0, which Python's integers do not have, and where that cannot be seen.

`0 * -3`, `-0`, `Math.floor(0 / -3)` and `Number.parseInt("-0", 10)` give it. Most of what takes a
number takes it for 0: sums, comparisons, indices, text. What is left shows: Node's `assert` and
`console.log` tell the two apart (ECMAScript 6.1.6.1.14 and 6.1.6.1.20; `Object.is`).
"""

import ast
from collections.abc import Callable, Iterator

Least = Callable[[ast.expr], float]
"""What an integer expression is known to be at least; minus infinity where nothing is known."""
_ORDERING = ("sorted", "min", "max", "sort")


def may_be_negative_zero(node: ast.expr, least: Least) -> bool:
    """Whether an expression that is written plainly may give -0. Names, elements and results of
    calls never do: what is stored and returned is written with care."""
    match node:
        case ast.BinOp(left=left, op=ast.Mult() | ast.FloorDiv() as operator, right=right):
            return may_make_negative_zero(left, operator, right, least)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
            return value == 0
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return least(operand) < 1
    return _is_reading(node)


def may_make_negative_zero(
    left: ast.expr, operator: ast.operator, right: ast.expr, least: Least
) -> bool:
    """Whether an operation may give -0: a product of zero and less than zero, or a quotient."""
    if not isinstance(operator, ast.Mult | ast.FloorDiv):
        return False
    if may_be_negative_zero(left, least) or may_be_negative_zero(right, least):
        return True
    one, other = least(left), least(right)
    is_square = isinstance(left, ast.Name) and ast.dump(left) == ast.dump(right)
    return not (one >= 1 or other >= 1 or is_square or min(one, other) >= 0)


def _is_reading(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "int"


def unseen(tree: ast.Module) -> frozenset[int]:
    """Identities of expressions that may as well give -0: what they stand in takes it for 0."""
    own = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and _is_stored(one)}
    own |= {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    own |= {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}
    return frozenset(id(part) for node in ast.walk(tree) for part in _unseen_in(node, own))


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _unseen_in(node: ast.AST, own: set[str]) -> Iterator[ast.expr | None]:
    match node:
        case ast.BinOp():
            yield from _operands(node)
        case ast.AugAssign(value=value):
            yield value
        case ast.UnaryOp(operand=operand):
            if not isinstance(node.op, ast.UAdd):
                yield operand
        case ast.Compare(left=left, comparators=others):
            yield from (left, *others)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield test
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper, step=step)):
            yield from (lower, upper, step)
        case ast.Subscript(slice=at):
            yield at
        case ast.FormattedValue(value=value):
            yield value
        case ast.Call():
            yield from _arguments(node, own)


def _operands(node: ast.BinOp) -> Iterator[ast.expr]:
    """x + -0 is x and x - -0 is x for every x but -0. A product or quotient of -0 is looked at as a
    whole."""
    left, right = node.left, node.right
    if not isinstance(node.op, ast.Pow):
        yield right
    match node.op:
        case ast.Mult() | ast.FloorDiv():
            yield left
        case ast.Add():
            if not may_be_negative_zero(right, _nothing_known):
                yield left
        case ast.Sub():
            if isinstance(right, ast.Constant) and right.value != 0:
                yield left


def _nothing_known(node: ast.expr) -> float:
    return -1.0


def _arguments(node: ast.Call, own: set[str]) -> Iterator[ast.expr]:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    if name in own:
        return
    if name in _ORDERING:
        for keyword in node.keywords:
            if keyword.arg == "key" and isinstance(keyword.value, ast.Lambda):
                body = keyword.value.body
                yield from body.elts if isinstance(body, ast.Tuple) else (body,)
    match name, node.args:
        case (("abs" | "str"), [one]) | ("range", [one]):
            yield one
        case "range", [_, *others]:
            yield from others
        case "sum", [ast.GeneratorExp(elt=element) | ast.ListComp(elt=element), *_]:
            yield element
        case "max", [_, _, *_] if any(map(_is_natural, node.args)):
            yield from node.args


def _is_natural(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= 0
