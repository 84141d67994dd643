"""Calls: built-in functions and the functions and classes of the module."""

import ast

from megatron_codemix.corpus.synthesis.translation.code import (
    Code,
    array,
    call,
    conditional,
    method,
    new,
    quoted,
)
from megatron_codemix.corpus.synthesis.translation.methods import Methods
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.types import argument


class Calls(Methods):
    """Adds calls to what writes."""

    def call(self, node: ast.Call) -> Code:
        match node.func:
            case ast.Attribute():
                return self.method_call(node)
            case ast.Name(id=name) if name in self.shape.classes:
                one = self.shape.classes[name]
                made = one.constructor
                if made is None:
                    return new(self.name(name), *self._arguments(node, list(one.fields)))
                parameters = [parameter for parameter, _ in made.parameters]
                return new(self.name(name), *self._arguments(node, parameters))
            case ast.Name(id=name) if self.is_own(node.func):
                function = self.shape.functions.get(name)
                parameters = [one for one, _ in function.parameters] if function else []
                return call(self.name(name), *self._arguments(node, parameters))
            case ast.Name(id=name):
                return self._builtin(node, name)
        raise refused(node, f"a call of `{ast.unparse(node.func)}`")

    def is_own(self, function: ast.expr) -> bool:
        """Whether a name is called that the module binds."""
        return self.inference.is_typed(function)

    def _arguments(self, node: ast.Call, parameters: list[str]) -> list[Code]:
        """In the order of the parameters; JavaScript has no keywords."""
        given = [self.expression(one) for one in node.args]
        named = {one.arg or "": self.expression(one.value) for one in node.keywords}
        rest = parameters[len(given) :]
        while rest and rest[-1] not in named:
            rest.pop()
        return [*given, *(named.get(one, Code("undefined")) for one in rest)]

    def _builtin(self, node: ast.Call, name: str) -> Code:
        arguments = node.args
        match name, arguments:
            case "len", [one]:
                return self.length_of(one)
            case "sum", [one, *start]:
                keyword = [each.value for each in node.keywords]
                return self.sum_of(one, (start + keyword)[0] if start or keyword else None)
            case (("min" | "max"), [_, *_]):
                return self.extreme(node, name)
            case "sorted", [one]:
                element = argument(self.type_of(node), 0)
                return self.sorted_array(node, self.copy(one), element, node.keywords)
            case "abs", [one]:
                return call("Math.abs", self.expression(one))
            case (("any" | "all"), [one]):
                return self._any_or_all(one, "some" if name == "any" else "every")
            case "divmod", [one, other]:
                parts = (ast.FloorDiv(), ast.Mod())
                return array(*(self.applied(node, one, each, other) for each in parts))
            case "bool", [one]:
                return self.condition(one)
            case "str", [one]:
                return self._text_of(one)
            case "int", [one]:
                return self._integer(node, one)
            case "ord", [one]:
                return method(self.expression(one), "codePointAt", Code("0"))
            case "chr", [one]:
                return call("String.fromCodePoint", self.expression(one))
            case (("list" | "tuple"), []):
                return array()
            case (("set" | "frozenset" | "dict"), _):
                return self._collection(node, name)
            case (("list" | "tuple" | "range" | "enumerate" | "zip" | "reversed"), [_, *_]):
                return self.array(node)[0]
        raise refused(node)

    def _collection(self, node: ast.Call, name: str) -> Code:
        held = argument(self.type_of(node), 0)
        made = self.map_name(held) if name == "dict" else self.set_name(held)
        if not node.args:
            return new(made)
        items = node.args[0]
        if name == "dict" and self.kind(items) == "dict":
            return new(made, self.expression(items))
        return new(made, self.iterable(items))

    def _any_or_all(self, node: ast.expr, name: str) -> Code:
        if isinstance(node, ast.GeneratorExp | ast.ListComp):
            return self.quantified(node, name)
        items, _ = self.array(node)
        element = argument(self.type_of(node), 0)
        if getattr(element, "kind", "") in ("bool", "int", "str"):
            return method(items, name, Code("Boolean"))
        raise refused(node, f"`{'any' if name == 'some' else 'all'}({ast.unparse(node)})`")

    def _text_of(self, node: ast.expr) -> Code:
        code = self.expression(node)
        match self.kind(node):
            case "str" if not self.is_optional(node):
                return code
            case "int" if not self.is_optional(node):
                return call("String", code)
            case "bool" if not self.is_optional(node):
                return conditional(code, quoted("True"), quoted("False"))
        raise refused(node, f"`str({ast.unparse(node)})`")

    def _integer(self, node: ast.Call, given: ast.expr) -> Code:
        code = self.expression(given)
        match self.kind(given):
            case "int":
                return code
            case "bool":
                return call("Number", code)
            case "str":
                read = self.whole(call("Number.parseInt", code, Code("10")))
                return self.zero(node, read, may_be_negative=True)
        raise refused(node, f"`{ast.unparse(node)}`")

    def halves(self, node: ast.Call) -> tuple[Code, Code]:
        """Quotient and remainder of a `divmod`, apart."""
        one, other = node.args
        quotient = self.applied(node, one, ast.FloorDiv(), other)
        return quotient, self.applied(node, one, ast.Mod(), other)
