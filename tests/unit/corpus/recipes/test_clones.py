"""Recipes that read git clones: what is held out of a clone is nowhere in what is trained on."""

import json
import subprocess
from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import load_recipe
from megatron_codemix.corpus.recipes.stage import RecipeStage
from megatron_codemix.corpus.stages.parts import parts_of
from megatron_codemix.corpus.stages.run import run_parts
from megatron_codemix.corpus.store import source_files
from tests.helpers.commands import codemix
from tests.helpers.kills import ROOT

OWN = ROOT / "examples" / "corpora" / "own_repositories.yaml"
NUM_CLONES = 8
FRACTION = 0.4
LANGUAGES = """
adjacent: documents by language
    python                       8   25.00%
    (not known)                 24   75.00%
code: documents by language
    javascript                   8   50.00%
    python                       8   50.00%
markup: documents by language
    markdown                     8  100.00%
"""


def git(clone: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Ada Author", "-c", "user.email=ada@example.org")
    subprocess.run(["git", "-C", str(clone), *who, *arguments], check=True, capture_output=True)


def own_line(clone: str, file: str, number: int) -> str:
    """In no other file."""
    return f"the {number}th line of {file} in {clone} = {number}"


def write_clone(folder: Path, name: str) -> None:
    """A file, a text and a notebook, each by a commit of its own."""
    for file in ("a.py", "deep/b.js", "README.md", "n.ipynb"):
        lines = [own_line(name, file, number) for number in range(3)]
        text = "\n".join(lines) + "\n"
        if file.endswith(".ipynb"):
            text = json.dumps({"cells": [{"cell_type": "code", "source": text}]})
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
        if not (folder / ".git").exists():
            git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"Add {file}")


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    for number in range(NUM_CLONES):
        write_clone(tmp_path / "clones" / f"project{number}", f"project{number}")
    return tmp_path / "clones"


def documents_of(folder: Path) -> dict[str, list[Document]]:
    return {
        name: list(read_documents(files, name, Skipped()))
        for name, files in source_files(folder).items()
    }


def test_no_line_of_what_is_held_out_is_trained_on(tmp_path: Path, clones: Path):
    out, sides = tmp_path / "out", tmp_path / "sides"
    made = codemix("corpus", "recipe", OWN, "--out", out, "--root", f"clones={clones}")
    assert made.returncode == 0, made.stderr
    assert "\n".join(made.stdout.splitlines()[-8:]).split() == LANGUAGES.split()
    asked = ("corpus", "split", out, "--out", sides, "--validation-fraction", str(FRACTION))
    assert codemix(*asked).returncode == 0
    trained = "".join(
        one.text for documents in documents_of(sides / "train").values() for one in documents
    )
    held_out = documents_of(sides / "validation")
    lines = {
        line
        for number in range(NUM_CLONES)
        for file in ("a.py", "deep/b.js", "README.md", "n.ipynb")
        for n in range(3)
        if (line := own_line(f"project{number}", file, n))
        in "".join(one.text for documents in held_out.values() for one in documents)
    }
    assert held_out.keys() == {"code", "markup", "adjacent"}
    assert 0 < len(lines) < 12 * NUM_CLONES, "else the case tells little"
    assert not [line for line in lines if line in trained]


def test_a_clone_is_one_origin_whichever_source_is_read(tmp_path: Path, clones: Path):
    (clones / "project0" / "linked.py").symlink_to(clones / "project1" / "a.py")
    spec = load_recipe(OWN, {"clones": str(clones)})
    for sources in (None, ["code"], ["adjacent"]):
        out = tmp_path / str(sources)
        run_parts(RecipeStage(spec, sources), parts_of(recipe_inputs(spec, sources)), out)
        for documents in documents_of(out).values():
            assert {one.origin for one in documents} == {f"project{n}" for n in range(NUM_CLONES)}
            for one in documents:
                assert f"in {one.origin} = " in one.text, one.id


def test_a_clone_of_another_name_is_read_anew(tmp_path: Path, clones: Path):
    """A file's name begins at the root of its pattern, which may lie below the clone's name."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        """
