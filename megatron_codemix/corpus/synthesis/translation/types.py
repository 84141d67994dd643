"""Types of the restricted Python, as far as JavaScript has to tell them apart."""

import ast
from collections.abc import Collection
from dataclasses import dataclass

from megatron_codemix.corpus.synthesis.translation.refusal import refused


@dataclass(eq=False)
class Unknown:
    """A type that is found later: the element of `[]`, a parameter without an annotation."""

    bound: "Type | None" = None


@dataclass(frozen=True)
class Known:
    """kind: int bool str none; list set iterable (of one), dict (of two), tuple (of each),
    optional, record (by name), function (parameters, then what it returns)."""

    kind: str
    arguments: "tuple[Type, ...]" = ()
    name: str = ""


Type = Known | Unknown

INT, BOOL, STR, NONE = Known("int"), Known("bool"), Known("str"), Known("none")
_PLAIN = {"int": INT, "bool": BOOL, "str": STR, "None": NONE}
_NUM_ARGUMENTS = {"list": 1, "set": 1, "frozenset": 1, "dict": 2}
_ARRAYS = ("list", "tuple")


class Mismatch(Exception):  # noqa: N818  # caught where the line is known
    """Two types that one name cannot have."""


def list_of(element: Type) -> Known:
    return Known("list", (element,))


def set_of(element: Type) -> Known:
    return Known("set", (element,))


def dict_of(key: Type, value: Type) -> Known:
    return Known("dict", (key, value))


def tuple_of(*elements: Type) -> Known:
    return Known("tuple", elements)


def iterable_of(element: Type) -> Known:
    return Known("iterable", (element,))


def resolve(one: Type) -> Type:
    """What is known by now."""
    while isinstance(one, Unknown) and one.bound is not None:
        one = one.bound
    return one


def kind_of(one: Type) -> str:
    """Its kind, `unknown`; what may be None besides has the kind of what it is otherwise."""
    one = resolve(one)
    if isinstance(one, Unknown):
        return "unknown"
    return kind_of(one.arguments[0]) if one.kind == "optional" else one.kind


def plain(one: Type) -> Type:
    """Without the None that it may be."""
    one = resolve(one)
    if isinstance(one, Known) and one.kind == "optional":
        return plain(one.arguments[0])
    return one


def argument(one: Type, index: int) -> Type:
    """The type's argument; an unknown one where the type is unknown."""
    one = plain(one)
    return one.arguments[index] if isinstance(one, Known) else Unknown()


def element_of(one: Type) -> Type:
    """What iteration gives. Raises Mismatch where it cannot be iterated."""
    one = plain(one)
    if isinstance(one, Unknown):
        return Unknown()
    if one.kind == "str":
        return STR
    if one.kind in ("list", "set", "iterable", "dict"):
        return one.arguments[0]
    if one.kind == "tuple":
        joined: Type = Unknown()
        for each in one.arguments:
            joined = join(joined, each)
        return joined
    raise Mismatch(f"a value of type {show(one)} cannot be iterated")


def join(target: Type, given: Type) -> Type:
    """The type of what may be either. What is unknown in one is bound to what the other has, and
    where `target` was bound too narrowly it is widened; `given` is not. Raises Mismatch."""
    cell = _last_cell(target)
    one, other = resolve(target), resolve(given)
    if one is other:
        return one
    if isinstance(one, Unknown):
        one.bound = other
        return other
    if isinstance(other, Unknown):
        other.bound = one
        return one
    joined = _join_known(one, other)
    if cell is not None:
        cell.bound = joined
    return joined


def _last_cell(one: Type) -> Unknown | None:
    cell = None
    while isinstance(one, Unknown) and one.bound is not None:
        cell, one = one, one.bound
    return cell


def _join_known(one: Known, other: Known) -> Type:
    kinds = {one.kind, other.kind}
    if kinds == {"int", "bool"}:
        return INT
    if kinds & {"none", "optional"} and kinds != {"none"}:
        return _optional(one, other)
    if kinds == {"list", "tuple"} or (
        kinds == {"tuple"} and len(one.arguments) != len(other.arguments)
    ):
        return list_of(join(element_of(one), element_of(other)))
    if (one.kind, one.name, len(one.arguments)) != (other.kind, other.name, len(other.arguments)):
        raise Mismatch(f"{show(other)} where {show(one)} is expected")
    pairs = zip(one.arguments, other.arguments, strict=True)
    return Known(one.kind, tuple(join(*pair) for pair in pairs), one.name)


def _optional(one: Known, other: Known) -> Type:
    held = [plain(each) for each in (one, other) if each.kind != "none"]
    whole = held[0] if len(held) == 1 else join(held[0], held[1])
    return Known("optional", (whole,))


def holds_arrays(one: Type) -> bool:
    """Whether JavaScript compares it by identity though Python compares what it holds."""
    return kind_of(one) in _ARRAYS


def parse_annotation(node: ast.expr, classes: Collection[str]) -> Type:
    """Raises UntranslatableError for what the restricted Python does not have."""
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=str(text)):
            return parse_annotation(ast.parse(text, mode="eval").body, classes)
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Name(id=name) if name in classes:
            return Known("record", (), name)
        case ast.Name(id=name) if name in _NUM_ARGUMENTS:
            kind = "set" if name == "frozenset" else name
            return Known(kind, tuple(Unknown() for _ in range(_NUM_ARGUMENTS[name])))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            try:
                return join(parse_annotation(left, classes), parse_annotation(right, classes))
            except Mismatch as error:
                raise refused(node, f"the type `{ast.unparse(node)}`") from error
        case ast.Subscript(
            value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[one, ast.Constant(value=last)])
        ) if last is ...:
            return list_of(parse_annotation(one, classes))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=inner):
            elements = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return tuple_of(*(parse_annotation(each, classes) for each in elements))
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _NUM_ARGUMENTS:
            elements = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            kind = "set" if name == "frozenset" else name
            if len(elements) == _NUM_ARGUMENTS[name]:
                return Known(kind, tuple(parse_annotation(each, classes) for each in elements))
    raise refused(node, f"the type `{ast.unparse(node)}`")


def show(one: Type) -> str:
    """As JSDoc writes it."""
    one = resolve(one)
    if isinstance(one, Unknown):
        return "*"
    parts = [show(each) for each in one.arguments]
    match one.kind:
        case "int":
            return "number"
        case "bool":
            return "boolean"
        case "str":
            return "string"
        case "none":
            return "void"
        case "list":
            is_compound = kind_of(one.arguments[0]) == "function" or parts[0].endswith("| null")
            return f"({parts[0]})[]" if is_compound else f"{parts[0]}[]"
        case "set":
            return f"Set<{parts[0]}>"
        case "dict":
            return f"Map<{parts[0]}, {parts[1]}>"
        case "tuple":
            return f"[{', '.join(parts)}]"
        case "optional":
            return f"{parts[0]} | null"
        case "record":
            return one.name
        case "function":
            return f"function({', '.join(parts[:-1])}): {parts[-1]}"
    return f"Iterable<{parts[0]}>"
