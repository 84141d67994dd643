"""Every expression of the restricted Python."""

import ast

from megatron_codemix.corpus.synthesis.translation.calls import Calls
from megatron_codemix.corpus.synthesis.translation.code import (
    Code,
    array,
    arrow,
    conditional,
    member,
    new,
    quoted,
    template_text,
    unary,
)
from megatron_codemix.corpus.synthesis.translation.methods import text_pieces
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.types import argument
from megatron_codemix.corpus.synthesis.translation.zeros import may_be_negative_zero

_CONSTANTS = {True: "true", False: "false", None: "null"}


class Expressions(Calls):
    """Writes expressions."""

    def expression(self, node: ast.expr) -> Code:
        if id(node) in self._standing:
            return self._standing[id(node)]
        match node:
            case ast.Constant(value=value):
                return _constant(value)
            case ast.Name(id=name):
                return Code(self.name(name))
            case ast.BinOp():
                return self.operation(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.negated(operand)
            case ast.UnaryOp(op=operator, operand=operand):
                if isinstance(operator, ast.USub):
                    return self._negative(node, operand)
                return unary("+", self.expression(operand))
            case ast.BoolOp():
                return self.either(node)
            case ast.Compare():
                return self.comparison(node)
            case ast.IfExp(test=test, body=body, orelse=other):
                one, another = self.expression(body), self.expression(other)
                return conditional(self.condition(test), one, another)
            case ast.Attribute(value=value, attr=name):
                return member(self.expression(value), self.names.attribute(name))
            case ast.Subscript():
                return self.subscript(node)
            case ast.Call():
                return self.call(node)
            case ast.JoinedStr():
                return self._template(node)
            case ast.Lambda(args=arguments, body=body):
                parameters = ", ".join(self.name(one.arg) for one in arguments.args)
                return arrow(parameters, self.expression(body))
        return self._display(node)

    def _negative(self, node: ast.expr, operand: ast.expr) -> Code:
        may_be_negative = may_be_negative_zero(node, self.bounds.least)
        return self.zero(
            node, unary("-", self.expression(operand)), may_be_negative=may_be_negative
        )

    def _display(self, node: ast.expr) -> Code:
        match node:
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return array(*(self.expression(one) for one in elements))
            case ast.Set(elts=elements):
                name = self.set_name(argument(self.type_of(node), 0))
                return new(name, array(*(self.expression(one) for one in elements)))
            case ast.Dict(keys=keys, values=values):
                name = self.map_name(argument(self.type_of(node), 0))
                if not keys:
                    return new(name)
                pairs = [
                    array(self.expression(key), self.expression(value))
                    for key, value in zip(keys, values, strict=True)
                    if key is not None
                ]
                return new(name, array(*pairs))
            case ast.ListComp() | ast.GeneratorExp():
                return self.comprehension(node)
            case ast.SetComp():
                name = self.set_name(argument(self.type_of(node), 0))
                return new(name, self.comprehension(node))
            case ast.DictComp():
                name = self.map_name(argument(self.type_of(node), 0))
                return new(name, self.comprehension(node))
        raise refused(node)

    def _template(self, node: ast.JoinedStr) -> Code:
        parts = [
            template_text(text) if value is None else f"${{{value.text}}}"
            for text, value in text_pieces(self, node)
        ]
        for one in node.values:
            if isinstance(one, ast.FormattedValue):
                is_plain = self.kind(one.value) in ("int", "str", "bool")
                if not is_plain or self.is_optional(one.value):
                    raise refused(one.value, f"`{ast.unparse(one.value)}` in an f-string")
        return Code(f"`{''.join(parts)}`")


def _constant(value: object) -> Code:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool) or value is None:
        return Code(_CONSTANTS[value])
    assert isinstance(value, int), f"{value!r} was typed"
    return Code(str(value))
