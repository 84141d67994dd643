"""Recipes: the packaged ones read small imitations of their data sets, laid out as those are."""

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import RecipeSpec, load_recipe
from megatron_codemix.corpus.recipes.stage import RecipeStage
from megatron_codemix.corpus.stages.parts import Share, parts_of
from megatron_codemix.corpus.stages.run import CorpusResult, run_parts
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import ConfigError, DataError
from tests.helpers.commands import codemix
from tests.helpers.kills import ROOT, contents, killed_again_and_again

RECIPES = ROOT / "examples" / "corpora"


def run(spec: RecipeSpec, out: Path, **options: Any) -> CorpusResult:
    parts = parts_of(recipe_inputs(spec), part_bytes=1)
    return run_parts(RecipeStage(spec), parts, out, **options)


def packaged(name: str, **roots: Path | str) -> RecipeSpec:
    places = {root: str(place) for root, place in roots.items()}
    return load_recipe(RECIPES / f"{name}.yaml", places)


def documents_of(folder: Path) -> dict[str, list[Document]]:
    return {
        name: list(read_documents(files, name, Skipped()))
        for name, files in source_files(folder).items()
    }


def write(path: Path, entries: list[dict[str, Any]]) -> None:
    """In the form that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(entries), path)
        return
    lines = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(lines))


def stack_entry(language: str, number: int, content: str | None = None) -> dict[str, Any]:
    """The fields of The Stack's page, as far as they are of use."""
    return {
        "hexsha": f"{language}{number}",
        "size": 10,
        "ext": "x",
        "lang": language.upper(),
        "max_stars_repo_path": f"src/{number}.x",
        "max_stars_repo_name": f"owner/repository{number // 2}",
        "max_stars_repo_licenses": ["MIT"] if number % 2 else ["MIT", "Apache-2.0"],
        "max_stars_count": number or None,
        "content": content or f"{language} program {number}\n",
        "avg_line_length": 3.5,
    }


def write_stack(folder: Path, languages: dict[str, int]) -> None:
    for language, count in languages.items():
        entries = [stack_entry(language, number) for number in range(count)]
        write(folder / language / "data-00000-of-00002.parquet", entries[::2])
        write(folder / language / "data-00001-of-00002.parquet", entries[1::2])


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_recipe_names_licence_and_size(path: Path):
    for source in load_recipe(path).sources.values():
        assert source.licence
        expected = source.expected
        assert expected.tokens or expected.file_bytes or expected.note


def test_the_shares_are_those_of_the_paper():
    """Appendices A.2 and A.3; both sum to 99.99 there."""
    recipe = packaged("the_stack")
    for name, count in (("code", 25), ("markup", 10)):
        shares = recipe.sources[name].expected.language_percent
        assert len(shares) == count
        assert sum(shares.values()) == pytest.approx(99.99)
        assert list(shares) == list(recipe.sources[name].inputs[0].languages)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_the_stack_is_read_by_language(tmp_path: Path):
    spec = packaged("the_stack", stack=tmp_path / "stack")
    languages = [list(source.inputs[0].languages) for source in spec.sources.values()]
    counts = {language: 2 + n % 5 for n, language in enumerate(itertools.chain(*languages))}
    write_stack(tmp_path / "stack", counts | {"brainfuck": 3})
    result = run(spec, tmp_path / "out")
    found = documents_of(tmp_path / "out")
    for (name, documents), own in zip(found.items(), languages, strict=True):
        seen = Counter(document.metadata["language"] for document in documents)
        assert seen == {language: counts[language] for language in own}
        assert result.record is not None
        assert result.record.stages[-1].tallies[name] == {"language": dict(sorted(seen.items()))}
        for document in documents:
            language = document.metadata["language"]
            entry = stack_entry(language, int(document.id.removeprefix(language)))
            assert document.text == entry["content"]
            assert document.path == entry["max_stars_repo_path"]
            assert document.origin == entry["max_stars_repo_name"]
            assert document.licence == " AND ".join(entry["max_stars_repo_licenses"])
            assert document.metadata.get("stars") == entry["max_stars_count"]


