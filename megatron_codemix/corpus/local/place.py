"""The folder of a local corpus: nothing of another command is lost, nothing half made stays."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.corpus.local.own_files import SOURCES
from megatron_codemix.corpus.record import CORPUS_FILE, load_corpus
from megatron_codemix.corpus.store import LOCAL_FOLDER, PARTS_FOLDER, source_of
from megatron_codemix.corpus.writer import SUFFIX
from megatron_codemix.errors import DataError
from megatron_codemix.locks import exclusive_once

STAGE = "local"
"""What corpus.json calls this way of making a corpus."""


def require_own_place(out: Path) -> None:
    """Raises DataError where what is in the folder would be lost, or be a second file of a
    source."""
    record = load_corpus(out)
    if record is not None and [stage.name for stage in record.stages] != [STAGE]:
        raise DataError(f"{out}: holds a corpus that {record.maker} has made; name another folder")
    if (out / PARTS_FOLDER).exists():
        raise DataError(f"{out}: holds what another command has begun; name another folder")
    is_killed = (out / LOCAL_FOLDER).is_dir()  # between its files and its record
    own = {source + SUFFIX for source in SOURCES} if record or is_killed else set()
    for path in sorted(out.iterdir()) if out.is_dir() else []:
        if path.name not in own and source_of(path) in SOURCES:
            raise DataError(
                f"{path}: was not made by this command, and is source {source_of(path)!r} of this "
                "folder; name another folder"
            )


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder inside `out` that is gone afterwards, and `out` with it where nothing came of
    it. It stays where `out` is left with files and no record: they may be of two corpora. Raises
    RunError where another process has one."""
    folder = out / LOCAL_FOLDER
    made = [place for place in (out, *out.parents) if not place.exists()]
    try:
        with exclusive_once(out / ".local.lock", "codemix corpus local", wait_seconds=0):
            if folder.is_dir():  # of a killed run
                shutil.rmtree(folder)
            folder.mkdir()
            try:
                yield folder
            finally:
                if not _is_half_replaced(out):
                    shutil.rmtree(folder)
    finally:
        for place in made:
            if place.exists() and not any(place.iterdir()):
                place.rmdir()


def _is_half_replaced(out: Path) -> bool:
    has_files = any((out / (source + SUFFIX)).exists() for source in SOURCES)
    return has_files and not (out / CORPUS_FILE).exists()
