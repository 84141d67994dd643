"""A corpus on disk: a file or a folder of parts for each source, beside `corpus.json`.

`<source>.jsonl.zst`, or `<source>/part-00000.jsonl.zst`, `<source>/part-00001.jsonl.zst`, ...; the
user's own files may have other names and forms. What a stage has not finished has `.parts` in it
and no `corpus.json`, what `corpus local` has not finished `.partial-local`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from megatron_codemix.corpus.readers import InputFile, utf8_name
from megatron_codemix.corpus.readers.chunks import COMPRESSIONS
from megatron_codemix.corpus.record import CORPUS_FILE, CorpusRecord, load_corpus
from megatron_codemix.corpus.writer import CorpusFile
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json

log = logging.getLogger(__name__)

PARTS_FOLDER = ".parts"
DROPPED_FOLDER = "dropped"
LOCAL_FOLDER = ".partial-local"
"""Inside the folder of a local corpus, while that is made."""
_SUFFIXES = tuple(
    form + compression
    for form in (".jsonl", ".ndjson", ".parquet")
    for compression in ("", *COMPRESSIONS)
)


def source_files(folder: Path) -> dict[str, tuple[InputFile, ...]]:
    """The files of each source of a corpus folder, ours or the user's own, by name; those of a
    folder in the order of their names.

    Raises DataError: no such folder, no source in it, a file and a folder for one source, a stage
    that has not finished, a file that is missing or has another size than corpus.json says.
    """
    if folder.is_file():
        raise DataError(
            f"{folder}: is a file; a corpus is a folder, with a file or folder a source"
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such corpus folder; check the name, or make it with the command that it "
            "is to come from (`codemix corpus --help` lists them)"
        )
    record = load_corpus(folder)
    if record is None and any((folder / one).is_dir() for one in (PARTS_FOLDER, LOCAL_FOLDER)):
        raise DataError(
            f"{folder}: is not complete; give the command that makes it again (of an array, the "
            "tasks that have not ended)"
        )
    known = _recorded_files(record)
    found: dict[str, tuple[InputFile, ...]] = {}
    places: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == DROPPED_FOLDER:
            continue
        name = source_of(path)
        files = _files_of(path, folder, known)
        if name is None or not files:
            continue
        if name in found:
            raise DataError(
                f"{folder}: {places[name]} and {path.name} are both source {name!r}; keep one"
            )
        found[name], places[name] = files, path.name
    if record is not None:
        found = _without_strangers(folder, found, known)
    _require_all_parts(folder, record, found)
    if not found:
        raise DataError(
            f"{folder}: holds no source; expected <source>.jsonl, .ndjson or .parquet "
            "(as they are, .gz or .zst), or folders <source>/ of such files"
        )
    return dict(sorted(found.items()))


def place_of(files: Sequence[InputFile]) -> Path:
    """The file of a source, or the folder of its files."""
    return files[0].path if len(files) == 1 else files[0].path.parent


def hash_files(files: Sequence[InputFile]) -> str:
    """sha256 of a source's file; of several files, of their names and hashes.

    Raises DataError where a file is not the one on record.
    """
    hashes = [[file.name, file.hashed()] for file in files]
    return hashes[0][1] if len(files) == 1 else hash_json(hashes)


def source_sizes(folder: Path, files: Mapping[str, Sequence[InputFile]]) -> dict[str, int]:
    """UTF-8 bytes of text in each source: as recorded in corpus.json, else guessed from the sizes
    of its files."""
    record = load_corpus(folder)
    recorded = record.sources if record else {}
    return {
        name: recorded[name].num_bytes if name in recorded else sum(map(_guessed_bytes, parts))
        for name, parts in files.items()
    }


def _guessed_bytes(file: InputFile) -> int:
    factor = 1 if file.path.suffix in (".jsonl", ".ndjson") else 4  # usual compression
    return factor * file.path.stat().st_size


def source_of(path: Path) -> str | None:
    """The source whose file or folder this is."""
    if path.is_dir():
        return utf8_name(path.name)
    suffix = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), None)
    return None if suffix is None else utf8_name(path.name.removesuffix(suffix))


def _files_of(path: Path, folder: Path, known: Mapping[str, CorpusFile]) -> tuple[InputFile, ...]:
    paths = sorted(path.iterdir()) if path.is_dir() else [path]
    files = []
    for one in paths:
        if one.name.endswith(_SUFFIXES) and not one.name.startswith(".") and one.is_file():
            name = utf8_name(one.relative_to(folder).as_posix())
            files.append(InputFile(one, name, known[name].sha256 if name in known else None))
    return tuple(files)


def _without_strangers(
    folder: Path, found: Mapping[str, tuple[InputFile, ...]], known: Mapping[str, CorpusFile]
) -> dict[str, tuple[InputFile, ...]]:
    """Of a corpus on record without the files of folders that are not on it, which are told: they
    may be anything. A file of its own that is called like a source has been put there as one."""
    own = {
        name: tuple(file for file in files if file.name in known or "/" not in file.name)
        for name, files in found.items()
    }
    strangers = [file.name for name in found for file in found[name] if file not in own[name]]
    if strangers:
        log.warning(
            "%s: %s%s left out, not being among the files that %s lists",
            folder,
            strangers[0],
            f" and {len(strangers) - 1} more are" if len(strangers) > 1 else " is",
            CORPUS_FILE,
        )
    return {name: files for name, files in own.items() if files}


def _recorded_files(record: CorpusRecord | None) -> dict[str, CorpusFile]:
    sources = record.sources.values() if record else ()
    return {file.file: file for source in sources for file in source.files}


def _require_all_parts(
    folder: Path, record: CorpusRecord | None, found: Mapping[str, Sequence[InputFile]]
) -> None:
    """Raises DataError where a file that corpus.json lists is not there, be it a part of a source
    or all of it: read without it, the corpus would be another one than its record says."""
    present = {file.name for files in found.values() for file in files}
    _require_recorded_sizes(folder, record, present)
    problems = []
    for name, source in record.sources.items() if record else ():
        missing = [one.file for one in source.files if one.file not in present]
        if missing:
            of_all = f"{len(missing)} of {len(source.files)} parts of source {name!r}"
            problems.append(f"{missing[0]} is missing ({of_all})")
    if problems:
        raise DataError(
            f"{folder}: {'; '.join(problems)}; give the command that made the corpus again. Of a "
            f"source that is to be left out, take the entry in {CORPUS_FILE} out too"
        )


def _require_recorded_sizes(folder: Path, record: CorpusRecord | None, present: set[str]) -> None:
    """Raises DataError where a file has another size than corpus.json says. Whoever reads all of a
    file compares its hash too."""
    others = [
        f"{name} has {(folder / name).stat().st_size} bytes, not {file.file_bytes}"
        for name, file in _recorded_files(record).items()
        if name in present and not file.has_its_size(folder)
    ]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise DataError(
            f"{folder}: {others[0]}{more}, so it is not the file that {CORPUS_FILE} lists; remove "
            "it, and give the command that made the corpus again"
        )
