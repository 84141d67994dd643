"""Types of expressions, and of what is assigned: each name has one, joined from all its values."""

import ast
from collections.abc import Sequence

from megatron_codemix.corpus.synthesis.translation import inferred_calls
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.scopes import (
    Scope,
)
from megatron_codemix.corpus.synthesis.translation.shape import (
    Shape,
)
from megatron_codemix.corpus.synthesis.translation.types import (
    BOOL,
    INT,
    NONE,
    STR,
    Known,
    Mismatch,
    Type,
    Unknown,
    argument,
    dict_of,
    element_of,
    iterable_of,
    join,
    kind_of,
    list_of,
    plain,
    resolve,
    set_of,
    tuple_of,
)

_PASSES = 3
"""What a later statement tells of an earlier one is known in the next pass."""
_CONSTANTS: dict[type, Type] = {bool: BOOL, int: INT, str: STR, type(None): NONE}
_SET_OPERATORS = (ast.Sub, ast.BitOr, ast.BitAnd, ast.BitXor)
_INT_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Pow)


class ExpressionTypes:
    """Keeps the type of every expression that it has been through."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.class_nodes = {name: one.node for name, one in shape.classes.items()}
        self._types: dict[int, Type] = {}
        self._scopes: dict[int, Scope] = {}

    def type_of(self, node: ast.expr) -> Type:
        return resolve(self._types[id(node)])

    def is_typed(self, node: ast.expr) -> bool:
        """Whether a name that is called was looked up: those of built-in functions are not."""
        return id(node) in self._types

    def kind(self, node: ast.expr) -> str:
        """Of what it is where it is not None; `unknown` where nothing says."""
        return kind_of(self.type_of(node))

    def elements(self, node: ast.AST, held: Type) -> Type:
        """What iteration over a value of this type gives."""
        try:
            return element_of(held)
        except Mismatch as error:
            raise refused(node, str(error)) from error

    def join(self, node: ast.AST, target: Type, given: Type) -> Type:
        """`types.join`, refusing at the node."""
        return self._join(node, target, given)

    def _join(self, node: ast.AST, target: Type, given: Type) -> Type:
        try:
            return join(target, given)
        except Mismatch as error:
            raise refused(node, str(error)) from error

    def expression(self, node: ast.expr, scope: Scope) -> Type:
        found = self._expression(node, scope)
        self._types[id(node)] = found
        return found

    def _expression(self, node: ast.expr, scope: Scope) -> Type:
        match node:
            case ast.Constant(value=value):
                if type(value) not in _CONSTANTS:
                    raise refused(node)
                return _CONSTANTS[type(value)]
            case ast.Name(id=name):
                return self._name(node, name, scope)
            case ast.BinOp(left=left, op=operator, right=right):
                left_type, right_type = self.expression(left, scope), self.expression(right, scope)
                return self.operation(node, operator, left_type, right_type)
            case ast.UnaryOp(op=operator, operand=operand):
                self.expression(operand, scope)
                if isinstance(operator, ast.Invert):
                    raise refused(node)
                return BOOL if isinstance(operator, ast.Not) else INT
            case ast.BoolOp(values=values):
                return self._either(values, scope)
            case ast.Compare(left=left, comparators=others):
                for one in (left, *others):
                    self.expression(one, scope)
                return BOOL
            case ast.IfExp(test=test, body=body, orelse=other):
                self.expression(test, scope)
                return self._any_of(node, [body, other], scope)
            case ast.Attribute(value=value, attr=name):
                return self._attribute(node, self.expression(value, scope), name)
            case ast.Subscript(value=value, slice=index):
                return self._subscript(node, self.expression(value, scope), index, scope)
            case ast.Call():
                return inferred_calls.call(self, node, scope)
            case ast.JoinedStr(values=values):
                for one in values:
                    if isinstance(one, ast.FormattedValue):
                        if one.format_spec is not None or one.conversion != -1:
                            raise refused(node, "a format in an f-string")
                        self.expression(one.value, scope)
                return STR
        return self._display(node, scope)

    def _display(self, node: ast.expr, scope: Scope) -> Type:
        match node:
            case ast.List(elts=elements):
                return list_of(self._any_of(node, elements, scope))
            case ast.Set(elts=elements):
                return set_of(self._any_of(node, elements, scope))
            case ast.Tuple(elts=elements):
                return tuple_of(*(self.expression(one, scope) for one in elements))
            case ast.Dict(keys=keys, values=values):
                plain_keys = [key for key in keys if key is not None]
                if len(plain_keys) != len(keys):
                    raise refused(node, "`**` in a dictionary")
                key = self._any_of(node, plain_keys, scope)
                return dict_of(key, self._any_of(node, values, scope))
            case ast.ListComp(elt=element, generators=generators):
                return list_of(self._comprehension(node, [element], generators, scope)[0])
            case ast.GeneratorExp(elt=element, generators=generators):
                return iterable_of(self._comprehension(node, [element], generators, scope)[0])
            case ast.SetComp(elt=element, generators=generators):
                return set_of(self._comprehension(node, [element], generators, scope)[0])
            case ast.DictComp(key=key, value=value, generators=generators):
                return dict_of(*self._comprehension(node, [key, value], generators, scope))
            case ast.Lambda():
                return self.lambda_type(node, scope)
        raise refused(node)

    def lambda_type(self, node: ast.Lambda, scope: Scope, *given: Type) -> Type:
        """given: types of its first parameters."""
        names = [one.arg for one in node.args.args]
        inner = self._scopes.setdefault(id(node), Scope(scope, {name: Unknown() for name in names}))
        for name, one in zip(names, given, strict=False):
            self._join(node, inner.names[name], one)
        return Known("function", (*inner.names.values(), self.expression(node.body, inner)))

    def _comprehension(
        self,
        node: ast.expr,
        elements: Sequence[ast.expr],
        generators: Sequence[ast.comprehension],
        scope: Scope,
    ) -> list[Type]:
        targets = [
            one.id
            for each in generators
            for one in ast.walk(each.target)
            if isinstance(one, ast.Name)
        ]
        inner = self._scopes.setdefault(id(node), Scope(scope, {one: Unknown() for one in targets}))
        for each in generators:
            around = scope if each is generators[0] else inner  # as Python has it
            held = self.expression(each.iter, around)
            self._assign(each.target, self.elements(each.iter, held), inner)
            for test in each.ifs:
                self.expression(test, inner)
        return [self.expression(one, inner) for one in elements]

    def _any_of(self, node: ast.AST, values: Sequence[ast.expr], scope: Scope) -> Type:
        joined: Type = Unknown()
        for one in values:
            joined = self._join(node, joined, self.expression(one, scope))
        return joined

    def _either(self, values: Sequence[ast.expr], scope: Scope) -> Type:
        """`mixed` where the operands have nothing in common: good for a condition alone."""
        given = [self.expression(one, scope) for one in values]
        joined: Type = Unknown()
        try:
            for one in given:
                joined = join(joined, one)
        except Mismatch:
            return Known("mixed")
        return joined

    def _name(self, node: ast.expr, name: str, scope: Scope) -> Type:
        holder = scope.holder(name)
        if holder is not None:
            return holder.names[name]
        if name in self.shape.functions:
            one = self.shape.functions[name]
            return Known("function", (*(hint for _, hint in one.parameters), one.returns))
        raise refused(node, f"the name `{name}`")

    def _attribute(self, node: ast.expr, held: Type, name: str) -> Type:
        held = plain(held)
        if isinstance(held, Unknown):
            return Unknown()
        if held.kind == "record" and name in self.shape.classes[held.name].fields:
            return self.shape.classes[held.name].fields[name]
        raise refused(node, f"the attribute `{ast.unparse(node)}`")

    def _subscript(self, node: ast.expr, held: Type, index: ast.expr, scope: Scope) -> Type:
        if isinstance(index, ast.Slice):
            for bound in (index.lower, index.upper, index.step):
                if bound is not None:
                    self.expression(bound, scope)
            return STR if kind_of(held) == "str" else list_of(self.elements(node, held))
        given = self.expression(index, scope)
        held = plain(held)
        if isinstance(held, Known) and held.kind == "tuple":
            match index:
                case ast.Constant(value=int(at)) if at < len(held.arguments):
                    return held.arguments[at]
                case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(at))) if at <= len(
                    held.arguments
                ):
                    return held.arguments[-at]
        if kind_of(held) == "dict":
            self._join(node, argument(held, 0), given)
            return argument(held, 1)
        if kind_of(held) in ("set", "iterable", "int", "bool", "record", "none"):
            raise refused(node, f"`{ast.unparse(node)}`")
        return self.elements(node, held)

    def operation(self, node: ast.AST, operator: ast.operator, left: Type, right: Type) -> Type:
        kinds = kind_of(left), kind_of(right)
        if "unknown" in kinds:
            left, right = (plain(right), plain(right)) if kinds[0] == "unknown" else (left, left)
            if kind_of(left) == "unknown":
                return Unknown()
            kinds = kind_of(left), kind_of(right)
        if isinstance(operator, ast.Add):
            if kinds == ("str", "str"):
                return STR
            if set(kinds) <= {"list", "tuple"}:
                return self._concatenation(node, left, right)
        if isinstance(operator, ast.Mult) and not set(kinds) <= {"int", "bool"}:
            repeated, times = (
                (left, kinds[1]) if kinds[0] not in ("int", "bool") else (right, kinds[0])
            )
            if kind_of(repeated) in ("list", "tuple", "str") and times in ("int", "bool"):
                is_text = kind_of(repeated) == "str"
                return STR if is_text else list_of(self.elements(node, repeated))
        if isinstance(operator, _SET_OPERATORS) and kinds == ("set", "set"):
            return set_of(self._join(node, argument(left, 0), argument(right, 0)))
        if isinstance(operator, _INT_OPERATORS) and set(kinds) <= {"int", "bool"}:
            return INT
        raise refused(node)

    def _concatenation(self, node: ast.AST, left: Type, right: Type) -> Type:
        one, other = plain(left), plain(right)
        assert isinstance(one, Known)
        assert isinstance(other, Known)
        if one.kind == other.kind == "tuple":
            return tuple_of(*one.arguments, *other.arguments)
        joined: Type = Unknown()
        for each in (one, other):
            joined = self._join(node, joined, self.elements(node, each))
        return list_of(joined)

    def _assign(self, target: ast.expr, given: Type, scope: Scope) -> None:
        match target:
            case ast.Name(id="_"):
                pass  # never read, so of no type
            case ast.Name(id=name):
                if kind_of(given) == "iterable":
                    raise refused(target, f"an iterator kept in a name (`{name}`)")
                holder = scope.holder(name)
                assert holder is not None, f"{name} is bound by no scope"
                holder.names[name] = self._join(target, holder.names[name], given)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                held = plain(given)
                is_tuple = isinstance(held, Known) and held.kind == "tuple"
                if is_tuple and len(held.arguments) != len(elements):  # type: ignore[union-attr]  # known to be Known
                    raise refused(target, f"`{ast.unparse(target)}` for so many values")
                for place, element in enumerate(elements):
                    one = argument(held, place) if is_tuple else self.elements(target, held)
                    self._assign(element, one, scope)
            case ast.Subscript(value=container, slice=key) if not isinstance(key, ast.Slice):
                held, index = self.expression(container, scope), self.expression(key, scope)
                if kind_of(held) == "dict":
                    self._join(key, argument(held, 0), index)
                    self._join(target, argument(held, 1), given)
                elif kind_of(held) == "list":
                    self._join(target, argument(held, 0), given)
                elif kind_of(held) != "unknown":
                    raise refused(target, f"an assignment to `{ast.unparse(target)}`")
            case ast.Attribute():
                self._join(target, self.expression(target, scope), given)
            case _:
                raise refused(target, f"an assignment to `{ast.unparse(target)}`")
        self._types[id(target)] = given
