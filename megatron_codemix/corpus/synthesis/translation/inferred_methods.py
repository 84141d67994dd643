"""Types of what methods give: of text, lists, dictionaries, sets, and the module's own."""

import ast
from typing import TYPE_CHECKING

from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.scopes import Scope
from megatron_codemix.corpus.synthesis.translation.types import (
    BOOL,
    INT,
    NONE,
    STR,
    Known,
    Type,
    Unknown,
    argument,
    dict_of,
    iterable_of,
    kind_of,
    list_of,
    plain,
    resolve,
    set_of,
    tuple_of,
)

if TYPE_CHECKING:
    from megatron_codemix.corpus.synthesis.translation.inferred_expressions import ExpressionTypes

_KEYWORDS = {
    "sorted": {"key", "reverse"}, "sort": {"key", "reverse"}, "min": {"key", "default"},
    "max": {"key", "default"}, "enumerate": {"start"}, "zip": {"strict"}, "sum": {"start"},
}  # fmt: skip
_STR_METHODS: dict[str, Type] = {
    "split": list_of(STR), "join": STR, "strip": STR, "lstrip": STR, "rstrip": STR, "lower": STR,
    "upper": STR, "replace": STR, "startswith": BOOL, "endswith": BOOL, "isdigit": BOOL,
    "isalpha": BOOL, "isalnum": BOOL, "isupper": BOOL, "islower": BOOL, "isspace": BOOL,
    "capitalize": STR, "swapcase": STR, "find": INT, "index": INT, "count": INT,
}  # fmt: skip


def check_keywords(node: ast.Call, name: str) -> None:
    for keyword in node.keywords:
        if keyword.arg not in _KEYWORDS.get(name, ()):
            raise refused(node, f"`{name}({keyword.arg}=...)`")


def key_types(inference: "ExpressionTypes", node: ast.Call, element: Type, scope: Scope) -> None:
    """The keywords of what orders or chooses."""
    for keyword in node.keywords:
        if keyword.arg == "key" and isinstance(keyword.value, ast.Lambda):
            inference.lambda_type(keyword.value, scope, element)
        elif keyword.arg != "key":
            inference.expression(keyword.value, scope)


def method(
    inference: "ExpressionTypes", node: ast.Call, held: Type, name: str, scope: Scope
) -> Type:
    one, kind = plain(held), kind_of(held)
    if isinstance(one, Known) and kind == "record":
        method = inference.shape.classes[one.name].methods.get(name)
        if method is None or node.keywords:
            raise refused(node)
        for value, (_, wanted) in zip(node.args, method.parameters, strict=False):
            inference.join(value, wanted, inference.expression(value, scope))
        return method.returns
    check_keywords(node, name)
    if name == "sort" and kind == "list":
        key_types(inference, node, argument(one, 0), scope)
        return NONE
    given = [inference.expression(value, scope) for value in node.args]
    if kind == "unknown":
        return Unknown()
    if kind == "str" and name in _STR_METHODS:
        return _STR_METHODS[name]
    methods = {"list": _list_method, "dict": _dict_method, "set": _set_method}
    if kind in methods:
        return methods[kind](inference, node, one, name, given)
    raise refused(node, f"the method `{name}` of a {kind}")


def _list_method(
    inference: "ExpressionTypes", node: ast.Call, held: Type, name: str, given: list[Type]
) -> Type:
    element = argument(held, 0)
    match name, given:
        case "append", [one]:
            inference.join(node, element, one)
            return NONE
        case "insert", [_, one]:
            inference.join(node, element, one)
            return NONE
        case "extend", [more]:
            inference.join(node, element, inference.elements(node, more))
            return NONE
        case (("remove" | "reverse" | "clear"), _):
            return NONE
        case "pop", ([] | [_]):
            return element
        case (("index" | "count"), [_]):
            return INT
        case "copy", []:
            return list_of(element)
    raise refused(node, f"the method `{name}` of a list")


def _dict_method(
    inference: "ExpressionTypes", node: ast.Call, held: Type, name: str, given: list[Type]
) -> Type:
    key, value = argument(held, 0), argument(held, 1)
    match name, given:
        case "get", [one]:
            inference.join(node, key, one)
            return Known("optional", (value,))
        case (("get" | "setdefault"), [one, other]):
            inference.join(node, key, one)
            joined: Type = Unknown()
            inference.join(node, joined, value)
            if name == "setdefault" or kind_of(resolve(value)) == "unknown":
                return inference.join(node, value, other)
            return inference.join(node, joined, other)
        case "items", []:
            return iterable_of(tuple_of(key, value))
        case "keys", []:
            return iterable_of(key)
        case "values", []:
            return iterable_of(value)
        case "pop", [one, *_]:
            inference.join(node, key, one)
            return value
        case "update", [other]:
            inference.join(node, held, other)
            return NONE
        case "copy", []:
            return dict_of(key, value)
        case "clear", []:
            return NONE
    raise refused(node, f"the method `{name}` of a dictionary")


def _set_method(
    inference: "ExpressionTypes", node: ast.Call, held: Type, name: str, given: list[Type]
) -> Type:
    element = argument(held, 0)
    match name, given:
        case (("add" | "discard" | "remove"), [one]):
            inference.join(node, element, one)
            return NONE
        case "update", [more]:
            inference.join(node, element, inference.elements(node, more))
            return NONE
        case (("union" | "intersection" | "difference"), [more]):
            inference.join(node, element, inference.elements(node, more))
            return set_of(element)
        case (("issubset" | "issuperset"), [more]):
            inference.join(node, element, inference.elements(node, more))
            return BOOL
        case "copy", []:
            return set_of(element)
        case "clear", []:
            return NONE
    raise refused(node, f"the method `{name}` of a set")
