"""Makes a program end for certain, without a clock: its loops count, its numbers stay small.

Every turn of a loop, every element of a comprehension and every call takes one tick; who has none
left is ended by an exception. Products and powers are checked, since a mutant that squares in a
loop would fill the memory within few ticks. What runs out does so at the same place each time.
"""

import ast
from collections.abc import Iterable
from typing import Any

MOST_INTEGER = 2**53
"""Integers stay below it in size, so that they are exact in any language's doubles."""
MOST_LENGTH = 100_000


class Endless(Exception):  # noqa: N818  # part of what is measured, no error of ours
    """Out of ticks, or a value too large to be meant."""


class Ticks:
    """What is left to a program, and the names through which it is counted."""

    def __init__(self) -> None:
        self.left = 0

    def tick(self) -> bool:
        """True, so that it can stand among the conditions of a comprehension."""
        self.left -= 1
        if self.left < 0:
            raise Endless
        return True

    def names(self) -> dict[str, Any]:
        """What an instrumented program needs in its namespace."""
        return {"_tick_": self.tick, "_times_": times, "_power_": power, "range": bounded_range}


def times(one: Any, other: Any) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        return _checked(one * other)
    if isinstance(one, float) or isinstance(other, float):
        return one * other
    count, sequence = (one, other) if isinstance(one, int) else (other, one)
    if count * len(sequence) > MOST_LENGTH:
        raise Endless
    return sequence * count


def power(base: Any, exponent: Any) -> Any:
    if isinstance(base, float) or isinstance(exponent, float):
        return base**exponent
    if isinstance(exponent, int) and abs(exponent) * base.bit_length() > 64:
        raise Endless
    return _checked(base**exponent)


def _checked(value: Any) -> Any:
    if isinstance(value, int) and not -MOST_INTEGER < value < MOST_INTEGER:
        raise Endless
    return value


def bounded_range(*bounds: int) -> Iterable[int]:
    numbers = range(*bounds)
    if len(numbers) > MOST_LENGTH:
        raise Endless
    return numbers


def instrument(tree: ast.Module) -> ast.Module:
    """Changes the tree in place; locations are filled in."""
    changed = _Instrument().visit(tree)
    return ast.fix_missing_locations(changed)  # type: ignore[no-any-return]  # visit gives Any


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


class _Instrument(ast.NodeTransformer):
    def visit(self, node: Any) -> Any:
        node = super().visit(node)
        if isinstance(node, ast.While | ast.For | ast.FunctionDef):
            node.body.insert(0, ast.Expr(_call("_tick_")))
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.ifs.insert(0, _call("_tick_"))
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        match node.op:
            case ast.Mult():
                return _call("_times_", node.left, node.right)
            case ast.Pow():
                return _call("_power_", node.left, node.right)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult) and isinstance(node.target, ast.Name):
            name = node.target.id
            value = _call("_times_", ast.Name(name, ast.Load()), node.value)
            return ast.Assign([node.target], value)
        return node