def test_slimpajama_is_read_without_code(tmp_path: Path):
    sets = ["CommonCrawl", "Github", "C4", "StackExchange", "Book", "Github"]
    entries = [
        {"text": f"text {number}", "meta": {"redpajama_set_name": f"RedPajama{name}"}}
        for number, name in enumerate(sets)
    ]
    write(tmp_path / "pajama/train/chunk1/example_train_0.jsonl.zst", entries)
    write(tmp_path / "pajama/train/chunk2/example_train_0.jsonl.zst", [{"text": "x", "meta": {}}])
    result = run(packaged("slimpajama", slimpajama=tmp_path / "pajama"), tmp_path / "out")
    (documents,) = documents_of(tmp_path / "out").values()
    assert [one.text for one in documents] == ["text 0", "text 2", "text 4"]
    assert documents[0].metadata == {"set": "RedPajamaCommonCrawl"}
    assert result.record is not None
    assert result.record.stages[-1].dropped["text"].counts == {
        "meta.redpajama_set_name is RedPajamaGithub": 2,
        "meta.redpajama_set_name is RedPajamaStackExchange": 1,
        "no meta.redpajama_set_name": 1,
    }
    assert len({one.id for one in documents}) == 3


def test_code_adjacent_text_is_of_three_sources(tmp_path: Path):
    notebook = {"cells": [{"cell_type": "code", "source": "x = 1"}], "metadata": {}}
    write(
        tmp_path / "starcoder/git-commits-cleaned/train-00000.parquet",
        [{"content": "<commit_before>a<commit_msg>b<commit_after>c"}],
    )
    write(
        tmp_path / "stack/jupyter-notebook/data-00000.parquet",
        [
            stack_entry("jupyter", 0, json.dumps(notebook)),
            stack_entry("jupyter", 1, "no notebook"),
        ],
    )
    write(
        tmp_path / "pajama/train/chunk1/a.jsonl.zst",
        [
            {"text": f"text {name}", "meta": {"redpajama_set_name": f"RedPajama{name}"}}
            for name in ("C4", "StackExchange")
        ],
    )
    roots = {"starcoder": tmp_path / "starcoder", "stack": tmp_path / "stack"}
    spec = packaged("code_adjacent", slimpajama=tmp_path / "pajama", **roots)
    result = run(spec, tmp_path / "out")
    found = documents_of(tmp_path / "out")
    assert [one.text for one in found["commits"]] == [
        "<commit_before>a<commit_msg>b<commit_after>c"
    ]
    assert [one.text for one in found["notebooks"]] == ["```python\nx = 1\n```\n"]
    assert found["notebooks"][0].origin == "owner/repository0", "as the files of the_stack.yaml"
    assert found["notebooks"][0].metadata["language"] == "python"
    assert [one.text for one in found["stackexchange"]] == ["text StackExchange"]
    assert found["stackexchange"][0].licence == "CC-BY-SA-4.0"
    assert result.record is not None
    dropped = result.record.stages[-1].dropped
    assert dropped["notebooks"].counts == {"notebook that is not JSON": 1}


