"""The heads of `for` loops."""

import ast

from megatron_codemix.corpus.synthesis.translation.code import (
    MEMBER,
    RELATION,
    SUM,
    Code,
    infix,
)
from megatron_codemix.corpus.synthesis.translation.expressions import Expressions
from megatron_codemix.corpus.synthesis.translation.scopes import walk_all
from megatron_codemix.corpus.synthesis.translation.writing import is_ignored, pattern

_CHANGING = {"append", "pop", "insert", "extend", "remove", "clear", "add", "discard", "update"}
_CONTAINERS = ("list", "dict", "set", "record", "unknown")


class Loops(Expressions):
    """Adds heads of loops to what writes."""

    def loop_head(self, node: ast.For, keyword: str | None) -> tuple[list[str], str, list[str]]:
        """Lines before the loop, its head, and lines that its body begins with. `keyword` is how
        the loop declares its target, None where it is declared before."""
        counted = self._counted(node, keyword)
        if counted is not None:
            return counted
        declared = "" if keyword is None else f"{keyword} "
        items = self.iterable(node.iter).text
        return [], f"for ({declared}{pattern(self, node.target)} of {items})", []

    def _counted(
        self, node: ast.For, keyword: str | None
    ) -> tuple[list[str], str, list[str]] | None:
        """Loops that count; None where there is no range, or where the target lives on behind it
        (a counter would be one step further)."""
        if keyword != "const":
            return None
        match node.iter, node.target:
            case ast.Call(func=ast.Name(id="range"), args=arguments), ast.Name(id=name):
                return self._upwards_or_down(node, arguments, self.name(name))
            case ast.Call(
                func=ast.Name(id="reversed"),
                args=[ast.Call(func=ast.Name(id="range"), args=arguments)],
            ), ast.Name(id=name) if _step(arguments) == 1:
                first, last = _ends(arguments)
                begin = self._less_one(last)
                return [], _counting(self.name(name), begin, self.expression(first), -1, True), []
            case ast.Call(func=ast.Name(id="enumerate")), ast.Tuple():
                return self._numbered(node)
        return None

    def _upwards_or_down(
        self, node: ast.For, arguments: list[ast.expr], name: str
    ) -> tuple[list[str], str, list[str]] | None:
        step = _step(arguments)
        if step is None:
            return None
        first, last = _ends(arguments)
        end, lines = self.expression(last), []
        if not self._is_steady(last, node.body):
            kept = self.hoisted("end")
            lines, end = [f"const {kept} = {end.text};"], Code(kept)
        return lines, _counting(name, self.expression(first), end, step, False), []

    def hoisted(self, wanted: str) -> str:
        """A name for what is worked out before a statement; no other in the function has it."""
        chosen = self.names.free(wanted, [*self._temporaries, *self._hoisted])
        self._hoisted.append(chosen)
        return chosen

    def _less_one(self, node: ast.expr) -> Code:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return Code(str(node.value - 1))
        return infix(self.expression(node), "-", Code("1"), SUM)

    def _numbered(self, node: ast.For) -> tuple[list[str], str, list[str]] | None:
        """`enumerate` with a start: JavaScript counts from 0."""
        match node.iter, node.target:
            case ast.Call(args=[items, *start], keywords=named), ast.Tuple(
                elts=[ast.Name(id=number), item]
            ) if start or named:
                begin = start[0] if start else named[0].value
                if not isinstance(begin, ast.Constant):
                    return None
                inner = "" if is_ignored(item) else f", {pattern(self, item)}"
                with self.temporaries("index") as (place,):
                    counted = infix(Code(place), "+", self.expression(begin), SUM)
                    held = self.array(items)[0].at(MEMBER)
                    head = f"for (const [{place}{inner}] of {held}.entries())"
                    return [], head, [f"const {self.name(number)} = {counted.text};"]
        return None

    def _is_steady(self, node: ast.expr, body: list[ast.stmt]) -> bool:
        """Whether an expression has one value all through a loop, and is worked out at once."""
        match node:
            case ast.Constant():
                return True
            case ast.Name(id=name):
                return name not in self.nonlocals and not self._stores(body, name)
            case ast.BinOp(left=left, op=(ast.Add() | ast.Sub() | ast.Mult()), right=right):
                return self._is_steady(left, body) and self._is_steady(right, body)
            case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)]):
                return not self._stores(body, name) and not self._may_change_lengths(body)
            case ast.UnaryOp(operand=operand):
                return self._is_steady(operand, body)
        return False

    def _stores(self, body: list[ast.stmt], name: str) -> bool:
        return any(self.uses.bindings(part, name) for part in body)

    def _may_change_lengths(self, body: list[ast.stmt]) -> bool:
        """Whether some list may grow or shrink: through any name, or in a function called."""
        for one in walk_all(body):
            match one:
                case ast.Call(func=ast.Attribute(value=held, attr=name)):
                    if name in _CHANGING or self.kind(held) == "record":
                        return True
                case ast.Delete():
                    return True
                case ast.Call(func=ast.Name() as function, args=arguments):
                    is_nested = function.id not in self.shape.functions
                    is_given = any(self.kind(each) in _CONTAINERS for each in arguments)
                    if self.is_own(function) and (is_nested or is_given):
                        return True
                case ast.AugAssign(target=target) if self.kind(target) in _CONTAINERS:
                    return True
        return False


def _ends(arguments: list[ast.expr]) -> tuple[ast.expr, ast.expr]:
    if len(arguments) == 1:
        return ast.Constant(0), arguments[0]
    return arguments[0], arguments[1]


def _step(arguments: list[ast.expr]) -> int | None:
    """The step of a range where it is a constant."""
    if len(arguments) < 3:
        return 1
    match arguments[2]:
        case ast.Constant(value=int(step)) if step > 0:
            return step
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(step))) if step > 0:
            return -step
    return None


def _counting(name: str, begin: Code, end: Code, step: int, includes_end: bool) -> str:
    operator = ("<" if step > 0 else ">") + ("=" if includes_end else "")
    test = infix(Code(name), operator, end, RELATION).text
    if operator == ">" and end.text == "-1":
        test = f"{name} >= 0"
    sign = "+" if step > 0 else "-"
    change = f"{name}{sign}{sign}" if abs(step) == 1 else f"{name} {sign}= {abs(step)}"
    return f"for (let {name} = {begin.text}; {test}; {change})"
