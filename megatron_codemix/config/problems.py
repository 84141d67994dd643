"""What pydantic finds, in the words of the file: `run.yaml:12: train.seed: expected a number`."""

import difflib
import re
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from megatron_codemix.config.tree import Tree, describe, where_of

# pydantic's error types that mean "this is not of the field's type", with what the field wants.
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a section (lines of 'key: value')",
    "model_type": "a section (lines of 'key: value')",
    "model_attributes_type": "a section (lines of 'key: value')",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}

_LEAST_LIKENESS = 0.65
"""Of two words, for one to be a slip of the other: 'wbe' and 'web' have 0.67, 'written' and
'jitter' 0.62."""


class _Field(NamedTuple):
    """Where a problem is."""

    path: list[str]
    """In the file."""
    place: str
    """Of the nearest key that exists."""
    owner: Any
    """Annotation of the section that it is in, one member where that is a tagged union."""
    union: Any
    """The same with all members."""
    section: Any
    """What the section holds."""


def readable(
    errors: Sequence[ErrorDetails], tree: Tree, model: type[BaseModel], where: str
) -> list[str]:
    """One line for each of pydantic's `errors` about `tree`, in the order of the schema.

    where: names the input in problems that have no line of their own.
    """
    return [_line(error, tree, model, where) for error in errors]


def _line(error: ErrorDetails, tree: Tree, model: type[BaseModel], where: str) -> str:
    field = _locate(error["loc"], tree, model)
    if error["type"].startswith("union_tag"):
        tag = _locate((*error["loc"], "kind"), tree, model)
        field = field._replace(path=tag.path, place=tag.place)
    told = (field.place or where, ".".join(field.path), _message(error, field, model))
    return ": ".join(part for part in told if part)


def _locate(loc: Sequence[int | str], tree: Tree, model: type[BaseModel]) -> _Field:
    """The field at `loc`.

    pydantic puts the tag of a union's member into the location, also where a field of that member
    has the same name; the file has no such level.
    """
    path: list[str] = []
    place = ""
    node: Any = tree
    kind: Any = model
    owner: Any = None
    union: Any = None
    section: Any = None
    is_tag_next = False
    for part in map(str, loc):
        if part == "[key]":
            continue
        if is_tag_next and part in _union_tags(kind):
            is_tag_next = False
            continue
        path.append(part)
        owner, union, section = _chosen(kind, node), kind, node
        kind = _member(owner, part)
        is_tag_next = True
        if isinstance(node, dict):
            place = next((where_of(key) for key in node if key == part), "") or place
            node = node.get(part)
        elif isinstance(node, list) and part.isdigit():
            node = node[int(part)]
        else:
            node = None
    return _Field(path, place, owner, union, section)


def _union_tags(kind: Any) -> set[str]:
    """Of a union's members; none where there is one model."""
    models = _models(kind)
    return {tag for model in models for tag in _tags(model)} if len(models) > 1 else set()


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models that an annotation allows, wrappers taken off."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _models(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [model for member in typing.get_args(kind) for model in _models(member)]
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return [kind] if is_model else []


def _item(kind: Any) -> Any:
    """The annotation of a list's items, of anything else itself."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    is_tagged = field is not None and typing.get_origin(field.annotation) is Literal
    return typing.get_args(field.annotation) if field is not None and is_tagged else ()


def _chosen(kind: Any, node: Any) -> Any:
    """The annotation, or the member of a tagged union that `node` selects."""
    models = _models(kind)
    if isinstance(node, dict):
        for model in models:
            if len(models) > 1 and node.get("kind") in _tags(model):
                return model
    return models[0] if models else kind


def _member(kind: Any, part: str) -> Any:
    """Annotation of the field or item `part` of a section."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(part)
        return None if field is None else field.annotation
    if typing.get_origin(kind) is typing.Annotated:
        return _member(typing.get_args(kind)[0], part)
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    if typing.get_origin(kind) in (list, tuple):
        return typing.get_args(kind)[0]
    return None


def _message(error: ErrorDetails, field: _Field, model: type[BaseModel]) -> str:
    kind, context, got = error["type"], error.get("ctx", {}), describe(error["input"])
    path, owner = field.path, field.owner
    if kind == "missing":
        return _missing(path[-1], owner)
    if kind == "extra_forbidden":
        instead = suggestion(path[-1], _field_names(owner), field_paths(model))
        return f"unknown key{_of_other_kinds(field) or instead}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {got}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}, got {got}"
    if kind == "literal_error":
        return _choice(error["input"], str(context["expected"]).replace(" or ", ", ").split(", "))
    if kind == "union_tag_invalid":
        return _choice(context["tag"], str(context["expected_tags"]).split(", "))
    if kind == "union_tag_not_found":
        tags = [tag for member in _models(_member(owner, path[-2])) for tag in _tags(member)]
        return f"missing (one of {', '.join(tags)})"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("too_short", "dict_too_short"):
        return "must not be empty"
    return f"{error['msg']}, got {got}"


def _of_other_kinds(field: _Field) -> str:
    """What to do about a field that the other members of a tagged union have; "" where none has
    it."""
    name, members = field.path[-1], _models(field.union)
    tags = [tag for member in members if name in member.model_fields for tag in _tags(member)]
    if len(members) < 2 or not tags:
        return ""
    *others, last = tags
    belongs = f"{', '.join(others)} or {last}" if others else last
    given = field.section.get("kind") if isinstance(field.section, dict) else None
    kind = ".".join((*field.path[:-1], "kind"))
    change = f"change {kind}" if others else f"set {kind}={last}"
    return f"; it belongs to kind {belongs}, and kind is {given or _tags(field.owner)[0]}; " + (
        f"remove it or {change}"
    )


def _missing(name: str, owner: Any) -> str:
    fields = getattr(owner, "model_fields", {})
    meaning = (fields[name].description or "") if name in fields else ""
    if not meaning and name in fields:
        models = _models(fields[name].annotation)
        meaning = (models[0].__doc__ or "") if models else ""
    first_sentence = re.split(r"(?<!\beq)\. ", " ".join(meaning.split()))[0].rstrip(".")
    annotation = fields[name].annotation if name in fields else None
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
    one_of = f"one of {', '.join(map(str, choices))}" if choices else ""
    told = "; ".join(part for part in (first_sentence, one_of) if part)
    return f"missing ({told})" if told else "missing"


def _choice(got: Any, quoted: Sequence[str]) -> str:
    choices = [choice.strip("'") for choice in quoted]
    return f"expected one of {', '.join(choices)}, got {describe(got)}" + suggestion(
        str(got), choices
    )


def _field_names(owner: Any) -> list[str]:
    return list(getattr(owner, "model_fields", {}))


def suggestion(name: str, near: Sequence[str], elsewhere: Sequence[str] = ()) -> str:
    """`; did you mean 'seed'?`: the one in `near` most like `name`, else a path that ends in it."""
    alike = difflib.get_close_matches(name, near, n=1, cutoff=_LEAST_LIKENESS)
    alike = [word for word in alike if abs(len(word) - len(name)) < max(len(word), len(name)) / 2]
    alike = alike or [path for path in elsewhere if path.split(".")[-1] == name][:1]
    return f"; did you mean '{alike[0]}'?" if alike else ""


def field_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted path of every section and field under `model`, all members of unions included; a field
    of a list's items has the path of the list before it, without a number."""
    paths: list[str] = []
    for name, field in model.model_fields.items():
        paths.append(prefix + name)
        for member in _models(_item(field.annotation)):
            paths += [p for p in field_paths(member, f"{prefix}{name}.") if p not in paths]
    return paths
