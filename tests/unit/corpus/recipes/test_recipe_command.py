"""`codemix corpus recipe`, and what is refused of recipes."""

import json
from pathlib import Path

import pytest

from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import load_recipe
from megatron_codemix.errors import ConfigError, DataError
from tests.helpers.commands import codemix
from tests.helpers.kills import contents
from tests.helpers.recipe_data import RECIPE, documents_of, run, write, write_stack


def test_the_command_says_what_it_would_do_and_does_it(tmp_path: Path, recipe: Path, stack: Path):
    asked = ("corpus", "recipe", recipe, "--out", tmp_path / "out", "--root", f"stack={stack}")
    planned = json.loads(codemix(*asked, "--dry-run", "--json").stdout)
    assert planned["files"] == {"code": 4, "markup": 6}
    assert (planned["parts"], planned["parts_to_do"]) == (2, 2)
    assert planned["licence"] == {"code": "MIT", "markup": "MIT"}
    assert not (tmp_path / "out").exists()
    made = json.loads(codemix(*asked, "--json").stdout)
    assert made["is_complete"]
    assert made["sources"]["code"]["num_documents"] == 13
    assert made["expected"]["code"]["tokens"] == "1K"
    again = codemix(*asked).stdout
    assert "complete already" in again
    assert "another language" in again
    assert "code: the whole is said to have 1K tokens" in again
    assert "69.23%" in again, "9 of 13 documents are Python"
    before = contents(tmp_path / "out")
    for extra in ((), ("--dry-run",)):
        refused = codemix(*asked, "--source", "code", *extra)
        assert refused.returncode == 2
        assert "holds markup too, which would be lost with --source code" in refused.stderr
    assert contents(tmp_path / "out") == before


def test_a_packaged_recipe_is_found_from_any_folder(tmp_path: Path):
    write_stack(tmp_path / "stack", {"python": 1})
    asked = ["corpus", "recipe", "examples/corpora/the_stack.yaml", "--out", str(tmp_path / "out")]
    refused = codemix(*asked, "--root", f"stack={tmp_path}/stack", cwd=tmp_path)
    assert refused.returncode == 2
    assert "java/*.parquet: matches no file" in refused.stderr


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("{stack}/*/", "{stck}/*/", r"sources.markup.inputs.0: {stck} is not among roots: stack"),
        ("        languages: {python: python, C: c}\n", "", "languages: missing, and files has"),
        ("        language_field: lang\n", "", "neither files nor language_field says"),
        ("        languages: {markdown: MARKDOWN}\n", "", "languages is missing, which names"),
        ("{tokens: 1K}", "{language_percent: {go: 1}}", r"percent.go: no input has this language"),
        ("  markup:\n", "  dropped:\n", r"sources.dropped: is the folder of what is left out"),
        ("  markup:\n", "  mark.up:\n", r"sources.mark.up: "),
        ("policy: code", "policy: cod", r"recipe.yaml:13: sources.code.policy: "),
        ("    licence: MIT\n", "", r"sources.code.licence: missing"),
        ("title:", "name:", r"recipe.yaml:2: name: unknown key"),
        (
            "text_field: content\n",
            "text_field: content\n        take: [{field: a}]\n",
            "take.0: one of values, other_than and at_least is wanted",
        ),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told(recipe: Path, before: str, after: str, problem: str):
    assert before in RECIPE
    recipe.write_text(RECIPE.replace(before, after))
    with pytest.raises(ConfigError, match=problem):
        load_recipe(recipe)


def test_an_unknown_root_or_source_is_refused(tmp_path: Path, recipe: Path, stack: Path):
    with pytest.raises(ConfigError, match="--root stck: the recipe has no such root; it has stack"):
        load_recipe(recipe, {"stck": "x"})
    with pytest.raises(DataError, match="no source 'prose' in the recipe; it has code, markup"):
        recipe_inputs(load_recipe(recipe, {"stack": str(stack)}), ["prose"])


