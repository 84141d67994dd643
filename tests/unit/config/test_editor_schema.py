"""The JSON schema for editors."""

import json
import re
from typing import Any

from megatron_codemix.config.editor_schema import editor_schema
from megatron_codemix.config.schema import RunConfig


def definitions() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json.dumps(editor_schema()))  # it is JSON
    return schema["$defs"] | {"RunConfig": schema}


def test_all_sections_and_the_two_keys_of_files_are_known() -> None:
    properties = set(editor_schema()["properties"])
    assert properties == {*RunConfig.model_fields, "extends", "origin"}


def test_nothing_is_required_and_nothing_unknown_allowed() -> None:
    for name, definition in definitions().items():
        assert "required" not in definition, name
        if "properties" in definition:
            assert definition["additionalProperties"] is False, name


def test_every_field_has_a_description() -> None:
    for name, definition in definitions().items():
        for field, content in definition.get("properties", {}).items():
            is_section = "$ref" in content or "$ref" in json.dumps(content)
            described = "description" in content or is_section or field == "kind"
            assert described, f"{name}.{field}"


def test_token_counts_may_have_a_unit() -> None:
    field = definitions()["TrainConfig"]["properties"]["train_tokens"]
    integer, text = field["anyOf"]
    assert integer == {"type": "integer"}
    for good in ("200B", "0.5M", "1e6", "4096", "1_000"):
        assert re.search(text["pattern"], good), good
    for bad in ("200Q", "many", "-1", ""):
        assert not re.search(text["pattern"], bad), bad
