"""Writes down the fields of megatron-core's TransformerConfig and what text each of them takes.

    python tools/record_transformer_fields.py > megatron_codemix/config/transformer_fields.json

So `model.transformer_overrides` is checked without importing torch. Run again when the pin of
megatron-core changes; a test compares the record with the installed package.
"""

import dataclasses
import json
import types
import typing
from importlib.metadata import version
from typing import Any

_SCALARS = {bool: "bool", int: "int", float: "float", str: "str", type(None): "none"}


def forms(annotation: Any) -> list[str]:  # Any: a type, as dataclasses report it
    """Forms of text that the annotation takes; [] if only objects of Python will do.

    `int`, `list[int]` and so on; `none`; and each choice of a Literal in quotes.
    """
    if annotation in _SCALARS:
        return [_SCALARS[annotation]]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return [repr(choice) for choice in arguments]
    if origin in (typing.Union, types.UnionType):
        found = [form for argument in arguments for form in forms(argument)]
        return [] if found == ["none"] else found
    if origin in (list, tuple) and arguments[0] in _SCALARS:
        return [f"list[{_SCALARS[arguments[0]]}]"]
    return []


def record() -> dict[str, Any]:  # Any: JSON values
    """What the installed megatron-core has."""
    import megatron_codemix.mcore  # noqa: F401, I001  # first: lets it load without CUDA
    from megatron.core.transformer import TransformerConfig  # type: ignore[import-untyped]

    fields = dataclasses.fields(TransformerConfig)
    return {
        "megatron_core": version("megatron-core"),
        "fields": {
            field.name: forms(field.type) for field in fields if not field.name.startswith("_")
        },
    }


def as_json(content: dict[str, Any]) -> str:
    """One line for each field, so that a new version of megatron-core gives a readable diff."""
    lines = [
        f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in content["fields"].items()
    ]
    head = f'{{\n "megatron_core": {json.dumps(content["megatron_core"])},\n "fields": {{\n'
    return head + ",\n".join(lines) + "\n }\n}"


if __name__ == "__main__":
    print(as_json(record()))