title: One clone
roots: {clone: nowhere}
sources:
  code:
    inputs:
      - files: "{clone}/**/*.py"
      - {kind: commits, clones: "{clone}"}
    licence: MIT
    policy: code
    expected: {}
"""
    )
    for name in ("before", "after"):
        if name == "after":
            (clones / "before").rename(clones / "after")
        else:
            (clones / "project0").rename(clones / "before")
        spec = load_recipe(recipe, {"clone": str(clones / name)})
        run_parts(RecipeStage(spec), parts_of(recipe_inputs(spec)), tmp_path / "out")
        again = run_parts(RecipeStage(spec), parts_of(recipe_inputs(spec)), tmp_path / "out")
        assert again.num_made == 0
        (documents,) = documents_of(tmp_path / "out").values()
        assert {one.origin for one in documents} == {name}


def test_a_named_field_goes_before_the_clone(tmp_path: Path, clones: Path):
    for number, project in enumerate(("project0", "project1")):
        record = {"text": f"text {number}", "repository": "elsewhere"}
        (clones / project / "records.jsonl").write_text(json.dumps(record) + "\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"""
title: Records in clones
sources:
  fields:
    inputs: [{{files: "{clones}/project0/*.jsonl", origin_field: repository}}]
    licence: MIT
    policy: prose
    expected: {{}}
  plain:
    inputs: [{{files: "{clones}/project1/*.jsonl"}}, {{kind: commits, clones: "{clones}/*"}}]
    licence: MIT
    policy: prose
    expected: {{}}
"""
    )
    spec = load_recipe(recipe)
    run_parts(RecipeStage(spec), parts_of(recipe_inputs(spec)), tmp_path / "out")
    found = documents_of(tmp_path / "out")
    assert [one.origin for one in found["fields"]] == ["elsewhere"]
    assert found["plain"][0].origin == "project1"


def test_a_stray_folder_is_named_with_what_to_do(tmp_path: Path, clones: Path):
    (clones / "list.txt").write_text("a file is no clone, and none is looked for in it")
    bare = clones / "project1.git"
    (clones / "project1" / ".git").rename(bare)
    (clones / "project1").rename(clones / "notes")
    asked = ("corpus", "recipe", OWN, "--out", tmp_path / "out", "--root", f"clones={clones}")
    refused = codemix(*asked)
    assert refused.returncode == 2
    told = (
        f"source 'adjacent': {clones}/notes: is no git clone, and {{clones}}/* takes every folder"
    )
    assert f"{told} for one; move it away, or name the clones" in refused.stderr
    assert "project" not in refused.stderr
    (clones / "notes").rename(tmp_path / "notes")
    assert codemix(*asked).returncode == 0


def test_an_empty_root_is_named_with_what_was_looked_for(tmp_path: Path):
    (tmp_path / "clones").mkdir()
    root = ("--root", f"clones={tmp_path}/clones")
    refused = codemix("corpus", "recipe", OWN, "--out", tmp_path / "out", *root)
    assert refused.returncode == 2
    for source, pattern in (("code", "{clones}/**/*.py"), ("markup", "{clones}/**/*.md")):
        told = f"source '{source}': nothing is there to be read: no file matches {pattern}, "
        assert told in refused.stderr
    assert f"check --root (clones={tmp_path}/clones)" in refused.stderr
    assert f"source 'adjacent': {tmp_path}/clones/*: matches no folder" in refused.stderr


def test_a_clone_with_brackets_in_its_name_is_itself(tmp_path: Path):
    write_clone(tmp_path / "p[1]", "with brackets")
    write_clone(tmp_path / "p1", "without")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"""
title: One clone
sources:
  code:
    inputs: [{{kind: commits, clones: "{tmp_path}/p[1]"}}]
    licence: unknown
    policy: adjacent
"""
    )
    inputs = recipe_inputs(load_recipe(recipe))["code"]
    assert [one.name for one in inputs] == ["p[1]@0"]
