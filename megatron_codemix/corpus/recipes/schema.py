"""The recipe file: what it may say, and how it is read.

YAML with every scalar as text, like a run's configuration. Who may read a data set is not in it:
credentials are a matter of the environment.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.config.mixture_checks import source_name_problem
from megatron_codemix.config.schema import PositiveTokens, Section
from megatron_codemix.config.schema.fields import PositiveBytes
from megatron_codemix.corpus.filters.programming_languages import language_of_path
from megatron_codemix.corpus.store import DROPPED_FOLDER
from megatron_codemix.errors import ConfigError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LANGUAGE = "language"

Patterns = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1),
]
"""One address or several: globs, folders or files, here or of any store that fsspec knows
(`hf://`, `s3://`). `{name}` stands for one of the recipe's `roots`."""


def _same_names(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return {one: one for one in value} if is_list else value


Languages = Annotated[dict[str, str], BeforeValidator(_same_names), Field(min_length=1)]


class ConditionSpec(Section):
    """Which records are taken. One that has not got the field is not."""

    field: str
    """The field, or a way down to it through objects, such as `meta.set`."""
    values: Annotated[list[str], Field(min_length=1)] | None = None
    """It has one of these values."""
    other_than: Annotated[list[str], Field(min_length=1)] | None = None
    """It has none of these values."""
    at_least: float | None = None
    """It is a number that is no smaller."""


class FilesSpec(Section):
    """Files of JSON lines, Parquet, notebooks, or one document a file."""

    kind: Literal["files"] = "files"
    files: Patterns
    """Where they are. `{language}` in it stands for each of `languages`, as the data set spells
    it."""
    optional: bool = False
    """Whether a pattern may match no file."""
    format: Literal["by name", "jsonl", "parquet", "plain"] = "by name"
    """What the files are, where their names do not tell: JSON lines in a .json.gz, say."""
    text_field: str = "text"
    """Field of the text in JSON lines and Parquet."""
    text_form: Literal["text", "notebook"] = "text"
    """Whether that text is a notebook file (.ipynb), which is flattened."""
    id_field: str = "id"
    """Field of what names a record; without it, its place in its file does."""
    origin_field: str = "origin"
    """Field that names what a record came from (a repository): records of one origin are all
    training or all held out. Without it, a record has its id for an origin, a file its name; but
    files in a folder that an input of `commits` names have that clone, as its commits have."""
    path_field: str = "path"
    """Field of the path of a file in its repository."""
    licence_field: str | None = None
    """Field of the licence of a record, or of several; absent: `licence` or `license`."""
    metadata: dict[str, str] = {}
    """What is kept of a record besides: its name -> the field it comes from."""
    take: list[ConditionSpec] = []
    """Conditions that a record meets to be taken: all of them."""
    languages: Languages | None = None
    """Languages that are wanted: our name -> the data set's; a list where they are the same."""
    language_field: str | None = None
    """Field of the language; absent: `files` says it with `{language}`."""


class CommitsSpec(Section):
    """Commits of git clones on this machine: message and changes, one document a commit."""

    kind: Literal["commits"] = "commits"
    clones: Patterns
    """The folders of the clones. They are whole: neither shallow nor partial. The origin of all
    that is read of one, files of other inputs too, is its name."""


def _files_by_default(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    is_open = isinstance(value, dict) and "kind" not in value
    return {"kind": "files", **value} if is_open else value


InputSpec = Annotated[
    FilesSpec | CommitsSpec, Field(discriminator="kind"), BeforeValidator(_files_by_default)
]
"""Without a `kind` it is `files`."""


class ExpectedSpec(Section):
    """What the data set's authors, or a paper, say there is: to compare with, not to be met."""

    tokens: PositiveTokens | None = None
    """Tokens, by whoever counted them."""
    file_bytes: PositiveBytes | None = None
    """Size of the files that are read, as they are (compressed)."""
    language_percent: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    """Share of the documents in each language: one of `languages`, or that of files by their
    names (`python` of *.py)."""
    note: str | None = None
    """Who says so, and of what, where that is not the source as it is read here."""


class SourceSpec(Section):
    """One source of the corpus."""

    inputs: Annotated[list[InputSpec], Field(min_length=1)]
    """What it is read from, in this order."""
    licence: str
    """Licence of the collection, and of a document that names none itself; words in place of an
    SPDX expression are for readers alone."""
    policy: Literal["code", "markup", "prose", "adjacent", "none"]
    """How `codemix corpus filter` treats it, unless told otherwise."""
    expected: ExpectedSpec = ExpectedSpec()
    """How much there is, where anybody says so."""


class RecipeSpec(Section):
    """A recipe, as the user wrote it."""

    title: str
    """What the corpus is, in a line."""
    roots: dict[str, str] = {}
    """Name -> folder or address that `{name}` stands for; the command line's --root goes first."""
    sources: Annotated[dict[str, SourceSpec], Field(min_length=1)]
    """The sources, by name."""


def load_recipe(path: Path, roots: Mapping[str, str] | None = None) -> RecipeSpec:
    """The recipe in `path`. roots: go before the file's. Raises ConfigError with all problems."""
    recipe = build_section(RecipeSpec, load_tree(path), str(path))
    problems = [f"{path}: {problem}" for problem in _problems(recipe, roots or {})]
    if problems:
        raise ConfigError(problems)
    return recipe.model_copy(update={"roots": {**recipe.roots, **(roots or {})}})


def _problems(recipe: RecipeSpec, roots: Mapping[str, str]) -> Iterator[str]:
    known = ", ".join(recipe.roots) or "none"
    for name in roots.keys() - recipe.roots.keys():
        yield f"--root {name}: the recipe has no such root; it has {known}"
    for name, source in recipe.sources.items():
        problem = source_name_problem(name)
        if name == DROPPED_FOLDER:
            problem = "is the folder of what is left out; give it another name"
        if problem:
            yield f"sources.{name}: {problem}"
        for number, entry in enumerate(source.inputs):
            place = f"sources.{name}.inputs.{number}"
            patterns = entry.files if isinstance(entry, FilesSpec) else entry.clones
            wanted = {word for pattern in patterns for word in _PLACEHOLDER.findall(pattern)}
            for word in sorted(wanted - recipe.roots.keys() - {_LANGUAGE}):
                yield f"{place}: {{{word}}} is not among roots: {known}"
            if isinstance(entry, FilesSpec):
                yield from (f"{place}.{text}" for text in _language_problems(entry, wanted))
                yield from (f"{place}.take.{text}" for text in _condition_problems(entry))
            elif _LANGUAGE in wanted:
                yield f"{place}.clones: {{language}} has no meaning for clones"
        yield from _share_problems(name, source)


def _language_problems(entry: FilesSpec, wanted: set[str]) -> Iterator[str]:
    is_in_pattern = _LANGUAGE in wanted
    if is_in_pattern and entry.languages is None:
        yield "languages: missing, and files has {language}"
    if is_in_pattern and entry.language_field is not None:
        yield "language_field: files has {language} already; one of them says it"
    if entry.languages is not None and not is_in_pattern and entry.language_field is None:
        yield "languages: neither files nor language_field says where a language stands"
    if entry.language_field is not None and entry.languages is None:
        yield "language_field: languages is missing, which names those that are wanted"


def _condition_problems(entry: FilesSpec) -> Iterator[str]:
    for number, one in enumerate(entry.take):
        if [one.values, one.other_than, one.at_least].count(None) != 2:
            yield f"{number}: one of values, other_than and at_least is wanted"


def _share_problems(name: str, source: SourceSpec) -> Iterator[str]:
    possible: set[str] = set()
    for entry in source.inputs:
        languages = _possible_languages(entry) if isinstance(entry, FilesSpec) else set()
        if languages is None:
            return
        possible |= languages
    for language in sorted(source.expected.language_percent.keys() - possible):
        yield (
            f"sources.{name}.expected.language_percent.{language}: no input has this language, but "
            f"{', '.join(sorted(possible)) or 'none'}; they come from `languages` (with "
            "{language} in files, or language_field) or from the names of files (*.py is python)"
        )


def _possible_languages(entry: FilesSpec) -> set[str] | None:
    """Of the documents; None where only the files themselves tell."""
    if entry.languages is not None:
        return set(entry.languages)
    found = set()
    for pattern in entry.files:
        name = pattern.rpartition("/")[2]
        language = language_of_path(name) if "." in name else None
        if language is None or entry.format not in ("by name", "plain") or ".ipynb" in name:
            return None
        found.add(language)
    return found
