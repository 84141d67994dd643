"""Recipes of one's own: what may be left out of them, and the one that the docs show."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.recipes.schema import load_recipe
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import ConfigError
from tests.helpers.commands import codemix
from tests.helpers.kills import ROOT

BY_NAME = """
title: Files
sources:
  code:
    inputs:
      - files: {files}
    licence: MIT
    policy: code
"""


@pytest.mark.parametrize(
    ("files", "language", "is_possible"),
    [
        ("a/**/*.py", "python", True),
        ("a/**/*.py", "c", False),
        ("[a/*.py, a/*.c]", "c", True),
        ("[a/*.py, a/*.c]", "markdown", False),
        ("a/**/*", "markdown", True),
        ("a/go", "markdown", True),
        ("a/*.ipynb", "julia", True),
        ("a/*.parquet", "julia", True),
    ],
)
def test_expected_languages_may_be_those_of_file_names(
    tmp_path: Path, files: str, language: str, is_possible: bool
):
    path = tmp_path / "recipe.yaml"
    path.write_text(BY_NAME.format(files=files))
    assert load_recipe(path).sources["code"].expected.tokens is None, "it may be left out"
    share = f"    expected: {{language_percent: {{{language}: 100}}}}\n"
    path.write_text(BY_NAME.format(files=files) + share)
    if is_possible:
        assert load_recipe(path).sources["code"].expected.language_percent == {language: 100}
        return
    told = rf"percent\.{language}: no input has this language, but .*python; .*names of files"
    with pytest.raises(ConfigError, match=told):
        load_recipe(path)


def test_the_recipe_of_the_docs_is_read(tmp_path: Path):
    page = (ROOT / "docs" / "corpora.md").read_text()
    text = page.split("<!-- own-recipe -->\n```yaml\n")[1].split("```")[0]
    (tmp_path / "recipe.yaml").write_text(text)
    group = tmp_path / "group"
    papers = [{"body": f"words {n}", "paper": f"p{n}", "year": 1998 + n} for n in range(5)]
    (group / "papers").mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(papers), group / "papers" / "a.parquet")
    for name in ("a.py", "b.py", "c.c"):
        (group / "code" / name).parent.mkdir(exist_ok=True)
        (group / "code" / name).write_text(f"{name}\n")
    asked = ("corpus", "recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    made = codemix(*asked, "--root", f"group={group}")
    assert made.returncode == 0, made.stderr
    files = source_files(tmp_path / "out")["papers"]
    found = read_documents(files, "papers", Skipped())
    assert [(one.origin, one.metadata) for one in found] == [
        (f"p{n}", {"year": 1998 + n}) for n in (2, 3, 4)
    ]
    shown = [line.split() for line in made.stdout.splitlines()]
    assert "code: the whole is said to have 2M tokens, 9.5 MiB of files" in made.stdout
    assert ["python", "2", "66.67%", "expected", "90.00%"] in shown
    assert ["c", "1", "33.33%", "expected", "10.00%"] in shown
