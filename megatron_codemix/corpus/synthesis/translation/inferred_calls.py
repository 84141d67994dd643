"""Types of what calls give: built-in functions, methods, functions of the module."""

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from megatron_codemix.corpus.synthesis.translation.inferred_methods import (
    check_keywords,
    key_types,
    method,
)
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.scopes import Scope
from megatron_codemix.corpus.synthesis.translation.types import (
    BOOL,
    INT,
    STR,
    Known,
    Type,
    Unknown,
    argument,
    dict_of,
    iterable_of,
    kind_of,
    list_of,
    parse_annotation,
    resolve,
    tuple_of,
)

if TYPE_CHECKING:
    from megatron_codemix.corpus.synthesis.translation.inferred_expressions import ExpressionTypes


def hint(inference: "ExpressionTypes", annotation: ast.expr) -> Type:
    return parse_annotation(annotation, inference.class_nodes)


def call(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    """Raises UntranslatableError for what is called that the restricted Python does not have."""
    for one in node.args:
        if isinstance(one, ast.Starred):
            raise refused(one)
    match node.func:
        case ast.Attribute(value=receiver, attr=name):
            held = inference.expression(receiver, scope)
            return method(inference, node, held, name, scope)
        case ast.Name(id=name):
            if scope.holder(name) is not None or name in inference.shape.functions:
                return _own(inference, node, name, scope)
            if name in inference.shape.classes:
                return _constructor(inference, node, name, scope)
            if name in _BUILTINS:
                check_keywords(node, name)
                return _BUILTINS[name](inference, node, scope)
            raise refused(node, f"a call of `{name}`")
    raise refused(node, f"a call of `{ast.unparse(node.func)}`")


def _own(inference: "ExpressionTypes", node: ast.Call, name: str, scope: Scope) -> Type:
    called = resolve(inference.expression(node.func, scope))
    given = [inference.expression(one, scope) for one in node.args]
    named = {one.arg: inference.expression(one.value, scope) for one in node.keywords}
    if not isinstance(called, Known) or called.kind != "function":
        raise refused(node, f"a call of `{name}`, which is not a function with a known type")
    for one, parameter in zip(given, called.arguments[:-1], strict=False):
        inference.join(node, parameter, one)
    function = inference.shape.functions.get(name)
    if named and function is None:
        raise refused(node, "a keyword in a call of a nested function")
    for keyword, one in named.items():
        assert function is not None
        inference.join(node, dict(function.parameters)[keyword or ""], one)
    return called.arguments[-1]


def _constructor(inference: "ExpressionTypes", node: ast.Call, name: str, scope: Scope) -> Type:
    one = inference.shape.classes[name]
    made = one.constructor
    parameters = list(one.fields.items()) if made is None else made.parameters
    for value, (_, wanted) in zip(node.args, parameters, strict=False):
        inference.join(value, wanted, inference.expression(value, scope))
    for keyword in node.keywords:
        if keyword.arg not in dict(parameters):
            raise refused(node)
        given = inference.expression(keyword.value, scope)
        inference.join(node, dict(parameters)[keyword.arg], given)
    return Known("record", (), name)


def _items(inference: "ExpressionTypes", node: ast.Call, scope: Scope, index: int = 0) -> Type:
    """The element of an argument that is iterated."""
    if index >= len(node.args):
        raise refused(node)
    one = node.args[index]
    return inference.elements(one, inference.expression(one, scope))


def _all(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> list[Type]:
    return [inference.expression(one, scope) for one in node.args]


def _gives(result: Type) -> Callable[["ExpressionTypes", ast.Call, Scope], Type]:
    def infer(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
        _all(inference, node, scope)
        for keyword in node.keywords:
            inference.expression(keyword.value, scope)
        return result

    return infer


def _extreme(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    joined: Type = Unknown()
    if len(node.args) == 1:
        joined = inference.join(node, joined, _items(inference, node, scope))
    else:
        for one in _all(inference, node, scope):
            joined = inference.join(node, joined, one)
    for keyword in node.keywords:
        if keyword.arg == "default":
            joined = inference.join(node, joined, inference.expression(keyword.value, scope))
    key_types(inference, node, joined, scope)
    return joined


def _sorted(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    element = _items(inference, node, scope)
    key_types(inference, node, element, scope)
    return list_of(element)


def _collected(kind: str) -> Callable[["ExpressionTypes", ast.Call, Scope], Type]:
    def infer(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
        element: Type = Unknown()
        if node.args:
            inference.join(node, element, _items(inference, node, scope))
        return Known(kind, (element,))

    return infer


def _dict(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    if not node.args:
        return dict_of(Unknown(), Unknown())
    given = inference.expression(node.args[0], scope)
    if kind_of(given) == "dict":
        return dict_of(argument(given, 0), argument(given, 1))
    pair = inference.elements(node, given)
    if kind_of(pair) == "tuple":
        return dict_of(argument(pair, 0), argument(pair, 1))
    raise refused(node)


def _enumerate(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    element = _items(inference, node, scope)
    for one in (*node.args[1:], *(keyword.value for keyword in node.keywords)):
        inference.expression(one, scope)
    return iterable_of(tuple_of(INT, element))


def _zip(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    elements = [_items(inference, node, scope, index) for index in range(len(node.args))]
    return iterable_of(tuple_of(*elements))


def _reversed(inference: "ExpressionTypes", node: ast.Call, scope: Scope) -> Type:
    return iterable_of(_items(inference, node, scope))


_BUILTINS: dict[str, Callable[["ExpressionTypes", ast.Call, Scope], Type]] = {
    "len": _gives(INT),
    "sum": _gives(INT),
    "abs": _gives(INT),
    "ord": _gives(INT),
    "int": _gives(INT),
    "chr": _gives(STR),
    "str": _gives(STR),
    "bool": _gives(BOOL),
    "any": _gives(BOOL),
    "all": _gives(BOOL),
    "divmod": _gives(tuple_of(INT, INT)),
    "range": _gives(list_of(INT)),
    "min": _extreme,
    "max": _extreme,
    "sorted": _sorted,
    "list": _collected("list"),
    "tuple": _collected("list"),
    "set": _collected("set"),
    "frozenset": _collected("set"),
    "dict": _dict,
    "enumerate": _enumerate,
    "zip": _zip,
    "reversed": _reversed,
}
