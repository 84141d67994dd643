"""Fields that a recipe names: a wrong name is told, whatever names it."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from megatron_codemix.corpus.record import load_corpus
from tests.helpers.commands import codemix

RECORDS = [
    {"id": f"r{n}", "text": f"text {n}", "url": f"u{n}", "stars": n or None, "meta": {"set": "a"}}
    for n in range(4)
]
NAMED = [
    ("origin_field: urll", "origin_field", "urll"),
    ("path_field: urll", "path_field", "urll"),
    ("id_field: hash", "id_field", "hash"),
    ("licence_field: terms", "licence_field", "terms"),
    ("metadata: {stars: starz}", "metadata.stars", "starz"),
    ("metadata: {set: meta.sett}", "metadata.set", "meta.sett"),
    ("take: [{field: starz, at_least: 0}]", "take.0.field", "starz"),
    ("languages: [a], language_field: meta.sett", "language_field", "meta.sett"),
]


def write_recipe(folder: Path, file: str, fields: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(
        f"""
title: Records
sources:
  text:
    inputs: [{{files: "{folder}/{file}", {fields}}}]
    licence: MIT
    policy: prose
    expected: {{}}
"""
    )
    return path


def write_lines(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize(("fields", "option", "field"), NAMED, ids=[one[1] for one in NAMED])
def test_a_field_that_no_record_has_is_refused(
    tmp_path: Path, fields: str, option: str, field: str
):
    write_lines(tmp_path / "a.jsonl", RECORDS[:2])
    write_lines(tmp_path / "b.jsonl", RECORDS[2:])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    asked = ("corpus", "recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    write_recipe(tmp_path, "*.parquet", fields)
    refused = codemix(*asked)
    assert refused.returncode == 2
    told = f"a.parquet: no column '{field}' for {option}; it has id, text, url, stars, meta; "
    assert told + f"name the right field with {option}" in refused.stderr
    write_recipe(tmp_path, "*.jsonl", fields)
    for _ in range(2):  # the second time all parts are there
        refused = codemix(*asked)
        assert refused.returncode == 2
        told = f"source 'text': inputs.0.{option}: no field '{field}' in any of 4 records; they "
        assert told + "have id, meta, stars, text, url; mend the recipe" in refused.stderr
        assert load_corpus(tmp_path / "out") is None


def test_a_field_that_some_records_have_is_told(tmp_path: Path):
    without = {name: value for name, value in RECORDS[1].items() if name != "stars"}
    write_lines(tmp_path / "a.jsonl", [RECORDS[0], without])  # the first one's is null
    write_lines(tmp_path / "b.jsonl", RECORDS[2:])
    fields = "metadata: {stars: stars, set: meta.set}, origin_field: url"
    recipe = write_recipe(tmp_path, "*.jsonl", fields)
    made = codemix("corpus", "recipe", recipe, "--out", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    told = "source 'text': inputs.0.metadata.stars: no field 'stars' in 1 of 4 records"
    assert [line for line in made.stderr.splitlines() if "no field" in line] == [
        next(line for line in made.stderr.splitlines() if told in line)
    ]


def test_a_source_without_a_document_is_refused(tmp_path: Path):
    write_lines(tmp_path / "a.jsonl", [*RECORDS, {"text": " ", "stars": 9}])
    recipe = write_recipe(tmp_path, "*.jsonl", "take: [{field: stars, at_least: 5}]")
    for _ in range(2):
        refused = codemix("corpus", "recipe", recipe, "--out", tmp_path / "out")
        assert refused.returncode == 2
        assert (
            "source 'text': no document is left of 5 (empty: 1, no stars: 1, stars below 5: 3); "
            "mend the recipe, or leave the source out" in refused.stderr
        )
    write_recipe(tmp_path, "*.jsonl", "take: [{field: stars, at_least: 3}]")
    assert codemix("corpus", "recipe", recipe, "--out", tmp_path / "out").returncode == 0
