"""Methods of text, lists, dictionaries, sets, and of the module's own classes."""

import ast

from megatron_codemix.corpus.synthesis.translation.code import (
    AND,
    EQUALITY,
    SUM,
    Code,
    array,
    arrow,
    chained,
    coalesce,
    index,
    infix,
    member,
    method,
    new,
    quoted,
    spread,
)
from megatron_codemix.corpus.synthesis.translation.operators import Operators
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.types import argument

_SAME_FOR_TEXT = {
    "strip": "trim", "lstrip": "trimStart", "rstrip": "trimEnd", "lower": "toLowerCase",
    "upper": "toUpperCase", "startswith": "startsWith", "endswith": "endsWith", "find": "indexOf",
    "index": "indexOf",
}  # fmt: skip
_PATTERNS = {
    "isdigit": r"/^\d+$/", "isalpha": r"/^\p{L}+$/u", "isalnum": r"/^[\p{L}\p{N}]+$/u",
    "isspace": r"/^\s+$/",
}  # fmt: skip


class Methods(Operators):
    """Adds methods to what writes."""

    def method_call(self, node: ast.Call) -> Code:
        assert isinstance(node.func, ast.Attribute)
        held, name = node.func.value, node.func.attr
        kind = self.kind(held)
        match kind:
            case "record":
                given = [self.expression(one) for one in node.args]
                return method(self.expression(held), self.names.attribute(name), *given)
            case "str":
                return self._of_text(node, held, name)
            case "list":
                return self._of_list(node, held, name)
            case "dict":
                return self._of_dict(node, held, name)
            case "set":
                return self._of_set(node, held, name)
        raise refused(node, f"`{ast.unparse(held)}.{name}`, a method of an unknown type,")

    def _of_text(self, node: ast.Call, held: ast.expr, name: str) -> Code:
        code, arguments = self.expression(held), node.args
        if name in _PATTERNS and not arguments:
            return method(Code(_PATTERNS[name]), "test", code)
        match name, arguments:
            case (("strip" | "lstrip" | "rstrip" | "lower" | "upper"), []):
                return method(code, _SAME_FOR_TEXT[name])
            case (("startswith" | "endswith" | "find" | "index"), [one]) if self.kind(one) == "str":
                return method(code, _SAME_FOR_TEXT[name], self.expression(one))
            case (("find" | "index"), [one, start]) if self.is_least(start, 0):
                return method(code, "indexOf", self.expression(one), self.expression(start))
            case (("isupper" | "islower"), []):
                same, other = "toUpperCase", "toLowerCase"
                if name == "islower":
                    same, other = other, same
                unchanged = infix(code, "===", method(code, same), EQUALITY)
                has_letters = infix(code, "!==", method(code, other), EQUALITY)
                return chained("&&", [unchanged, has_letters], AND)
            case (("capitalize" | "swapcase"), []):
                return self.helper("swapCase" if name == "swapcase" else name, code)
            case "split", []:
                found = method(code, "match", Code(r"/\S+/g"))
                return coalesce(found, array())
            case "split", [one]:
                return method(code, "split", self.expression(one))
            case "join", [items]:
                return method(self.array(items)[0], "join", code)
            case "replace", [old, other]:
                return method(code, "replaceAll", self.expression(old), self._replacement(other))
            case "count", [part]:
                if isinstance(part, ast.Constant) and part.value != "":
                    pieces = member(method(code, "split", self.expression(part)), "length")
                    return infix(pieces, "-", Code("1"), SUM)
                return self.helper("countOf", code, self.expression(part))
        raise refused(node)

    def _replacement(self, node: ast.expr) -> Code:
        """`$` has a meaning in a replacement that is a text, none in what a function gives."""
        code = self.expression(node)
        if isinstance(node, ast.Constant) and "$" not in str(node.value):
            return code
        return arrow("", code)

    def _of_list(self, node: ast.Call, held: ast.expr, name: str) -> Code:
        code, arguments = self.expression(held), node.args
        match name, arguments:
            case "append", [one]:
                return method(code, "push", self.expression(one))
            case "extend", [items]:
                return method(code, "push", spread(self.iterable(items)))
            case "pop", []:
                return method(code, "pop")
            case "pop", [ast.Constant(value=0)]:
                return method(code, "shift")
            case "pop", [at]:
                return index(method(code, "splice", self.expression(at), Code("1")), Code("0"))
            case "insert", [ast.Constant(value=0), one]:
                return method(code, "unshift", self.expression(one))
            case "insert", [at, one]:
                place = self.expression(at)
                return method(code, "splice", place, Code("0"), self.expression(one))
            case "sort", []:
                element = argument(self.type_of(held), 0)
                return self.sorted_array(held, code, element, node.keywords)
            case "reverse", []:
                return method(code, "reverse")
            case "copy", []:
                return array(spread(code))
            case "clear", []:
                return method(code, "splice", Code("0"))
            case (("remove" | "index" | "count"), [one]):
                return self._found(node, code, name, one)
        raise refused(node)

    def _found(self, node: ast.Call, code: Code, name: str, one: ast.expr) -> Code:
        """Methods that look for an element by its value."""
        value = self.expression(one)
        is_simple = self.kind(one) in ("int", "bool", "str")
        with self.temporaries("item") as (item,):
            same = (
                infix(Code(item), "===", value, EQUALITY)
                if is_simple
                else self.helper("isEqual", Code(item), value)
            )
            if name == "count":
                return member(method(code, "filter", arrow(item, same)), "length")
            place = (
                method(code, "indexOf", value)
                if is_simple
                else method(code, "findIndex", arrow(item, same))
            )
        return place if name == "index" else method(code, "splice", place, Code("1"))

    def _of_dict(self, node: ast.Call, held: ast.expr, name: str) -> Code:
        code, arguments = self.expression(held), node.args
        match name, arguments:
            case "get", [key]:
                return coalesce(method(code, "get", self.expression(key)), Code("null"))
            case "get", [key, other]:
                found = method(code, "get", self.expression(key))
                return coalesce(found, self.expression(other))
            case "setdefault", [key, other]:
                given = (self.expression(key), self.expression(other))
                return self.helper("setDefault", code, *given)
            case "pop", [key, *other]:
                return self.helper("take", code, *map(self.expression, (key, *other)))
            case "copy", []:
                return new(self.map_name(argument(self.type_of(held), 0)), code)
            case "clear", []:
                return method(code, "clear")
            case (("items" | "keys" | "values"), []):
                return self.array(node)[0]
        raise refused(node)

    def _of_set(self, node: ast.Call, held: ast.expr, name: str) -> Code:
        code, arguments = self.expression(held), node.args
        match name, arguments:
            case "add", [one]:
                return method(code, "add", self.expression(one))
            case (("discard" | "remove"), [one]):
                return method(code, "delete", self.expression(one))
            case "clear", []:
                return method(code, "clear")
            case "copy", []:
                return new(self.set_name(argument(self.type_of(held), 0)), code)
        raise refused(node)


def text_pieces(writing: Operators, node: ast.JoinedStr) -> list[tuple[str, Code | None]]:
    """Literal text, and what stands in places between (as text)."""
    pieces: list[tuple[str, Code | None]] = []
    for one in node.values:
        if isinstance(one, ast.Constant):
            pieces.append((str(one.value), None))
        else:
            assert isinstance(one, ast.FormattedValue)
            value = writing.expression(one.value)
            if writing.kind(one.value) == "bool":
                text = f"{value.at(4)} ? {quoted('True').text} : {quoted('False').text}"
                value = Code(text, 3)
            pieces.append(("", value))
    return pieces
