"""What compares: sorting, the least and the greatest, equality, order of texts and tuples."""

import ast
from collections.abc import Sequence

from megatron_codemix.corpus.synthesis.translation.code import (
    AND,
    ATOM,
    EQUALITY,
    MEMBER,
    OR,
    RELATION,
    SUM,
    Code,
    arrow,
    call,
    chained,
    coalesce,
    conditional,
    infix,
    method,
    ratio,
    spread,
    unary,
)
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.sequences import Sequences
from megatron_codemix.corpus.synthesis.translation.types import (
    Type,
    Unknown,
    kind_of,
    plain,
)

_OPERATORS: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_PAIRS = (("x", "y"), ("one", "other"), ("left", "right"), ("first", "second"))
_BEST = (("chosen", "next"), ("best", "other"), ("best", "candidate"))
_NUMBERS = ("int", "bool")


class Ordering(Sequences):
    """Adds comparisons to what writes."""

    # Sorting.

    def sorted_array(
        self, at: ast.expr, items: Code, element: Type, keywords: Sequence[ast.keyword]
    ) -> Code:
        """An array of one's own, sorted in place; stable in both directions, as Python's is."""
        named = {one.arg: one.value for one in keywords}
        key, reverse = named.get("key"), named.get("reverse")
        is_reversed = isinstance(reverse, ast.Constant) and reverse.value is True
        if reverse is not None and not isinstance(reverse, ast.Constant):
            raise refused(reverse, f"`reverse={ast.unparse(reverse)}`")
        if key is None and kind_of(element) == "str" and not is_reversed:
            return method(items, "sort")
        if key is not None and not isinstance(key, ast.Lambda):
            raise refused(key, f"`key={ast.unparse(key)}`")
        if key is None and not is_reversed and kind_of(element) in ("list", "tuple"):
            self.helpers.add("compare")
            return method(items, "sort", Code("compare"))
        with self.temporaries("a", "b", instead=_PAIRS) as (one, other):
            pair = (other, one) if is_reversed else (one, other)
            order = self._order(at, key, element, *pair)
            return method(items, "sort", arrow(f"{one}, {other}", order))

    def _order(
        self, at: ast.expr, key: ast.Lambda | None, element: Type, one: str, other: str
    ) -> Code:
        if key is None:
            return self._difference(at, element, Code(one), Code(other))
        parts = key.body.elts if isinstance(key.body, ast.Tuple) else [key.body]
        return chained("||", [self._order_by(key, part, one, other) for part in parts], OR)

    def _order_by(self, key: ast.Lambda, part: ast.expr, one: str, other: str) -> Code:
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub):
            return self._order_by(key, part.operand, other, one)
        parameter = key.args.args[0].arg
        with self.renamed(parameter, one):
            left = self.expression(part)
        with self.renamed(parameter, other):
            right = self.expression(part)
        return self._difference(part, self.type_of(part), left, right)

    def _difference(self, at: ast.expr, held: Type, left: Code, right: Code) -> Code:
        kind = kind_of(held)
        if kind in _NUMBERS:
            return infix(left, "-", right, SUM)
        if kind in ("str", "list", "tuple"):
            return self.helper("compare", left, right)
        raise refused(at, f"the order of `{ast.unparse(at)}` ({kind})")

    # The least and the greatest.

    def extreme(self, node: ast.Call, name: str) -> Code:
        """`min` and `max`, of arguments or of one iterable."""
        named = {one.arg: one.value for one in node.keywords}
        key, default = named.get("key"), named.get("default")
        kind = self.kind(node)
        is_number = kind == "int" and key is None
        if is_number and len(node.args) > 1:
            return call(f"Math.{name}", *(self.expression(one) for one in node.args))
        if len(node.args) > 1:
            items = Code(f"[{', '.join(self.expression(one).text for one in node.args)}]", ATOM)
        else:
            items, _ = self.array(node.args[0])
        if is_number and default is None:
            return call(f"Math.{name}", spread(items))
        if default is not None:
            return self._extreme_or(node, name, items, default, is_number=is_number, key=key)
        return self._best(items, name, kind, key)

    def _extreme_or(
        self,
        node: ast.Call,
        name: str,
        items: Code,
        default: ast.expr,
        *,
        is_number: bool,
        key: ast.expr | None,
    ) -> Code:
        otherwise = self.expression(default)
        if isinstance(node.args[0], ast.Name):
            test = infix(self.length_of(node.args[0]), ">", Code("0"), RELATION)
            found = (
                call(f"Math.{name}", spread(items))
                if is_number
                else self._best(items, name, self.kind(node), key)
            )
            return conditional(test, found, otherwise)
        if is_number:
            return self.helper(f"{name}Or", items, otherwise)
        with self.temporaries("best", "next", instead=_BEST) as (best, item):
            chosen = self._preferred(name, self.kind(node), key, best, item)
            start = Code(f"{best} === null ? {item} : {chosen.at(4)}", 3)
            reduced = method(items, "reduce", arrow(f"{best}, {item}", start), Code("null"))
            return coalesce(reduced, otherwise)

    def _best(self, items: Code, name: str, kind: str, key: ast.expr | None) -> Code:
        with self.temporaries("best", "next", instead=_BEST) as (best, item):
            chosen = self._preferred(name, kind, key, best, item)
            return method(items, "reduce", arrow(f"{best}, {item}", chosen))

    def _preferred(self, name: str, kind: str, key: ast.expr | None, best: str, item: str) -> Code:
        """The first one of equals stays, as in Python."""
        operator = "<" if name == "min" else ">"
        if key is None:
            if kind in ("list", "tuple"):
                order = self.helper("compare", Code(item), Code(best))
                test = infix(order, operator, Code("0"), RELATION)
            else:
                test = infix(Code(item), operator, Code(best), RELATION)
            return conditional(test, Code(item), Code(best))
        if not isinstance(key, ast.Lambda):
            raise refused(key, f"`key={ast.unparse(key)}`")
        is_single = not isinstance(key.body, ast.Tuple)
        if is_single and self.kind(key.body) in ("int", "bool", "str"):
            with self.renamed(key.args.args[0].arg, item):
                left = self.expression(key.body)
            with self.renamed(key.args.args[0].arg, best):
                right = self.expression(key.body)
            test = infix(left, operator, right, RELATION)
        else:
            order = self._order(key.body, key, Unknown(), item, best)
            test = infix(order, operator, Code("0"), RELATION)
        return conditional(test, Code(item), Code(best))

    # Comparisons.

    def comparison(self, node: ast.Compare) -> Code:
        """One, or several in a row that share their middle."""
        operands = [node.left, *node.comparators]
        if any(not self.is_short(middle) for middle in operands[1:-1]):
            return self._within(node)
        pairs = zip(operands, node.ops, operands[1:], strict=False)
        parts = [self._compared(left, operator, right) for left, operator, right in pairs]
        return chained("&&", parts, AND)

    def _within(self, node: ast.Compare) -> Code:
        """A value between two others that is long, or takes long, to work out: given a name."""
        match node:
            case ast.Compare(
                left=low, ops=[ast.Lt() | ast.LtE() as left, ast.Lt() | ast.LtE() as right]
            ) if all(self.kind(one) == "int" for one in (low, *node.comparators)):
                middle, high = node.comparators
                with self.temporaries("value", instead=(("number",), ("one",))) as (name,):
                    with self.standing_for(middle, Code(name)):
                        parts = (
                            self._compared(low, left, middle),
                            self._compared(middle, right, high),
                        )
                    inner = Code(arrow(name, chained("&&", list(parts), AND)).at(MEMBER), MEMBER)
                return Code(f"{inner.text}({self.expression(middle).text})", MEMBER)
        raise refused(node, f"a call in the middle of `{ast.unparse(node)}`")

    def _compared(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Code:
        match operator:
            case ast.In():
                return self._contained(left, right)
            case ast.NotIn():
                return unary("!", self._contained(left, right))
            case ast.Eq() | ast.Is():
                return self._equal(left, right, "===")
            case ast.NotEq() | ast.IsNot():
                return self._equal(left, right, "!==")
        symbol = _OPERATORS[type(operator)]
        kinds = {self.kind(left), self.kind(right)}
        if kinds <= {"int", "bool"} or kinds == {"str"}:
            return infix(self.expression(left), symbol, self.expression(right), RELATION)
        if kinds <= {"list", "tuple"}:
            order = self.helper("compare", self.expression(left), self.expression(right))
            return infix(order, symbol, Code("0"), RELATION)
        raise refused(left, f"`{ast.unparse(left)} {symbol} {ast.unparse(right)}`")

    def _equal(self, left: ast.expr, right: ast.expr, operator: str) -> Code:
        if _is_none(left) or _is_none(right):
            held = right if _is_none(left) else left
            return infix(self.expression(held), operator, Code("null"), EQUALITY)
        plain_remainder = isinstance(right, ast.Constant) and right.value == 0
        one = self.remainder(left) if plain_remainder and _is_remainder(left) else None
        if one is not None:
            return infix(one, operator, Code("0"), EQUALITY)
        first, second = self.expression(left), self.expression(right)
        kinds = {self.kind(left), self.kind(right)}
        if kinds == {"int", "bool"}:
            first = self._as_number(left, first)
            second = self._as_number(right, second)
        if kinds <= {"int", "bool", "str"}:
            return infix(first, operator, second, EQUALITY)
        if "unknown" in kinds:
            raise refused(left, f"`{ast.unparse(left)} == {ast.unparse(right)}`, of unknown types,")
        is_shallow = kinds <= {"list", "tuple"} and not _holds_objects(self.type_of(left))
        same = self.helper("sameItems" if is_shallow else "isEqual", first, second)
        return same if operator == "===" else unary("!", same)

    def _as_number(self, node: ast.expr, code: Code) -> Code:
        return call("Number", code) if self.kind(node) == "bool" else code

    def remainder(self, node: ast.expr) -> Code | None:
        """`a % b` where only its being zero matters: the sign does not."""
        assert isinstance(node, ast.BinOp)
        if self.kind(node.left) not in _NUMBERS:
            return None
        return ratio(self.expression(node.left), "%", self.expression(node.right))

    def _contained(self, item: ast.expr, held: ast.expr) -> Code:
        match held:
            case ast.Call(func=ast.Attribute(value=of, attr="keys")) if self.kind(of) == "dict":
                return self._contained(item, of)
        kind = self.kind(held)
        one = self.expression(item)
        if kind in ("dict", "set"):
            return method(self.expression(held), "has", one)
        if kind == "str":
            return method(self.expression(held), "includes", one)
        if kind in ("list", "tuple", "iterable"):
            items, _ = self.array(held)
            if self.kind(item) in ("int", "bool", "str"):
                return method(items, "includes", one)
            with self.temporaries("other") as (other,):
                name = "isEqual" if _holds_objects(self.type_of(item)) else "sameItems"
                if self.kind(item) == "record":
                    name = "isEqual"
                return method(items, "some", arrow(other, self.helper(name, Code(other), one)))
        raise refused(held, f"`in {ast.unparse(held)}`, whose type is not known,")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_remainder(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)


def _holds_objects(held: Type) -> bool:
    """Whether a list or tuple holds anything besides numbers, truths, text and such lists."""
    one = plain(held)
    if kind_of(one) in ("list", "tuple"):
        parts = one.arguments if not isinstance(one, Unknown) else ()
        return any(_holds_objects(part) for part in parts)
    return kind_of(one) in ("set", "dict", "record", "unknown")
