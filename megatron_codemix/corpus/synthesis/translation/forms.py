"""Values as JSON for the other language, by their types: what both sides' results are compared as.

A dictionary is a list of pairs, a set a list, a record the list of its fields' values. Truths stay
truths: 1 and true differ. Two values are compared once dictionaries and sets are `ordered`.
"""

import ast
import json
from collections.abc import Callable
from typing import Any

TypeForm = Any
"""JSON: "int", "bool", "str", "none"; or a list: a kind and its parts (`translate._Forms`)."""
JsonValue = Any


def to_json(form: TypeForm, value: Any) -> JsonValue:
    """Of a Python value. A record is any object with the fields as attributes, or with
    `value[name]` where it has none. Raises ValueError where the value is of another type."""
    kind = form if isinstance(form, str) else form[0]
    if kind in _PLAIN:
        if type(value) not in _PLAIN[kind]:
            raise ValueError(f"{value!r} where {form!r} is expected")
        return value
    match kind:
        case "list" if isinstance(value, list | tuple):
            return [to_json(form[1], one) for one in value]
        case "tuple" if isinstance(value, tuple | list) and len(value) == len(form) - 1:
            return [to_json(part, one) for part, one in zip(form[1:], value, strict=True)]
        case "set" if isinstance(value, set | frozenset):
            return [to_json(form[1], one) for one in value]
        case "dict" if isinstance(value, dict):
            return [[to_json(form[1], key), to_json(form[2], one)] for key, one in value.items()]
        case "optional":
            return None if value is None else to_json(form[1], value)
        case "record":
            return [to_json(part, _field(value, name)) for name, _, part in form[3]]
    raise ValueError(f"{value!r} where {form!r} is expected")


_PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int, bool),
    "bool": (bool,),
    "str": (str,),
    "none": (type(None),),
}


def _field(value: Any, name: str) -> Any:
    return value[name] if hasattr(type(value), "__getitem__") else getattr(value, name)


def ordered(form: TypeForm, value: JsonValue) -> JsonValue:
    """The same JSON with dictionaries and sets in order of their text, at every depth. Raises
    ValueError where it is not as the form says."""
    kind = form if isinstance(form, str) else form[0]
    if kind in _PLAIN:
        if type(value) not in _PLAIN[kind]:
            raise ValueError(f"{value!r} where {form!r} is expected")
        return value
    if kind == "optional":
        return None if value is None else ordered(form[1], value)
    if not isinstance(value, list):
        raise ValueError(f"{value!r} where {form!r} is expected")
    match kind:
        case "tuple":
            return [ordered(part, one) for part, one in zip(form[1:], value, strict=True)]
        case "record":
            parts = [part for _, _, part in form[3]]
            return [ordered(part, one) for part, one in zip(parts, value, strict=True)]
        case "dict":
            pairs = [[ordered(form[1], key), ordered(form[2], one)] for key, one in value]
            return sorted(pairs, key=lambda pair: json.dumps(pair[0]))
    elements = [ordered(form[1], one) for one in value]
    return sorted(elements, key=json.dumps) if kind == "set" else elements


def read_literal(text: str) -> Any:
    """A Python value from its source text; a record, `Point(x=1, y=2)`, as a dictionary of its
    fields. Raises ValueError for anything else: nothing is run."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError) as error:
        raise ValueError(f"{text[:80]!r} is no literal") from error


def read_arguments(text: str) -> list[Any]:
    """Values as they stand between the brackets of a call."""
    return list(read_literal(f"({text},)" if text.strip() else "()"))


_DISPLAYS: dict[type[ast.expr], Callable[[list[Any]], Any]] = {
    ast.List: list,
    ast.Tuple: tuple,
    ast.Set: set,
}


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number))):
            return -number
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return _DISPLAYS[type(node)]([_value(one) for one in elements])
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_value(key): _value(one) for key, one in pairs if key is not None}
        case ast.Call(func=ast.Name(id="set"), args=[], keywords=[]):
            return set()
        case ast.Call(func=ast.Name(), args=[], keywords=fields):
            return {field.arg: _value(field.value) for field in fields}
    raise ValueError(f"{ast.unparse(node)[:80]!r} is no literal")