def test_all_that_is_missing_is_named(tmp_path: Path, recipe: Path):
    with pytest.raises(DataError) as refused:
        recipe_inputs(load_recipe(recipe, {"stack": str(tmp_path)}))
    assert len(refused.value.problems) == 2
    assert "source 'code': " in refused.value.problems[0]
    assert "source 'markup': " in refused.value.problems[1]


def test_a_field_that_no_record_has_is_named_as_the_recipe_names_it(
    tmp_path: Path, recipe: Path, stack: Path
):
    recipe.write_text(RECIPE.replace("text_field: content", "text_field: body"))
    with pytest.raises(DataError, match=r"no column 'body'; it has .*right field with text_field"):
        run(load_recipe(recipe, {"stack": str(stack)}), tmp_path / "out")


def test_two_files_of_one_name_are_refused(tmp_path: Path, recipe: Path):
    for folder in ("one", "two"):
        write(tmp_path / folder / "a.jsonl", [{"id": "a", "text": folder}])
    recipe.write_text(
        f"""
title: Two folders
sources:
  text:
    inputs:
      - files: ["{tmp_path}/one/*.jsonl", "{tmp_path}/two/*.jsonl"]
    licence: MIT
    policy: prose
    expected: {{}}
"""
    )
    with pytest.raises(DataError, match=r"one/a\.jsonl and .*two/a\.jsonl are both a\.jsonl"):
        recipe_inputs(load_recipe(recipe))


def overlapping(folder: Path, inputs: str) -> Path:
    for name in ("x", "y"):
        write(folder / "data" / "d" / f"{name}.jsonl", [{"id": name, "text": name, "k": name}])
    path = folder / "overlap.yaml"
    path.write_text(
        f"""
title: Patterns that overlap
roots: {{r: "{folder}/data"}}
sources:
  text:
    inputs: [{inputs}]
    licence: MIT
    policy: prose
"""
    )
    return path


def test_a_file_that_two_patterns_of_an_input_match_is_read_once(tmp_path: Path):
    patterns = "'{r}/d/*.jsonl', '{r}/**/x.jsonl', '{r}/d/y.jsonl'"
    spec = load_recipe(overlapping(tmp_path, f"{{files: [{patterns}]}}"))
    run(spec, tmp_path / "out")
    assert [one.id for one in documents_of(tmp_path / "out")["text"]] == ["x", "y"]


def test_a_file_of_two_inputs_wants_conditions(tmp_path: Path):
    both = "{files: '{r}/d/*.jsonl'}, {files: '{r}/**/x.jsonl'}"
    with pytest.raises(DataError, match=r"inputs\.0 and inputs\.1 both read .*x\.jsonl"):
        recipe_inputs(load_recipe(overlapping(tmp_path, both)))
    parted = "".join(
        f"{{files: '{{r}}/d/*.jsonl', take: [{{field: k, values: [{name}]}}]}}, " for name in "xy"
    )
    run(load_recipe(overlapping(tmp_path, parted)), tmp_path / "out")
    assert [one.id for one in documents_of(tmp_path / "out")["text"]] == ["x", "y"]


def test_a_file_of_two_languages_is_refused(tmp_path: Path):
    languages = "languages: {a: x, b: 'x*'}"
    spec = load_recipe(
        overlapping(tmp_path, f"{{files: '{{r}}/d/{{language}}.jsonl', {languages}}}")
    )
    with pytest.raises(DataError, match=r"x\.jsonl: is of language a by one pattern and of b"):
        recipe_inputs(spec)


def test_brackets_in_a_root_are_part_of_its_name(tmp_path: Path):
    for name in ("g1", "g[1]"):
        write(tmp_path / name / "d" / "a.jsonl", [{"id": name, "text": name}])
    path = overlapping(tmp_path, "{files: '{r}/*/*.jsonl'}")
    run(load_recipe(path, {"r": f"{tmp_path}/g[1]"}), tmp_path / "out")
    assert [one.id for one in documents_of(tmp_path / "out")["text"]] == ["g[1]"]
    with pytest.raises(DataError, match=r"g\[2\]/\*/\*\.jsonl: matches no file"):
        recipe_inputs(load_recipe(path, {"r": f"{tmp_path}/g[2]"}))
