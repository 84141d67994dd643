"""Data laid out as recipes read them, and what a recipe makes of them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import zstandard

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import RecipeSpec
from megatron_codemix.corpus.recipes.stage import RecipeStage
from megatron_codemix.corpus.stages.parts import parts_of
from megatron_codemix.corpus.stages.run import CorpusResult, run_parts
from megatron_codemix.corpus.store import source_files
from tests.helpers.kills import ROOT

RECIPES = ROOT / "examples" / "corpora"

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


def run(spec: RecipeSpec, out: Path, **options: Any) -> CorpusResult:
    parts = parts_of(recipe_inputs(spec), part_bytes=1)
    return run_parts(RecipeStage(spec), parts, out, **options)


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
