"""Recipes: the packaged ones read small imitations of their data sets, laid out as those are."""

import itertools
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import RecipeSpec, load_recipe
from megatron_codemix.errors import DataError
from tests.helpers.recipe_data import RECIPES, documents_of, run, stack_entry, write, write_stack


def packaged(name: str, **roots: Path | str) -> RecipeSpec:
    places = {root: str(place) for root, place in roots.items()}
    return load_recipe(RECIPES / f"{name}.yaml", places)


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


def test_words_about_licences_are_no_documents_licence(tmp_path: Path):
    for source in ("code", "markup", "text"):
        entries = [{"text": "x = 1", "licence": licence} for licence in ("MIT", None)]
        write(tmp_path / "corpus" / f"{source}.jsonl.zst", entries)
    result = run(packaged("local", corpus=tmp_path / "corpus"), tmp_path / "out")
    assert result.record is not None
    for source, documents in documents_of(tmp_path / "out").items():
        assert [one.licence for one in documents] == ["MIT", None], source


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