def test_fineweb_edu_and_dolma_are_read(tmp_path: Path):
    page = {"id": "<urn>", "dump": "CC-MAIN-2024-10", "url": "https://a.example/b", "score": 3.1}
    write(
        tmp_path / "fineweb/CC-MAIN-2024-10/train-00000.parquet",
        [
            page | {"text": "words", "language": "en", "language_score": 0.9},
            page | {"text": "mots", "language": "fr", "language_score": 0.9},
        ],
    )
    run(packaged("fineweb_edu", fineweb=tmp_path / "fineweb"), tmp_path / "out")
    ((document,),) = documents_of(tmp_path / "out").values()
    assert (document.id, document.origin) == ("<urn>", "https://a.example/b")
    assert document.metadata == {"dump": "CC-MAIN-2024-10", "score": 3.1, "language": "en"}
    assert document.licence == "ODC-By-1.0"

    spec = packaged("dolma", dolma=tmp_path / "dolma")
    for pattern in spec.sources["text"].inputs[0].files:
        folder = pattern.split("/")[1].replace("*", "head")
        entries = [{"id": folder, "text": f"of {folder}", "source": folder, "metadata": {"a": 1}}]
        write(tmp_path / "dolma" / folder / f"{folder}-0000.json.gz", entries * 2)
    write(tmp_path / "dolma/starcoder/starcoder-0000.json.gz", [{"id": "c", "text": "code"}])
    run(spec, tmp_path / "dolma-out")
    (documents,) = documents_of(tmp_path / "dolma-out").values()
    assert len(documents) == 18
    assert all(one.text == f"of {one.id}" for one in documents)
    assert all(one.metadata == {"set": one.id} for one in documents)


def test_the_local_corpus_is_read_as_it_is(tmp_path: Path):
    for source in ("code", "markup", "text"):
        entries = [
            Document(f"{n}", source, "p", f"o{n}", "MIT", "text", {"n": n} if n else {}).to_record()
            for n in range(3)
        ]
        write(tmp_path / "corpus" / f"{source}.jsonl.zst", entries)
    run(packaged("local", corpus=tmp_path / "corpus"), tmp_path / "out")
    assert documents_of(tmp_path / "out") == documents_of(tmp_path / "corpus")


def test_own_repositories_give_code_markup_notebooks_and_commits(tmp_path: Path):
    clone = tmp_path / "clones" / "project"
    files = {
        "a.py": "x = 1\n",
        "deep/b.js": "y\n",
        "c.cpp": "z\n",
        "d.h": "h\n",
        "E.java": "j\n",
        "README.md": "# A\n",
        "docs.rst": "text\n",
        "a.yaml": "a: 1\n",
        "b.toml": "a = 1\n",
        "n.ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": "words"}]}),
    }
    for name, text in files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    who = ("-c", "user.name=Ada Author", "-c", "user.email=ada@example.org")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "Begin")):
        subprocess.run(["git", "-C", str(clone), *who, *command], check=True)
    spec = packaged("own_repositories", clones=tmp_path / "clones")
    run(spec, tmp_path / "out", keep_dropped=True)
    found = documents_of(tmp_path / "out")
    assert {one.path for one in found["code"]} == {
        f"project/{name}" for name in ("a.py", "deep/b.js", "c.cpp", "d.h", "E.java")
    }
    assert len(found["markup"]) == 4
    notebook, commit = found["adjacent"]
    assert notebook.text == "words\n"
    assert commit.origin == "project"
    assert commit.text.startswith("Begin\n\ndiff --git a/E.java b/E.java\n")
    assert "Ada" not in commit.text
    (clone / "n.ipynb").unlink()
    run(spec, tmp_path / "without")
    assert [one.text for one in documents_of(tmp_path / "without")["adjacent"]] == [commit.text]
    for name in ("README.md", "docs.rst", "a.yaml", "b.toml"):
        (clone / name).unlink()
    with pytest.raises(DataError, match="source 'markup': nothing is there to be read"):
        recipe_inputs(spec)


# Parts, tasks, kills.


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    write_stack(tmp_path / "stack", {"python": 9, "c": 4, "markdown": 5})
    return tmp_path / "stack"


