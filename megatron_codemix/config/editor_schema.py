"""The JSON schema that an editor uses for completion and checks while a file is written."""

from typing import Any

from megatron_codemix.config.schema import RunConfig

Schema = dict[str, Any]  # Any: JSON values

_EXTENDS: Schema = {
    "description": "Files that this one is laid on, relative to it; the later one counts.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
_ORIGIN: Schema = {
    "description": "Field path -> where its value is from: 'paper, SECTION' or 'inferred: REASON'.",
    "type": "object",
    "additionalProperties": {"type": "string"},
}


def editor_schema() -> Schema:
    """As pydantic has it, made for files.

    Nothing is required, because a file may extend others; token counts may have a unit.
    """
    schema = RunConfig.model_json_schema(mode="validation")
    _relax(schema)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "codemix run"
    schema["properties"] = {"extends": _EXTENDS, **schema["properties"], "origin": _ORIGIN}
    return schema


def _relax(node: Any) -> None:  # Any: a part of a JSON schema
    if isinstance(node, list):
        for item in node:
            _relax(item)
    if not isinstance(node, dict):
        return
    node.pop("required", None)
    for value in node.values():
        _relax(value)
    if "examples" in node and node.get("type") == "integer":  # a number of tokens
        del node["type"]
        pattern = r"^[0-9_]*\.?[0-9]+([eE][0-9]+)?\s*[KkMmBbTt]?$"
        node["anyOf"] = [{"type": "integer"}, {"type": "string", "pattern": pattern}]
