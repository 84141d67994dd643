"""The files that a recipe names, each with the entry of the recipe that says how it is read."""

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path

from megatron_codemix.corpus.readers import (
    FileState,
    Input,
    InputFile,
    NoFileError,
    RemoteFile,
    find_files,
)
from megatron_codemix.corpus.readers.commits import clone_inputs
from megatron_codemix.corpus.readers.patterns import is_address, is_wild, of_place, unescaped
from megatron_codemix.corpus.recipes.clones import Clones, find_clones, folders_of, is_clone
from megatron_codemix.corpus.recipes.schema import (
    CommitsSpec,
    FilesSpec,
    RecipeSpec,
    SourceSpec,
)
from megatron_codemix.errors import DataError


@dataclass(frozen=True)
class RecipeInput:
    """A file, or commits of a clone; `entry` is the number of its input in the recipe's source."""

    file: Input
    entry: int
    language: str | None = None
    """Where it is known of the whole file."""
    origin: str | None = None
    """The clone that it is a file of; None where it is of none."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def place(self) -> str:
        return self.file.place

    def num_bytes(self) -> int:
        return self.file.num_bytes()

    def state(self, known: FileState | None = None) -> FileState:
        """The origin is part of it: it is in the documents, and a clone may be renamed."""
        if self.origin is None:
            return self.file.state(known)
        whose = f" of {self.origin}"
        if known is not None:
            known = known._replace(sha256=known.sha256.removesuffix(whose))
        state = self.file.state(known)
        return state._replace(sha256=state.sha256 + whose)


def recipe_inputs(
    recipe: RecipeSpec, sources: Sequence[str] | None = None
) -> dict[str, list[RecipeInput]]:
    """What each source (of `sources`) is read from, in the order of the recipe.

    Raises DataError with all that is missing: patterns without files, clones that are shallow;
    UnavailableError, RetryableError of a store.
    """
    unknown = sorted(set(sources or ()) - recipe.sources.keys())
    if unknown:
        raise DataError(
            f"no source {', '.join(map(repr, unknown))} in the recipe; it has "
            f"{', '.join(recipe.sources)}"
        )
    problems: list[str] = []
    found: dict[str, list[RecipeInput]] = {}
    clones = _all_clones(recipe)
    for name, source in recipe.sources.items():
        if sources is not None and name not in sources:
            continue
        found[name] = []
        num_before = len(problems)
        for number, entry in enumerate(source.inputs):
            try:
                if isinstance(entry, FilesSpec):
                    found[name] += [
                        replaced(file, origin=clones.origin_of(file.file))
                        for file in _each_once(_files(entry, number, recipe.roots))
                    ]
                else:
                    found[name] += _commits(entry, number, recipe.roots, clones)
            except DataError as error:
                problems += [f"source {name!r}: {problem}" for problem in error.problems]
        problems += _name_problems(name, found[name])
        problems += _twice_problems(name, source, found[name])
        if not found[name] and len(problems) == num_before:
            problems.append(f"source {name!r}: {_nothing_there(source, recipe.roots)}")
    if problems:
        raise DataError(*problems)
    return found


def _nothing_there(source: SourceSpec, roots: Mapping[str, str]) -> str:
    """What was looked for and where, of a source whose inputs are all optional."""
    patterns = [
        pattern
        for entry in source.inputs
        for pattern in (entry.files if isinstance(entry, FilesSpec) else entry.clones)
    ]
    used = {name: root for name, root in roots.items() if f"{{{name}}}" in "".join(patterns)}
    places = ", ".join(f"{name}={root}" for name, root in used.items())
    advice = f"check --root ({places})" if used else "check the patterns"
    return f"nothing is there to be read: no file matches {', '.join(patterns)}; {advice}"


def _all_clones(recipe: RecipeSpec) -> Clones:
    """Of all sources: a source has the same origins whether it is read alone or with the others."""
    return find_clones(
        _filled(pattern, recipe.roots)
        for source in recipe.sources.values()
        for entry in source.inputs
        if isinstance(entry, CommitsSpec)
        for pattern in entry.clones
    )


def _files(entry: FilesSpec, number: int, roots: Mapping[str, str]) -> Iterator[RecipeInput]:
    for pattern in entry.files:
        if "{language}" in pattern:
            assert entry.languages is not None, "checked when the recipe was read"
            for language, spelling in entry.languages.items():
                one = pattern.replace("{language}", spelling)
                yield from (
                    RecipeInput(file, number, language) for file in _found(one, entry, roots)
                )
        else:
            yield from (RecipeInput(file, number) for file in _found(pattern, entry, roots))


def _each_once(files: Iterable[RecipeInput]) -> Iterator[RecipeInput]:
    """Where several patterns of an input match a file, it is that of the first. Raises DataError
    where they say that it is of two languages."""
    seen: dict[Path | str, RecipeInput] = {}
    for file in files:
        first = seen.setdefault(_itself(file), file)
        if first is file:
            yield file
        elif first.language != file.language:
            raise DataError(
                f"{file.place}: is of language {first.language} by one pattern and of "
                f"{file.language} by another; let only one of them match it"
            )


def _itself(file: RecipeInput) -> Path | str:
    """The same for the same file, whichever link leads to it."""
    return file.file.path.resolve() if isinstance(file.file, InputFile) else file.place


def _found(pattern: str, entry: FilesSpec, roots: Mapping[str, str]) -> Iterator[Input]:
    """The files of a pattern. Their names begin at the root, so that they are the same wherever it
    lies, and others in other folders of it."""
    folder = _fixed_folder(_below_root(pattern))
    try:
        files = find_files([_filled(pattern, roots)])
    except NoFileError:
        if entry.optional:
            return
        raise
    for file in files:
        yield replaced(file, name=f"{folder}/{file.name}" if folder else file.name)


def _filled(pattern: str, roots: Mapping[str, str]) -> str:
    for name, root in roots.items():
        pattern = pattern.replace(f"{{{name}}}", _as_pattern(root.rstrip("/")))
    return pattern


def _as_pattern(root: str) -> str:
    """A root is a folder: its brackets are part of its name."""
    is_name = "*" not in root and "?" not in root
    return glob.escape(root) if is_name and not is_address(root) else of_place(root)


def _below_root(pattern: str) -> str:
    """`java/*.parquet` of `{root}/java/*.parquet`; nothing where the pattern does not begin so."""
    root, brace, rest = pattern.partition("}")
    return rest.lstrip("/") if brace and root.startswith("{") else ""


def _fixed_folder(pattern: str) -> str:
    parts = pattern.split("/")[:-1]
    wild = [number for number, part in enumerate(parts) if glob.has_magic(part)]
    return "/".join(parts[: wild[0]] if wild else parts)


def _commits(
    entry: CommitsSpec, number: int, roots: Mapping[str, str], clones: Clones
) -> Iterator[RecipeInput]:
    problems: list[str] = []
    for pattern in entry.clones:
        filled = _filled(pattern, roots)
        if is_address(filled):
            raise DataError(f"{filled}: commits are read of a clone on this machine; clone it")
        folders = folders_of(filled)
        if not folders:
            problems.append(f"{unescaped(filled)}: matches no folder; check the pattern")
        for folder in folders:
            if is_wild(of_place(filled)) and not is_clone(folder):
                problems.append(
                    f"{folder}: is no git clone, and {pattern} takes every folder for one; move it "
                    "away, or name the clones one by one in the recipe (clones: [...])"
                )
                continue
            try:
                for commits in clone_inputs(folder, clones.name(folder)):
                    yield RecipeInput(commits, number)
            except DataError as error:
                problems += error.problems
    if problems:
        raise DataError(*problems)


def _name_problems(source: str, inputs: Sequence[RecipeInput]) -> Iterator[str]:
    """Names are what documents are told apart by."""
    places: dict[str, str] = {}
    for one in inputs:
        other = places.setdefault(one.name, one.place)
        if other != one.place:
            yield (
                f"source {source!r}: {other} and {one.place} are both {one.name}; let their "
                "patterns begin with a root that they have in common, or rename one"
            )
            return


def _twice_problems(source: str, spec: SourceSpec, inputs: Sequence[RecipeInput]) -> Iterator[str]:
    """A file that two inputs read, and of which nothing tells that they take other records: each
    document would be there twice, under one id."""
    seen: dict[Path | str, RecipeInput] = {}
    for one in inputs:
        first = seen.setdefault(_itself(one), one)
        if first.entry != one.entry and isinstance(one.file, InputFile | RemoteFile):
            if _what_is_taken(spec, first) != _what_is_taken(spec, one):
                continue
            yield (
                f"source {source!r}: inputs.{first.entry} and inputs.{one.entry} both read "
                f"{one.place}; let only one of them match it, or let them take other records (take)"
            )
            return


def _what_is_taken(spec: SourceSpec, one: RecipeInput) -> tuple[object, ...]:
    entry = spec.inputs[one.entry]
    assert isinstance(entry, FilesSpec), entry
    languages = (entry.language_field, entry.languages) if entry.language_field else ()
    return (entry.id_field, entry.take, *languages)
