"""Which records the conditions of a recipe take."""

import json
from pathlib import Path

import pytest

from megatron_codemix.corpus.recipes.schema import load_recipe
from tests.helpers.recipe_data import documents_of, run

VALUES = [True, False, 1, 1.0, 0, 2.5, 2**60, 2**60 + 1, "true", "1", "x", [1], None]


def taken(folder: Path, take: str, field: str = "") -> list[object]:
    lines = [json.dumps({"id": str(n), "text": "t", "v": v}) for n, v in enumerate(VALUES)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    (folder / "recipe.yaml").write_text(
        f"""
title: Values
sources:
  text:
    inputs: [{{files: "{folder}/a.jsonl", take: [{{field: v, {take}}}]{field}}}]
    licence: MIT
    policy: prose
"""
    )
    run(load_recipe(folder / "recipe.yaml"), folder / "out")
    return [VALUES[int(one.id)] for one in documents_of(folder / "out")["text"]]


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        ("values: [true]", [True, "true"]),
        ("values: [True]", [True]),
        ("values: [false]", [False]),
        ("values: [1]", [1, 1.0, "1"]),
        ("values: [1.0]", [1, 1.0]),
        ("values: [2.5, x]", [2.5, "x"]),
        ("values: [1152921504606846977]", [2**60 + 1]),
        ("other_than: [true, 1, 1152921504606846976]", [False, 0, 2.5, 2**60 + 1, "x", [1]]),
        ("at_least: 1", [1, 1.0, 2.5, 2**60, 2**60 + 1]),
    ],
)
def test_values_are_compared_as_json_spells_them(tmp_path: Path, take: str, expected: list[object]):
    found = taken(tmp_path, take)
    assert [(type(one), one) for one in found] == [(type(one), one) for one in expected]


def test_a_condition_on_language_is_not_taken_for_the_language_field(tmp_path: Path):
    lines = [
        {"id": "a", "text": "t", "language": "en", "lang": "PY"},
        {"id": "b", "text": "t", "language": "de", "lang": "PY"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "recipe.yaml").write_text(
        f"""
title: Two fields
sources:
  code:
    inputs:
      - files: "{tmp_path}/a.jsonl"
        take: [{{field: language, values: [en]}}]
        language_field: lang
        languages: {{python: PY}}
    licence: MIT
    policy: code
"""
    )
    run(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "out")
    [found] = documents_of(tmp_path / "out")["code"]
    assert (found.id, found.metadata) == ("a", {"language": "python"})


def test_what_is_too_long_for_a_line_is_counted_as_left_out(tmp_path: Path):
    """A text of 40 MiB takes 80 as a line of JSON, which no stage would read again."""
    (tmp_path / "a.py").write_bytes(b"\n" * (40 << 20) + b"pass")
    (tmp_path / "b.py").write_text("pass")
    (tmp_path / "recipe.yaml").write_text(
        f"""
title: Long
sources:
  code:
    inputs: [{{files: "{tmp_path}/*.py"}}]
    licence: MIT
    policy: code
"""
    )
    record = run(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "out").record
    assert record is not None
    assert [one.id for one in documents_of(tmp_path / "out")["code"]] == ["b.py"]
    stage = record.stages[-1]
    assert stage.num_read == {"code": 2}
    assert stage.dropped["code"].counts == {"longer than 64 MiB as a line of JSON": 1}
    assert stage.tallies == {"code": {"language": {"python": 1}}}