RECIPE = """
title: Three languages
roots:
  stack: nowhere
sources:
  code:
    inputs:
      - files: "{stack}/{language}/*.parquet"
        languages: {python: python, C: c}
        text_field: content
        origin_field: max_stars_repo_name
    licence: MIT
    policy: code
    expected: {tokens: 1K}
  markup:
    inputs:
      - files: "{stack}/*/*.parquet"
        language_field: lang
        languages: {markdown: MARKDOWN}
        text_field: content
    licence: MIT
    policy: markup
    expected: {tokens: 1K}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def test_languages_are_of_folders_or_of_a_field(tmp_path: Path, recipe: Path, stack: Path):
    result = run(load_recipe(recipe, {"stack": str(stack)}), tmp_path / "out")
    found = documents_of(tmp_path / "out")
    assert Counter(one.metadata["language"] for one in found["code"]) == {"python": 9, "C": 4}
    assert Counter(one.metadata["language"] for one in found["markup"]) == {"markdown": 5}
    assert result.record is not None
    assert result.record.stages[-1].dropped["markup"].counts == {"another language": 13}


def test_where_the_data_lie_changes_nothing(tmp_path: Path, recipe: Path, stack: Path):
    run(load_recipe(recipe, {"stack": str(stack)}), tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.copytree(stack, tmp_path / "elsewhere" / "copy")
    spec = load_recipe(recipe, {"stack": f"{tmp_path}/elsewhere/copy/"})
    assert run(spec, tmp_path / "out").num_made == 0
    assert contents(tmp_path / "out") == before
    run(spec, tmp_path / "anew")
    documents = documents_of(tmp_path / "anew")
    assert documents == documents_of(tmp_path / "out")
    store = fsspec.filesystem("memory")
    store.put(f"{stack}/", "/stack/", recursive=True)
    run(load_recipe(recipe, {"stack": "memory://stack"}), tmp_path / "remote")
    assert documents_of(tmp_path / "remote") == documents
    store.rm("/stack", recursive=True)


READ = """
from pathlib import Path
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import load_recipe
from megatron_codemix.corpus.recipes.stage import RecipeStage
from megatron_codemix.corpus.stages.parts import parts_of
from megatron_codemix.corpus.stages.run import run_parts

def run(recipe, stack, out):
    spec = load_recipe(Path(recipe), {"stack": stack})
    run_parts(RecipeStage(spec), parts_of(recipe_inputs(spec), 1), Path(out))
"""


def test_tasks_workers_and_kills_give_the_bytes_of_one_run(
    tmp_path: Path, recipe: Path, stack: Path
):
    spec = load_recipe(recipe, {"stack": str(stack)})
    run(spec, tmp_path / "one")
    expected = contents(tmp_path / "one")
    run(spec, tmp_path / "workers", workers=2)
    assert contents(tmp_path / "workers") == expected
    for number in (2, 0, 1):
        run(spec, tmp_path / "tasks", share=Share(number, 3))
    assert contents(tmp_path / "tasks") == expected
    out = tmp_path / "killed"
    assert killed_again_and_again(READ, (recipe, stack, out), out, [5, 9, 20, 31, 12]) >= 3
    assert contents(out) == expected


def codemix_command(folder: Path) -> Path:
    """A `codemix` for scripts, which look for it in PATH."""
    folder.mkdir()
    path = folder / "codemix"
    path.write_text(
        f'#!/bin/bash\nPYTHONPATH={ROOT} exec {sys.executable} -m megatron_codemix "$@"\n'
    )
    path.chmod(0o755)
    return folder


def test_the_script_of_an_array_deals_out_the_parts(tmp_path: Path):
    for source in ("code", "markup", "text"):
        entries = [{"id": f"{n}", "text": f"text {n}"} for n in range(3)]
        write(tmp_path / "runs/corpus" / f"{source}.jsonl.zst", entries)
    environment = {
        **os.environ,
        "PATH": f"{codemix_command(tmp_path / 'bin')}:{os.environ['PATH']}",
        "RECIPE": str(RECIPES / "local.yaml"),
        "OUT": str(tmp_path / "out"),
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_ARRAY_TASK_COUNT": "2",
    }
    said = []
    for task in ("2", "1"):
        done = subprocess.run(
            ["bash", str(RECIPES / "array.sbatch")],
            env=environment | {"SLURM_ARRAY_TASK_ID": task},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "1 parts made" in said[0]
    assert "2 of 3 are for other tasks" in said[0]
    assert documents_of(tmp_path / "out").keys() == {"code", "markup", "text"}


# The command line, and what is refused.


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
