"""Operators, conditions, indices and slices."""

import ast

from megatron_codemix.corpus.synthesis.translation.code import (
    AND,
    EQUALITY,
    MEMBER,
    OR,
    PRODUCT,
    RELATION,
    SUM,
    Code,
    array,
    arrow,
    call,
    chained,
    conditional,
    index,
    infix,
    member,
    method,
    new,
    ratio,
    spread,
    unary,
)
from megatron_codemix.corpus.synthesis.translation.code import POWER as POWER_LEVEL
from megatron_codemix.corpus.synthesis.translation.ordering import Ordering
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.types import Type, argument, holds_arrays
from megatron_codemix.corpus.synthesis.translation.zeros import may_make_negative_zero

_ARITHMETIC: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", SUM),
    ast.Sub: ("-", SUM),
    ast.Mult: ("*", PRODUCT),
}
_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Lt: ast.GtE,
    ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
}  # fmt: skip


class Operators(Ordering):
    """Adds operators to what writes."""

    # Conditions.

    def condition(self, node: ast.expr) -> Code:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.negated(operand)
            case ast.BoolOp(op=operator, values=values):
                symbol, level = ("&&", AND) if isinstance(operator, ast.And) else ("||", OR)
                return chained(symbol, [self.condition(one) for one in values], level)
        return self._truth(node, is_true=True)

    def negated(self, node: ast.expr) -> Code:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.condition(operand)
            case ast.Compare(left=left, ops=[operator], comparators=others) if (
                type(operator) in _NEGATED
            ):
                turned = ast.Compare(left, [_NEGATED[type(operator)]()], others)
                return self.comparison(ast.copy_location(turned, node))
            case ast.BoolOp(values=values):
                return unary("!", self.condition(node)) if len(values) > 1 else self.negated(node)
        return self._truth(node, is_true=False)

    def _truth(self, node: ast.expr, *, is_true: bool) -> Code:
        """A value as a condition, by its type."""
        kind = self.kind(node)
        code = self.expression(node)
        if self.is_optional(node) and kind not in ("record", "tuple"):
            empty = self._is_held(node, code, kind)
            return empty if is_true else unary("!", empty)
        match kind:
            case "bool":
                return code if is_true else unary("!", code)
            case "int":
                return infix(code, "!==" if is_true else "===", Code("0"), EQUALITY)
            case "str":
                return infix(code, "!==" if is_true else "===", Code('""'), EQUALITY)
            case "list" | "tuple" | "dict" | "set" if not self.is_optional(node):
                size = self.length_of(node)
                if is_true:
                    return infix(size, ">", Code("0"), RELATION)
                return infix(size, "===", Code("0"), EQUALITY)
            case "record" | "tuple":
                return infix(code, "!==" if is_true else "===", Code("null"), EQUALITY)
        raise refused(node, f"the condition `{ast.unparse(node)}`, whose type is not known,")

    def _is_held(self, node: ast.expr, code: Code, kind: str) -> Code:
        if kind in ("int", "str", "bool"):
            return call("Boolean", code)
        held = infix(code, "!==", Code("null"), EQUALITY)
        return chained("&&", [held, infix(self.length_of(node), ">", Code("0"), RELATION)], AND)

    def is_optional(self, node: ast.expr) -> bool:
        held = self.type_of(node)
        return getattr(held, "kind", "") == "optional"

    def either(self, node: ast.BoolOp) -> Code:
        """`and` and `or`, which give one of their operands."""
        if all(self.kind(one) == "bool" and not self.is_optional(one) for one in node.values):
            return self.condition(node)
        if self.kind(node) == "mixed":
            raise refused(node, f"the value of `{ast.unparse(node)}`, of several types,")
        if all(self.kind(one) in ("int", "str", "bool") for one in node.values):
            symbol, level = ("&&", AND) if isinstance(node.op, ast.And) else ("||", OR)
            return chained(symbol, [self.expression(one) for one in node.values], level)
        first, *others = node.values
        if len(others) != 1 or not isinstance(first, ast.Name):
            raise refused(node)
        one, other = self.expression(first), self.expression(others[0])
        if isinstance(node.op, ast.And):
            one, other = other, one
        return conditional(self.condition(first), one, other)

    # Arithmetic and what shares its signs.

    def operation(self, node: ast.BinOp) -> Code:
        return self.applied(node, node.left, node.op, node.right)

    def applied(
        self, node: ast.AST, left: ast.expr, operator: ast.operator, right: ast.expr
    ) -> Code:
        kinds = self.kind(left), self.kind(right)
        if set(kinds) <= {"int", "bool"}:
            return self._arithmetic(node, left, operator, right)
        match operator:
            case ast.Add() if kinds == ("str", "str"):
                return infix(self.expression(left), "+", self.expression(right), SUM)
            case ast.Add() if set(kinds) <= {"list", "tuple"}:
                return self._concatenated(left, right)
            case ast.Mult() if kinds[0] in ("int", "bool"):
                return self._repeated(right, left)
            case ast.Mult():
                return self._repeated(left, right)
        if kinds == ("set", "set"):
            return self._of_sets(left, operator, right)
        raise refused(node)

    def _arithmetic(
        self, node: ast.AST, left: ast.expr, operator: ast.operator, right: ast.expr
    ) -> Code:
        one, other = self.expression(left), self.expression(right)
        may_be_negative = may_make_negative_zero(left, operator, right, self.bounds.least)
        if type(operator) in _ARITHMETIC:
            symbol, level = _ARITHMETIC[type(operator)]
            made = self.whole(infix(one, symbol, other, level))
            return self.zero(node, made, may_be_negative=may_be_negative)
        match operator:
            case ast.FloorDiv():
                made = self.whole(call("Math.floor", ratio(one, "/", other)))
                return self.zero(node, made, may_be_negative=may_be_negative)
            case ast.Mod():
                if self.is_plain(node, (left, 0), (right, 1)):
                    return self.whole(ratio(one, "%", other))
                parts = self.watched(node, left, 0), self.watched(node, right, 1)
                return self.whole(self.helper("mod", *parts))
            case ast.Pow():
                text = f"{one.at(MEMBER)} ** {other.at(POWER_LEVEL)}"
                return self.whole(Code(text, POWER_LEVEL))
        raise refused(node)

    def _concatenated(self, left: ast.expr, right: ast.expr) -> Code:
        parts = []
        for one in (*_operands(left), *_operands(right)):
            if isinstance(one, ast.List | ast.Tuple):
                parts += [self.expression(each) for each in one.elts]
            else:
                parts.append(spread(self.expression(one)))
        return array(*parts)

    def _repeated(self, held: ast.expr, times: ast.expr) -> Code:
        count = self.expression(times)
        if not self.is_plain(times, (times, 0)):
            count = call("Math.max", Code("0"), self.watched(times, times, 0))
        if self.kind(held) == "str":
            return method(self.expression(held), "repeat", count)
        if isinstance(held, ast.List | ast.Tuple) and len(held.elts) == 1:
            return method(new("Array", count), "fill", self.expression(held.elts[0]))
        length = Code(f"{{ length: {count.text} }}")
        pieces = call("Array.from", length, arrow("", self.expression(held)))
        return method(pieces, "flat")

    def _of_sets(self, left: ast.expr, operator: ast.operator, right: ast.expr) -> Code:
        name = self.set_name(argument(self.type_of(left), 0))
        one, other = self.expression(left), self.expression(right)
        with self.temporaries("item") as (item,):
            kept = {
                ast.BitAnd: method(other, "has", Code(item)),
                ast.Sub: unary("!", method(other, "has", Code(item))),
            }
            if type(operator) in kept:
                test = arrow(item, kept[type(operator)])
                return new(name, method(array(spread(one)), "filter", test))
            if isinstance(operator, ast.BitOr):
                return new(name, array(spread(one), spread(other)))
            only = method(
                array(spread(one), spread(other)),
                "filter",
                arrow(
                    item,
                    infix(
                        method(one, "has", Code(item)),
                        "!==",
                        method(other, "has", Code(item)),
                        EQUALITY,
                    ),
                ),
            )
            return new(name, only)

    def set_name(self, member_type: Type) -> str:
        return self.class_for("Set", member_type)

    def map_name(self, key_type: Type) -> str:
        return self.class_for("Map", key_type)

    def class_for(self, plain: str, key: Type) -> str:
        """JavaScript tells arrays apart by identity: as keys they need a class that does not."""
        if holds_arrays(key):
            self.helpers.add(f"Tuple{plain}")
            return f"Tuple{plain}"
        return plain

    # Indices and slices.

    def subscript(self, node: ast.Subscript) -> Code:
        held = node.value
        if isinstance(node.slice, ast.Slice):
            return self._slice(held, node.slice)
        return self.subscript_of(held, node.slice)

    def subscript_of(self, held: ast.expr, at: ast.expr) -> Code:
        """What stands under a key or at an index."""
        code = self.expression(held)
        if self.kind(held) == "dict":
            return method(code, "get", self.expression(at))
        if self.kind(held) not in ("list", "tuple", "str"):
            raise refused(held, f"an index of `{ast.unparse(held)}`, whose type is not known,")
        if self.is_plain(at, (at, 0)):
            return index(code, self.expression(at))
        return method(code, "at", self.watched(at, at, 0))

    def place(self, held: Code, at: ast.expr) -> Code:
        """Where an assignment stores: `at()` cannot be assigned to."""
        distance = _distance(at)
        length = member(held, "length")
        if distance is not None:
            return index(held, infix(length, "-", Code(str(distance)), SUM))
        place = self.expression(at)
        if self.is_plain(at, (at, 0)):
            return index(held, place)
        from_end = infix(length, "+", place, SUM)
        test = infix(self.watched(at, at, 0), "<", Code("0"), RELATION)
        return index(held, conditional(test, from_end, place))

    def _slice(self, held: ast.expr, cut: ast.Slice) -> Code:
        step = cut.step
        code = self.expression(held)
        is_text = self.kind(held) == "str"
        if step is None or (_distance(step) is None and _is_one(step)):
            bounds = [cut.lower or ast.Constant(0), cut.upper]
            written = [_bound(self, one) for one in bounds if one is not None]
            if not isinstance(cut.upper, ast.expr) and cut.lower is None:
                return code if is_text else array(spread(code))
            return method(code, "slice", *written)
        if cut.lower is None and cut.upper is None and _distance(step) == 1:
            turned = method(array(spread(code)), "reverse")
            return method(turned, "join", Code('""')) if is_text else turned
        parts = [
            Code("null") if one is None else self.expression(one) for one in (cut.lower, cut.upper)
        ]
        taken = self.helper("sliceBy", code, *parts, self.expression(step))
        return method(taken, "join", Code('""')) if is_text else taken


def _operands(node: ast.expr) -> list[ast.expr]:
    """Of a sum of lists; of anything else itself."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_operands(node.left), *_operands(node.right)]
    return [node]


def _bound(writing: Operators, node: ast.expr) -> Code:
    return Code("0") if getattr(node, "value", None) == 0 else writing.expression(node)


def _distance(node: ast.expr) -> int | None:
    """n of the constant -n."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return number
    return None


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1
